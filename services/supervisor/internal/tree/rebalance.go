package tree

import (
	"maps"
	"slices"
	"strconv"
)

// Relocation is an agent that would run on another runner.
type Relocation struct {
	Agent, From, To string
}

// PlanRebalance returns which agents at and below a node would move so that the
// runners that take starts are as equally full as their labels and room allow. Only
// agents that run and that may run anywhere move. Misplaced ones come first, each to
// the emptiest runner that it fits; then others, from the fullest runner first.
// Nothing is moved for balance that would leave the two as unequal as before.
func (t *Tree) PlanRebalance(id string) []Relocation {
	top := t.nodes[id]
	if top == nil {
		return nil
	}
	movable := map[string][]*node{}
	var moves []Relocation
	load := maps.Clone(t.load)
	move := func(n *node, to string) {
		load[n.st.Runner]--
		load[to]++
		moves = append(moves, Relocation{n.spec.ID, n.st.Runner, to})
	}
	for _, n := range top.agents(nil) {
		if !n.relocatable() {
			continue
		}
		if len(t.lacks(n)) == 0 {
			movable[n.st.Runner] = append(movable[n.st.Runner], n)
		} else if to := t.emptiest(n, load); to != "" {
			move(n, to)
		}
	}
	for len(movable) > 0 {
		from := ""
		for _, r := range slices.Sorted(maps.Keys(movable)) {
			if from == "" || load[r] > load[from] {
				from = r
			}
		}
		// The last to be started move first, as they are the last that others need.
		agents := movable[from]
		n := agents[len(agents)-1]
		if movable[from] = agents[:len(agents)-1]; len(movable[from]) == 0 {
			delete(movable, from)
		}
		if to := t.emptiest(n, load); to != "" && load[to] < load[from]-1 {
			move(n, to)
		}
	}
	return moves
}

// relocatable reports whether an agent may be started elsewhere for balance: it
// runs, any runner will do, and it waits to go back to none.
func (n *node) relocatable() bool {
	return n.st.Phase == Running && n.spec.Agent.Runner == AnyRunner && n.st.Home == "" && n.st.Command == nil
}

// emptiest is the runner that would be chosen for an agent under some loads.
func (t *Tree) emptiest(n *node, load map[string]int) string {
	best := ""
	for _, r := range t.runners {
		if t.misfit(r, n.spec.Agent, load) == Fits && (best == "" || load[r.Name] < load[best]) {
			best = r.Name
		}
	}
	return best
}

// rebalance carries out CmdRebalance: the agents of the plan are restarted a few at
// a time, and each start chooses the emptiest runner then.
func (t *Tree) rebalance(n *node, in *Input) {
	if in.Count < 1 {
		t.reply(in, Invalid, "at least 1 agent must be allowed to be down at once")
		return
	}
	var wanted []*node
	for _, m := range t.PlanRebalance(n.spec.ID) {
		wanted = append(wanted, t.nodes[m.Agent])
	}
	t.beginRolling(wanted, in.Count, in)
	t.reply(in, OK, strconv.Itoa(len(wanted)))
}
