package tree

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Agents that a configuration adds start when those that it removes have ended: they
// may be the same under another name, and need what the former ones hold, such as a
// port. That holds for the whole tree. They wait as unplaced agents do.

// forever is the end of a wait that only an end can end.
const forever Instant = math.MaxInt64

// timeToKill is how long an agent that did not end in its time may take to be killed.
const timeToKill = 5 * time.Second

// succeed makes the added ones of some nodes wait until all are down that are being
// removed, at most for as long as those have for it.
func (t *Tree) succeed(fresh []*node) {
	until := t.leaveBy()
	for _, n := range fresh {
		switch {
		case n.st.After != forever: // it was moved
		case n.spec.Agent == nil:
			n.st.After = 0
		default:
			n.st.After = until
		}
	}
}

// leaveBy is when all that is being removed must have ended; 0 where nothing is.
func (t *Tree) leaveBy() (until Instant) {
	if t.leaves() {
		until = t.now
	}
	groups := map[*node]time.Duration{}
	for n := range t.leaving {
		d := n.timeToEnd()
		if p := n.parent; p.spec.Supervisor.Strategy.Group() {
			groups[p] = addTimes(groups[p], d) // they stop one after another
			d = groups[p]
		}
		if d == math.MaxInt64 {
			until = forever
		} else if until != forever {
			until = max(until, t.now.Add(d))
		}
	}
	return until
}

// TimeToStop is how long the whole tree may take to stop; the longest duration where an
// agent has no bound.
func (t *Tree) TimeToStop() time.Duration {
	if t.root == nil {
		return 0
	}
	return t.root.timeToEnd()
}

// timeToEnd is how long a node that is being stopped may take: an agent its timeout
// and a kill, a supervisor what its children take, one after another in a group.
func (n *node) timeToEnd() time.Duration {
	own := addTimes(n.spec.ShutdownTimeout, timeToKill)
	if n.spec.Supervisor == nil {
		switch {
		case !n.ordered():
			return 0
		case n.spec.ShutdownTimeout == 0:
			return math.MaxInt64
		}
		return own
	}
	var all time.Duration
	for _, c := range n.kids {
		if d := c.timeToEnd(); n.spec.Supervisor.Strategy.Group() {
			all = addTimes(all, d)
		} else {
			all = max(all, d)
		}
	}
	if n.spec.ShutdownTimeout > 0 {
		all = min(all, own)
	}
	return all
}

// addTimes adds times of which the longest stands for no bound.
func addTimes(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// leaves reports whether a node that is no longer configured is still there.
func (t *Tree) leaves() bool {
	for n := range t.leaving {
		if !n.removed && n.st.Discarded() {
			return true
		}
		delete(t.leaving, n)
	}
	return false
}

// succeeds reports whether the start of an agent waits until others have ended.
func (t *Tree) succeeds(n *node) bool { return n.st.After > t.now && t.leaves() }

// awaitEnds lets an agent that is to start wait until others have ended.
func (t *Tree) awaitEnds(n *node) {
	t.holds = true
	t.unplace(n)
	if n.st.After != forever {
		t.arm(n, n.st.After)
	}
}

// admit starts agents when those that they waited for have ended.
func (t *Tree) admit() {
	if t.holds && !t.leaves() {
		t.holds = false
		t.placeWaiting()
	}
}

// AwaitsEnd returns the agents that must end before an agent starts, in order of their
// names; nil where it waits for none.
func (t *Tree) AwaitsEnd(id string) []string {
	n := t.nodes[id]
	if n == nil || n.st.Phase != Unplaced || n.st.After == 0 {
		return nil
	}
	return t.Leaving()
}

// Leaving returns the agents that may still run and are no longer configured, in order
// of their names.
func (t *Tree) Leaving() []string {
	var out []string
	for l := range t.leaving {
		if l.removed || !l.st.Discarded() {
			continue
		}
		for _, a := range l.agents(nil) {
			if a.ordered() {
				out = append(out, a.spec.ID)
			}
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return slices.Compact(out)
}
