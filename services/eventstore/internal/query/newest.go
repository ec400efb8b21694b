package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/index"
)

// firstWindow is how many sequences from the end Newest looks at first; each
// further window is windowGrowth times as long.
const (
	firstWindow  = 1024
	windowGrowth = 4
)

// Newest gives the last events that a filter selects, oldest first. It looks
// from the end backwards, as far as a page may look; where that was not far
// enough, it gives what it found.
func (s *Store) Newest(ctx context.Context, f Filter, a Ask) (Page, error) {
	p, err := s.plan(ctx, f, a)
	if err != nil {
		return Page{}, err
	}
	if p.cut != 0 {
		return Page{}, fmt.Errorf("%w: the stories have more than %d events; read them page by page", index.ErrTooMany, s.opts.MaxListed)
	}
	t := &tail{c: s.collector(f, a, p.first)}
	if err := t.pickBack(ctx, s, p.after); err != nil {
		return Page{}, err
	}
	for to, window := p.scan.To, uint64(firstWindow); to >= p.scan.From && to > 0 && !t.full(); window *= windowGrowth {
		from := p.scan.From
		if to-from >= window {
			from = to - window + 1
		}
		if err := t.look(ctx, s, eventlog.Range{From: from, To: to, Subjects: p.scan.Subjects}); err != nil {
			return Page{}, err
		}
		to = from - 1
	}
	if err := t.pickBack(ctx, s, p.before); err != nil {
		return Page{}, err
	}
	return Page{Events: t.events}, t.c.err
}

// tail gathers events from the end: each part is collected in order, and put
// before what there is.
type tail struct {
	c      *collector // for what it selects and its bounds
	events []Stored
	bytes  int
	cut    bool // older events were left out
}

func (t *tail) full() bool {
	return t.cut || len(t.events) >= t.c.ask.Limit || t.c.scans <= 0 || t.c.err != nil || time.Now().After(t.c.deadline)
}

// pickBack puts the events of some sequences before the others.
func (t *tail) pickBack(ctx context.Context, s *Store, seqs []uint64) error {
	for end := len(seqs); end > 0 && !t.full(); end -= pickChunk {
		records, err := s.log.GetMany(ctx, seqs[max(0, end-pickChunk):end])
		if err != nil {
			return err
		}
		var part []Stored
		for _, r := range records {
			t.c.scans--
			if e, ok := t.c.selects(r); ok {
				part = append(part, e)
			}
		}
		t.prepend(part)
	}
	return nil
}

// look puts the events of a range before the others. It keeps no more of them
// than can be of use.
func (t *tail) look(ctx context.Context, s *Store, r eventlog.Range) error {
	var part []Stored
	_, err := s.log.Scan(ctx, r, func(r eventlog.Record) (bool, error) {
		t.c.scans--
		if e, ok := t.c.selects(r); ok {
			part = append(part, e)
		}
		if len(part) >= 2*t.c.ask.Limit {
			part = slices.Delete(part, 0, len(part)-t.c.ask.Limit)
		}
		return true, nil
	})
	t.prepend(part)
	return err
}

// prepend takes from the end of part what there is room for.
func (t *tail) prepend(part []Stored) {
	i := len(part)
	for ; i > 0 && len(t.events)+len(part)-i < t.c.ask.Limit; i-- {
		size := t.c.ask.size(part[i-1])
		if t.bytes+size > t.c.ask.Bytes {
			t.cut = true
			if len(t.events) == 0 && i == len(part) {
				t.c.err = tooLarge(part[i-1], size, t.c.ask.Bytes)
			}
			break
		}
		t.bytes += size
	}
	t.events = append(slices.Clone(part[i:]), t.events...)
}
