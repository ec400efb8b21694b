package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Past is a decision as the log has it, whole.
type Past struct {
	contracts.DecisionsData
	ID   string
	Type contracts.EventType
	At   time.Time
	// First and Sequence are the places of its first and last message.
	First, Sequence uint64
}

// TreeChanges are the decision's changes as the tree knows them.
func (p *Past) TreeChanges() ([]tree.Change, error) {
	out := make([]tree.Change, 0, len(p.Changes))
	for id, raw := range p.Changes {
		c, err := tree.ReadChange(p.Version, id, raw)
		if err != nil {
			return nil, fmt.Errorf("decision %d, change of %s: %w", p.Number, id, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// LastSnapshot gives the tree of the stored snapshot, the number of its last decision
// and that one's place in the log; all zero when there is none.
func (j *Journal) LastSnapshot(ctx context.Context) (t tree.Snapshot, number, sequence uint64, err error) {
	s, err := j.readSnapshot(ctx)
	return s.Tree, s.Number, s.Sequence, err
}

// ReadPast calls each with the tree's decisions that are stored after a place
// in the log, in order, until there are no more or each gives false or an
// error. Decisions that were never completed are left out: they did not count.
func (j *Journal) ReadPast(ctx context.Context, after uint64, each func(Past) (bool, error)) error {
	last, err := j.stream.GetLastMsgForSubject(ctx, contracts.TreeWildcard(j.tree))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence <= after {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read decisions of tree %s: %w", j.tree, err)
	}
	cons, err := j.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{contracts.TreeWildcard(j.tree)},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return fmt.Errorf("read decisions of tree %s: %w", j.tree, err)
	}
	msgs, err := cons.Messages()
	if err != nil {
		return fmt.Errorf("read decisions of tree %s: %w", j.tree, err)
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Stop)() // Next heeds no context while it replaces a lost consumer
	var whole assembly
	for at := after; at < last.Sequence; {
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read decisions of tree %s after sequence %d: %w", j.tree, at, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read decisions of tree %s: %w", j.tree, err)
		}
		at = meta.Sequence.Stream
		ev, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
		if err != nil {
			continue // somebody else's; the tree itself leaves it out, too
		}
		d, err := contracts.DecodeData[contracts.DecisionsData](ev)
		if err != nil {
			continue
		}
		decision, ok := whole.add(ev, d, at)
		if !ok {
			continue
		}
		if more, err := each(decision); err != nil || !more {
			return err
		}
	}
	return nil
}

// assembly puts the messages of one decision together.
type assembly struct{ parts leader.Fold[Past] }

// add takes the tree's next message and returns its decision when it is whole.
func (a *assembly) add(ev contracts.Event, d contracts.DecisionsData, seq uint64) (Past, bool) {
	more := d.More
	d.More = false
	whole := a.parts.Add(ev.ID, Past{DecisionsData: d, ID: ev.ID, Type: ev.Type, At: ev.Time, First: seq, Sequence: seq}, more)
	if whole == nil {
		return Past{}, false
	}
	p := whole[0]
	for _, part := range whole[1:] {
		p.Sequence = part.Sequence
		p.Inputs, p.Effects = append(p.Inputs, part.Inputs...), append(p.Effects, part.Effects...)
		if p.Changes == nil {
			p.Changes = part.Changes
		} else {
			maps.Copy(p.Changes, part.Changes)
		}
	}
	return p, true
}
