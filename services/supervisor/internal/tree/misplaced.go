package tree

import (
	"slices"
	"strings"
)

// Misplacement is an agent that runs where it would not be started now: its labels,
// or those of its runner, have changed since.
type Misplacement struct {
	// Runner is where it runs, and Lacks are the labels that it asks for and that the
	// runner does not have.
	Runner string
	Lacks  map[string]string
	// To is the runner that it would be started on, empty if there is none.
	To string
}

// Misplaced returns where an agent is misplaced, and whether it is. What labels a
// runner has is known of those that are available.
func (t *Tree) Misplaced(id string) (Misplacement, bool) {
	n := t.nodes[id]
	if n == nil {
		return Misplacement{}, false
	}
	lacks := t.lacks(n)
	if len(lacks) == 0 {
		return Misplacement{}, false
	}
	return Misplacement{Runner: n.st.Runner, Lacks: lacks, To: t.emptiest(n, t.load)}, true
}

// lacks returns the labels that an agent asks for and that the runner that it runs on
// does not have; nil if it has all of them.
func (t *Tree) lacks(n *node) map[string]string {
	a := n.spec.Agent
	if a == nil || len(a.Labels) == 0 || a.Runner != AnyRunner || !n.st.Phase.Up() || n.st.Phase == Stopping {
		return nil
	}
	i, known := slices.BinarySearchFunc(t.runners, n.st.Runner, func(r Runner, name string) int { return strings.Compare(r.Name, name) })
	if !known {
		return nil
	}
	var lacks map[string]string
	for k, v := range a.Labels {
		if t.runners[i].lacks(k, v) {
			if lacks == nil {
				lacks = map[string]string{}
			}
			lacks[k] = v
		}
	}
	return lacks
}
