package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// LastSnapshot returns the tree of the stored snapshot, the number of its last decision
// and that one's place in the log; all zero when there is none.
func (j *Journal) LastSnapshot(ctx context.Context) (t tree.Snapshot, number, sequence uint64, err error) {
	s, err := j.readSnapshot(ctx)
	return s.Tree, s.Number, s.Sequence, err
}

// ReadPast calls each with the tree's decisions that are stored after a place
// in the log, in order, until there are no more or each gives false or an
// error. Decisions that were never completed are left out: they did not count.
func (j *Journal) ReadPast(ctx context.Context, after uint64, each func(*decisionlog.Decision) (bool, error)) error {
	last, err := j.stream.GetLastMsgForSubject(ctx, contracts.TreeWildcard(j.tree))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence <= after {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read decisions of tree %s: %w", j.tree, err)
	}
	var decisions decisionlog.Assembly
	for msg, err := range j.readDecisions(ctx, after, last.Sequence) {
		if err != nil {
			return err
		}
		part, err := decisionlog.Decode(msg.Subject(), msg.Data(), msg.sequence)
		if err != nil {
			continue // somebody else's; the tree itself leaves it out, too
		}
		d, err := decisions.Add(part)
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		if more, err := each(d); err != nil || !more {
			return err
		}
	}
	return nil
}
