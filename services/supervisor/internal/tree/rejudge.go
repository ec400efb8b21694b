package tree

import (
	"cmp"
	"slices"
)

// waitingEnd is the end of an agent that waits, and what it was judged by.
type waitingEnd struct {
	n      *node
	former *Spec
}

// waits reports whether the end of an agent is judged and what follows still waits: its
// delay, its cool-off, or the restart of its group. A supervisor that waits may be
// cooling off, which is not an end.
func (n *node) waits() bool {
	return n.spec.Agent != nil && (n.st.Phase.delayed() || n.st.Phase == Idle && n.st.Own != "" && n.parent.regroups(n))
}

// waitingEnds returns the ends that wait, in the order of their agents' names.
func (t *Tree) waitingEnds() []waitingEnd {
	var out []waitingEnd
	for _, n := range t.nodes {
		if n.waits() {
			out = append(out, waitingEnd{n, n.spec})
		}
	}
	slices.SortFunc(out, func(a, b waitingEnd) int { return cmp.Compare(a.n.spec.ID, b.n.spec.ID) })
	return out
}

// rejudge judges ends that wait again where a configuration has changed what they are
// judged by. An agent that is no longer to be restarted stays down, and a delay is as
// long as it is now specified, since it began.
func (t *Tree) rejudge(ends []waitingEnd) {
	for _, e := range ends {
		n, p := e.n, e.n.parent
		if n.removed || !n.waits() {
			continue
		}
		switch {
		case n.spec.Restart != e.former.Restart && n.leftDown():
			t.finish(n)
			if !t.busy(p) && !p.suspended() {
				t.autoShutdown(p, n)
			}
		case n.st.Phase == Waiting && n.st.Attempts > 0 && n.spec.Backoff != e.former.Backoff && n.st.End.charged():
			delay := n.spec.Backoff.Wait(n.st.Attempts-1, seedOf(n.spec.ID)+n.st.Incarnation)
			t.arm(n, max(t.now, n.st.Since.Add(delay)))
		}
	}
}

// leftDown reports whether the restart type leaves an agent down that ended as it did.
// A group takes those along that have finished, but no temporary ones.
func (n *node) leftDown() bool {
	return n.spec.Restart == Temporary || n.spec.Restart == Transient && n.st.Phase.delayed() && n.st.End.normal()
}
