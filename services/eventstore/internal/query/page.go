package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/index"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/indexer"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/intake"
)

// Ask says which part of the answer is wanted.
type Ask struct {
	// After is the sequence after which to begin.
	After uint64
	// Until is the last sequence to look at; 0 is the stream's last.
	Until uint64
	// Limit is how many events are wanted, Bytes how much they may take.
	Limit, Bytes int
	// Raw counts Bytes as stored, instead of as replies carry them.
	Raw bool
}

// Page is a part of an answer, in the order of the stream.
type Page struct {
	Events []Stored
	// Next is the After of the next page; 0 when this is the last.
	Next uint64
}

// End gives the sequence of the last message stored.
func (s *Store) End(ctx context.Context) (uint64, error) {
	state, err := s.log.State(ctx)
	return state.Last, err
}

// plan is where the events that a filter selects can be: sequences, then a
// range, then more sequences, in ascending order.
type plan struct {
	first  uint64 // of the stream
	before []uint64
	scan   eventlog.Range
	after  []uint64
	// cut is set when before ends there only because it would be too long.
	cut uint64
}

// plan finds out where to look. Time is cut from the stream by when events were
// stored; the few whose own time differs come from the index.
func (s *Store) plan(ctx context.Context, f Filter, a Ask) (plan, error) {
	state, err := s.log.State(ctx)
	if err != nil {
		return plan{}, err
	}
	if a.Until == 0 || a.Until > state.Last {
		a.Until = state.Last
	}
	p := plan{first: max(state.First, 1)}
	if len(f.correlations) > 0 {
		p.before, p.cut, err = s.correlated(ctx, state, f.correlations, a)
		return p, err
	}
	from, to := max(p.first, a.After+1), a.Until
	p.scan = eventlog.Range{From: from, To: to, Subjects: f.subjects()}
	if !f.timed() {
		return p, nil
	}
	var misdated []uint64
	err = s.indexed(ctx, state, func(ix index.Index) (err error) {
		misdated, err = ix.Misdated(f.from, f.to, s.opts.MaxListed)
		return err
	})
	if err != nil {
		return p, err
	}
	if !f.from.IsZero() {
		if from, err = s.log.SequenceAt(ctx, f.from.Add(-indexer.MisdatedBy)); err != nil {
			return p, err
		}
		p.scan.From = max(p.scan.From, from)
	}
	if !f.to.IsZero() {
		if to, err = s.log.SequenceAt(ctx, f.to.Add(indexer.MisdatedBy)); err != nil {
			return p, err
		}
		p.scan.To = min(p.scan.To, to-1)
	}
	for _, seq := range misdated {
		switch {
		case seq <= a.After || seq > a.Until:
		case seq < p.scan.From:
			p.before = append(p.before, seq)
		case seq > p.scan.To:
			p.after = append(p.after, seq)
		}
	}
	return p, nil
}

// correlated lists where the events of several stories are; where that would be
// too much, only up to a sequence.
func (s *Store) correlated(ctx context.Context, state eventlog.State, ids []string, a Ask) (all []uint64, cut uint64, err error) {
	until := a.Until
	for _, id := range ids {
		var seqs []uint64
		err := s.indexed(ctx, state, func(ix index.Index) (err error) {
			seqs, err = ix.Correlated(id, a.After, s.opts.MaxListed)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		if len(seqs) == s.opts.MaxListed && seqs[len(seqs)-1] < until {
			until = seqs[len(seqs)-1]
			cut = until
		}
		all = append(all, seqs...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	end, _ := slices.BinarySearch(all, until+1)
	return all[:end], cut, nil
}

// Page gives the first events that a filter selects.
func (s *Store) Page(ctx context.Context, f Filter, a Ask) (Page, error) {
	p, err := s.plan(ctx, f, a)
	if err != nil {
		return Page{}, err
	}
	c := s.collector(f, a, p.first)
	for _, part := range []func() error{
		func() error { return s.pick(ctx, p.before, c) },
		func() error { return s.look(ctx, p.scan, c) },
		func() error { return s.pick(ctx, p.after, c) },
	} {
		if err := part(); err != nil {
			return Page{}, err
		}
		if c.full {
			return c.page, c.err
		}
	}
	c.page.Next = p.cut
	return c.page, nil
}

// pickChunk is how many single messages are fetched together.
const pickChunk = 64

// pick offers the messages of some sequences to the collector.
func (s *Store) pick(ctx context.Context, seqs []uint64, c *collector) error {
	for chunk := range slices.Chunk(seqs, pickChunk) {
		records, err := s.log.GetMany(ctx, chunk)
		if err != nil {
			return err
		}
		for _, r := range records {
			if more := c.offer(r); !more {
				return nil
			}
		}
	}
	return nil
}

// look offers the messages of a range to the collector.
func (s *Store) look(ctx context.Context, r eventlog.Range, c *collector) error {
	_, err := s.log.Scan(ctx, r, func(r eventlog.Record) (bool, error) { return c.offer(r), nil })
	return err
}

// collector gathers a page from messages that are offered in order.
type collector struct {
	filter    Filter
	ask       Ask
	duplicate func(Stored) bool
	deadline  time.Time
	scans     int // messages that may still be looked at

	page  Page
	bytes int
	full  bool // the page is complete, and Next says where the rest begins
	err   error
}

func (s *Store) collector(f Filter, a Ask, first uint64) *collector {
	return &collector{
		filter: f, ask: a, deadline: time.Now().Add(s.opts.MaxScanTime), scans: s.opts.MaxScan,
		duplicate: func(e Stored) bool { return s.duplicate(first, e) },
	}
}

// offer takes a message if the filter selects it, and says whether to go on.
func (c *collector) offer(r eventlog.Record) (more bool) {
	if e, ok := c.selects(r); ok && !c.take(e) {
		return false
	}
	c.scans--
	if c.scans <= 0 || time.Now().After(c.deadline) {
		c.full, c.page.Next = true, r.Sequence
		return false
	}
	return true
}

func (c *collector) selects(r eventlog.Record) (Stored, bool) {
	e, err := intake.Decode(r.Subject, r.Data)
	if err != nil { // set aside by the indexer
		return Stored{}, false
	}
	found := Stored{r, e}
	return found, c.filter.Match(e) && !c.duplicate(found)
}

// take adds an event, unless the page is full: then the next page begins with
// it.
func (c *collector) take(e Stored) bool {
	size := c.ask.size(e)
	n := len(c.page.Events)
	if n > 0 && (n >= c.ask.Limit || c.bytes+size > c.ask.Bytes) {
		c.full, c.page.Next = true, c.page.Events[n-1].Record.Sequence
		return false
	}
	if size > c.ask.Bytes {
		c.full, c.err = true, tooLarge(e, size, c.ask.Bytes)
		return false
	}
	c.bytes += size
	c.page.Events = append(c.page.Events, e)
	return true
}

func (a Ask) size(e Stored) int {
	if a.Raw {
		return rawSize(e)
	}
	return encodedSize(e)
}

func tooLarge(e Stored, size, limit int) error {
	return fmt.Errorf("%w: event %s at sequence %d takes %d bytes of at most %d; read it with `nats stream get SMITH_EVENTS %d`",
		ErrTooLarge, e.Event.ID, e.Record.Sequence, size, limit, e.Record.Sequence)
}
