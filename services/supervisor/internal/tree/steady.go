package tree

import "time"

// Unsteady is what is known of a node that failed and was restarted, and has not yet
// run for long enough since.
type Unsteady struct {
	// Restarts counts the restarts since it last ran long enough.
	Restarts int
	// Last is when the last of them was decided, and Why is how it had ended.
	Last Instant
	Why  string
	// Steady is when it is steady if it continues to run; 0 while it comes up.
	Steady Instant
}

// Unsteady reports whether a node that is up or comes up failed lately: it has not run
// since for the time that resets its backoff, or, without one, for the period of its
// supervisor's limit.
func (t *Tree) Unsteady(id string, now Instant) (Unsteady, bool) {
	n := t.nodes[id]
	if n == nil {
		return Unsteady{}, false
	}
	return n.unsteady(now)
}

// UnsteadyAgents counts the agents that failed lately, whether they run, come up or wait
// for that, and returns when the first of those that run is steady; 0 if there are none.
func (t *Tree) UnsteadyAgents(now Instant) (count int, until Instant) {
	for _, n := range t.nodes {
		if n.spec.Agent == nil {
			continue
		}
		u, ok := n.unsteady(now)
		if !ok && !t.failing(n) {
			continue
		}
		count++
		if u.Steady > 0 && (until == 0 || u.Steady < until) {
			until = u.Steady
		}
	}
	return count, until
}

// failing reports whether an agent failed, is down or going down for that, and is to
// start again without anybody's order.
func (t *Tree) failing(n *node) bool {
	switch st := &n.st; st.Phase {
	case Waiting, Isolated, Ended:
		return st.End.Blame() == BlameAgent && t.comes(n)
	case Stopping:
		return st.Then == ThenFail || st.Then == ThenStartFailed
	case Idle:
		return st.OwnEnd().Blame() == BlameAgent && n.parent != nil && t.willStart(n.parent, n)
	}
	return false
}

func (n *node) unsteady(now Instant) (Unsteady, bool) {
	if n.st.Attempts == 0 || n.past == nil || !n.st.Phase.coming() && n.st.Phase != Stabilising && n.st.Phase != Running {
		return Unsteady{}, false
	}
	restarts := n.past.restarts.all
	if len(restarts) == 0 {
		return Unsteady{}, false
	}
	last := restarts[len(restarts)-1]
	// Without a time that resets them, attempts do not say whether it ran for long
	// before it was stopped with its group.
	if n.spec.Backoff.Reset == 0 && (n.st.Incarnation > last.Incarnation+1 || n.spec.Supervisor != nil && n.st.Cause != last.Event) {
		return Unsteady{}, false
	}
	u := Unsteady{Restarts: n.st.Attempts, Last: last.At, Why: last.Reason}
	if n.st.Phase == Running {
		u.Steady = n.st.Since.Add(n.probation())
	}
	return u, u.Steady == 0 || now < u.Steady
}

// probation is how long a node must run after a failure to be steady.
func (n *node) probation() time.Duration {
	if r := n.spec.Backoff.Reset; r > 0 || n.parent == nil {
		return r
	}
	return n.parent.spec.Supervisor.Period
}
