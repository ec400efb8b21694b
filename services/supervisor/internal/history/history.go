// Package history looks back: it gives a tree as it was at any moment that the
// log still tells of, and what lies between two moments.
package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Reasons why a moment cannot be shown.
var (
	// ErrNothing: the tree had decided nothing by then.
	ErrNothing = errors.New("the tree had no decision by then")
	// ErrForgotten: the log holds only what is younger.
	ErrForgotten = errors.New("the log does not reach back that far")
	// ErrGap: decisions are missing in between.
	ErrGap = errors.New("decisions are missing from the log")
	// ErrLong: there is more between two moments than is kept in memory.
	ErrLong = errors.New("too much was decided in that time")
	// ErrOrder: the first moment is not before the second.
	ErrOrder = errors.New("the time is empty")
)

// maxPast bounds the decisions that [Between] gives, maxPastBytes what their
// changes take.
const (
	maxPast      = 100_000
	maxPastBytes = 256 << 20
)

// State is a tree as it was.
type State struct {
	Tree tree.Snapshot
	Mark contracts.TreeMark
	// Supervisor is who made the last decision, Runners those it knew; as far
	// as the fold has seen.
	Supervisor string
	Runners    []tree.Runner
}

// Log is where the past is read from.
type Log interface {
	LastSnapshot(ctx context.Context) (t tree.Snapshot, number, sequence uint64, err error)
	ReadPast(ctx context.Context, after uint64, each func(*decisionlog.Decision) (bool, error)) error
}

// At returns the tree after the last decision at or before a moment.
func At(ctx context.Context, log Log, m contracts.Moment) (State, error) {
	st, err := start(ctx, log, m)
	if err != nil {
		return st, err
	}
	err = log.ReadPast(ctx, st.Mark.Sequence, func(p *decisionlog.Decision) (bool, error) {
		if !by(p, m) {
			return false, nil
		}
		return true, st.Fold(p)
	})
	if err == nil && st.Mark.Decision == 0 {
		err = ErrNothing
	}
	return st, err
}

// Between returns the tree at one moment, every decision after it up to another,
// and the mark of the last. A tree that began later than the first moment is
// empty then; no first moment means the tree's beginning.
func Between(ctx context.Context, log Log, from, to contracts.Moment) (State, []*decisionlog.Decision, contracts.TreeMark, error) {
	fail := func(err error) (State, []*decisionlog.Decision, contracts.TreeMark, error) {
		return State{}, nil, contracts.TreeMark{}, err
	}
	st, err := oldest(ctx, log)
	if errors.Is(err, ErrForgotten) {
		if st, err = newest(ctx, log, from); err == nil && (from.IsZero() || st.Mark.Decision == 0) {
			_, err = oldest(ctx, log)
		}
		st.Runners = inferred(st.Tree)
	}
	if err != nil {
		return fail(err)
	}
	end := st.Mark
	var past []*decisionlog.Decision
	size := 0
	err = log.ReadPast(ctx, st.Mark.Sequence, func(p *decisionlog.Decision) (bool, error) {
		switch {
		case !by(p, to):
			return false, nil
		case len(past) == 0 && !from.IsZero() && by(p, from):
			err := st.Fold(p)
			end = st.Mark
			return true, err
		case p.Before() != end.Decision:
			return false, fmt.Errorf("%w: decision %d follows %d", ErrGap, p.Number, end.Decision)
		}
		if size += p.Bytes; size > maxPastBytes || len(past) == maxPast {
			return false, fmt.Errorf("%w: more than %d decisions or %d MiB; choose a shorter time", ErrLong, maxPast, maxPastBytes>>20)
		}
		past, end = append(past, p), mark(p)
		return true, nil
	})
	if err != nil {
		return fail(err)
	}
	if len(past) == 0 {
		return fail(fmt.Errorf("%w: nothing was decided between the two moments", ErrOrder))
	}
	return st, past, end, nil
}

// start returns the state from which to fold to a moment: the stored snapshot
// where that is old enough, or the empty tree.
func start(ctx context.Context, log Log, m contracts.Moment) (State, error) {
	st, err := newest(ctx, log, m)
	if err != nil || st.Mark.Decision > 0 {
		return st, err
	}
	return oldest(ctx, log)
}

// oldest returns the empty state, if the log reaches back to it.
func oldest(ctx context.Context, log Log) (State, error) {
	err := log.ReadPast(ctx, 0, func(p *decisionlog.Decision) (bool, error) {
		if p.Before() != 0 {
			return false, fmt.Errorf("%w: its oldest decision of the tree is number %d, at sequence %d, %s", ErrForgotten, p.Number, p.First, p.At.Time().Format("2006-01-02T15:04:05.000Z07:00"))
		}
		return false, nil
	})
	return State{}, err
}

// newest returns the stored snapshot if the moment is not before it, otherwise
// the empty state. When its decision was made only the log knows; if that has
// forgotten it, the next decision's time is taken instead.
func newest(ctx context.Context, log Log, m contracts.Moment) (State, error) {
	saved, number, seq, err := log.LastSnapshot(ctx)
	if err != nil || number == 0 || seq == 0 || m.Sequence > 0 && m.Sequence < seq {
		return State{}, err
	}
	st := State{Tree: saved, Mark: contracts.TreeMark{Decision: number, Sequence: seq}}
	reached := m.Sequence > 0 || m.IsZero()
	err = log.ReadPast(ctx, seq-1, func(p *decisionlog.Decision) (bool, error) {
		if p.Number == number {
			st.Mark.At, st.Supervisor = p.At.Time(), p.Supervisor
		}
		reached = reached || !p.At.Time().After(*m.At)
		return false, nil
	})
	if err != nil || !reached {
		return State{}, err
	}
	return st, nil
}

// by reports whether a decision had been made by a moment.
func by(p *decisionlog.Decision, m contracts.Moment) bool {
	switch {
	case m.Sequence > 0:
		return p.Sequence <= m.Sequence
	case m.At != nil:
		return !p.At.Time().After(*m.At)
	}
	return true
}

// Fold takes the next decision into account.
func (s *State) Fold(p *decisionlog.Decision) error {
	if p.Torn {
		return fmt.Errorf("%w: the log has forgotten how decision %d began", ErrGap, p.Number)
	}
	if p.Before() != s.Mark.Decision {
		return fmt.Errorf("%w: decision %d follows %d", ErrGap, p.Number, s.Mark.Decision)
	}
	for _, c := range p.Changes {
		s.Tree.Apply(c)
	}
	for _, in := range p.Inputs {
		if in.Kind == decisionlog.Takeover {
			s.Runners = nil
		} else if in.Kind == decisionlog.InputWord(tree.Runners) {
			read, err := decisionlog.ReadInput(in)
			if err != nil {
				continue // recorded when runners were not
			}
			s.Runners = read.Runners
		}
	}
	s.Mark, s.Supervisor = mark(p), p.Supervisor
	return nil
}

// inferred returns the runners that a tree's agents are on: where the log does
// not say which there were.
func inferred(t tree.Snapshot) []tree.Runner {
	names := map[string]bool{}
	for _, n := range t.Nodes {
		if n.State.Runner != "" {
			names[n.State.Runner] = true
		}
	}
	var out []tree.Runner
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, tree.Runner{Name: name})
	}
	return out
}

func mark(p *decisionlog.Decision) contracts.TreeMark {
	return contracts.TreeMark{Decision: p.Number, Sequence: p.Sequence, At: p.At.Time()}
}
