package tree

import (
	"cmp"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// Cool-offs of the Isolate policy where the supervisor gives none.
const (
	DefaultCoolOff    = time.Minute
	DefaultMaxCoolOff = 10 * time.Minute
)

// Isolation is what is remembered of the failures of one child whose supervisor
// isolates. It is never changed, only replaced, so that copies of a state share
// it; nil remembers nothing.
type Isolation struct {
	// Window holds the times of the restarts that count against the child's
	// limit, Proposed those of the restarts that were only proposed.
	Window   []Instant `json:"window,omitempty"`
	Proposed []Instant `json:"proposed,omitempty"`
	// Rounds counts the cool-offs since the child last ran for a whole period.
	// While it is not zero, the next failure leads to the next cool-off.
	Rounds int `json:"rounds,omitempty"`
}

// isolates reports whether a supervisor counts failures for each child, and sets
// apart the one that exceeds the limit. A group restarts together, so no member
// of it can be set apart.
func (s *Supervisor) isolates() bool {
	return s.Escalation == Isolate && s.Strategy.Single()
}

// coolOff is how long a child is set apart for the nth time in a row, from 0. It
// doubles, and varies by the jitter of the child's backoff, so that children that
// failed together are not tried again together.
func (s *Supervisor) coolOff(child *Spec, n int, seed uint64) time.Duration {
	first := cmp.Or(s.CoolOff, DefaultCoolOff)
	b := backoff.Delays{
		Type: backoff.Exponential, Base: 2, Delay: first,
		Max: max(first, cmp.Or(s.MaxCoolOff, DefaultMaxCoolOff)), Jitter: child.Backoff.Jitter,
	}
	return b.Wait(n, seed)
}

// admitted counts a restart of a child, real or proposed, against the child's own
// limit, and reports whether it is within it. A child on trial has no restart
// left.
func (t *Tree) admitted(n *node, proposed bool) bool {
	spec := n.parent.spec.Supervisor
	var was Isolation
	if n.st.Isolation != nil {
		was = *n.st.Isolation
	}
	if was.Rounds > 0 {
		return false
	}
	from := t.now.Add(-spec.Period)
	now := Isolation{Window: since(was.Window, from), Proposed: since(was.Proposed, from)}
	if proposed {
		now.Proposed = append(now.Proposed, t.now)
	} else {
		now.Window = append(now.Window, t.now)
	}
	n.st.Isolation = &now
	t.touch(n)
	return len(now.Window)+len(now.Proposed) <= spec.MaxRestarts
}

// since copies the instants that are not before from.
func since(log []Instant, from Instant) []Instant {
	var kept []Instant
	for _, at := range log {
		if at >= from {
			kept = append(kept, at)
		}
	}
	return kept
}

// setApart begins a child's next cool-off and returns when it ends.
func (t *Tree) setApart(n *node) (due Instant) {
	rounds := n.st.rounds()
	n.st.Isolation = &Isolation{Rounds: rounds + 1}
	t.touch(n)
	return t.now.Add(n.parent.spec.Supervisor.coolOff(n.spec, rounds, seedOf(n.spec.ID)+n.st.Incarnation))
}

// rounds is how often a node was set apart since it last ran for a whole period.
func (s *State) rounds() int {
	if s.Isolation == nil {
		return 0
	}
	return s.Isolation.Rounds
}

// isolate sets apart a child that exceeded its own limit. Nothing comes of it for
// its siblings and its supervisor.
func (t *Tree) isolate(n *node) {
	why := n.st.Why
	due := t.setApart(n)
	n.st.Attempts = 0
	t.note(n, Effect{Kind: NoteIsolate, Incarnation: n.st.Incarnation, Due: due, Reason: "restart limit exceeded: " + why})
	t.setPhase(n, Isolated, why)
	t.arm(n, due)
}

// tryAgain starts an isolated child once: should it fail before it has run for a
// whole period, it is set apart again.
func (t *Tree) tryAgain(n *node) {
	n.st.Attempts++
	t.noteRestart(n, t.now)
	t.begin(n, n.st.Story, true)
}

// steady forgets the past failures of a node whose run ends, whatever ends it, if
// that was long enough: for the backoff's reset, the delays; for the period of a
// supervisor that isolates, what counts against the node's limit.
func (t *Tree) steady(n *node) {
	if r := n.spec.Backoff.Reset; r > 0 && t.now >= n.st.Since.Add(r) {
		n.st.Attempts = 0
	}
	if p := n.parent; p != nil && n.st.Isolation != nil && t.now >= n.st.Since.Add(p.spec.Supervisor.Period) {
		n.st.Isolation = nil
	}
}

// runs reports whether a node is up and was verified or, if it is only watched, not
// known to be down.
func (n *node) runs() bool {
	return n.st.Phase == Running || n.st.Phase == Watched && n.st.End == ""
}

// fresh forgets a node's past failures.
func (n *node) fresh() { n.st.Attempts, n.st.Isolation = 0, nil }
