package tree

import (
	"slices"
	"strings"
)

// needsRunner tells whether an agent is to start and has no runner yet.
func (n *node) needsRunner() bool {
	return n.spec.Agent != nil && n.st.Phase == Starting && n.spec.Agent.Runner != "" && n.st.Runner == ""
}

// place gives a starting agent its runner and orders the start, or lets it
// wait for one.
func (t *Tree) place(n *node, previous string) {
	if n.needsRunner() {
		r := t.choose(n.spec.Agent.Runner, previous)
		if r == "" {
			n.st.Why = WhyNoRunner
			if !n.listed {
				n.listed = true
				t.unplaced = append(t.unplaced, n)
			}
			return
		}
		n.st.Runner, n.st.Why = r, ""
		t.load[r]++
	}
	t.touch(n)
	t.emit(n.startEffect())
}

// choose gives the runner named, or of those with room the one with the fewest
// agents, the previous one first among equals; empty when there is none.
func (t *Tree) choose(want, previous string) string {
	best := ""
	for _, r := range t.runners {
		if r.Name == want {
			return want
		}
		if want != AnyRunner || r.Named || r.Capacity > 0 && t.load[r.Name] >= r.Capacity {
			continue
		}
		if best == "" || t.load[r.Name] < t.load[best] || t.load[r.Name] == t.load[best] && r.Name == previous {
			best = r.Name
		}
	}
	return best
}

// setRunners replaces the runners that are available and places who waits.
func (t *Tree) setRunners(runners []Runner) {
	t.runners = slices.Clone(runners)
	slices.SortFunc(t.runners, func(a, b Runner) int { return strings.Compare(a.Name, b.Name) })
	waiting := t.unplaced
	t.unplaced = nil
	for _, n := range waiting {
		n.listed = false
		if !n.removed && n.needsRunner() {
			if t.place(n, ""); n.st.Runner != "" {
				n.st.Decision = t.decision
			}
		}
	}
}

// Unplaced is the number of agents that wait for a runner.
func (t *Tree) Unplaced() int {
	count := 0
	for _, n := range t.unplaced {
		if !n.removed && n.needsRunner() {
			count++
		}
	}
	return count
}
