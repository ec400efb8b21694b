package tree

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// place gives an agent that is to start its runner and orders the start, or lets
// it wait for one.
func (t *Tree) place(n *node, previous string) {
	if t.succeeds(n) {
		t.awaitEnds(n)
		return
	}
	if n.st.After > 0 {
		n.st.After, n.st.Due = 0, 0
		t.touch(n)
	}
	if n.spec.Agent.Runner == "" {
		t.orderStart(n)
		return
	}
	if n.st.Home != "" {
		previous = n.st.Home
	}
	r := t.choose(n.spec.Agent, previous, n.st.Home != "")
	if r == "" || t.heldBack(n, r) {
		t.unplace(n)
		return
	}
	n.st.Runner = r
	if r == n.st.Home {
		n.st.Home = ""
	}
	t.orderStart(n)
	t.load[r]++
}

// unplacedSpecs returns what is specified of the agents that wait for a runner.
func (t *Tree) unplacedSpecs() map[*node]*Spec {
	out := map[*node]*Spec{}
	for _, n := range t.unplaced {
		if !n.removed && n.st.Phase == Unplaced {
			out[n] = n.spec
		}
	}
	return out
}

// placeAgain places agents that wait for a runner where a configuration has them ask
// for another one than before.
func (t *Tree) placeAgain(before map[*node]*Spec) {
	for _, n := range slices.Clone(t.unplaced) {
		if was := before[n]; was != nil && n.st.Phase == Unplaced && !n.removed &&
			(n.spec.Agent.Runner != was.Agent.Runner || !maps.Equal(n.spec.Agent.Labels, was.Agent.Labels)) {
			t.place(n, n.st.From)
		}
	}
}

// unplace lets an agent that is to start wait.
func (t *Tree) unplace(n *node) {
	if n.st.Phase != Unplaced {
		t.setPhase(n, Unplaced, "")
	}
	if !n.listed {
		n.listed = true
		t.unplaced = append(t.unplaced, n)
	}
}

// orderStart orders the start of an agent's present incarnation.
func (t *Tree) orderStart(n *node) {
	t.setPhase(n, Starting, "")
	n.st.From, n.st.Decision = "", t.decision
	t.emit(n.startEffect())
}

// vacate takes an agent off its runner.
func (t *Tree) vacate(n *node) {
	if n.occupies() {
		t.load[n.st.Runner]--
	}
	n.st.Runner = ""
}

// choose gives the runner named, or of those with room and all the labels asked
// for the one with the fewest agents, the previous one first among equals, or
// first of all when it is insisted on; empty when there is none.
func (t *Tree) choose(a *Agent, previous string, insist bool) string {
	best := ""
	for _, r := range t.runners {
		if r.Name == a.Runner {
			return r.Name
		}
		if !t.fits(r, a) {
			continue
		}
		if insist && r.Name == previous {
			return r.Name
		}
		if best == "" || t.load[r.Name] < t.load[best] || t.load[r.Name] == t.load[best] && r.Name == previous {
			best = r.Name
		}
	}
	return best
}

// Misfit is why a runner is not chosen for an agent.
type Misfit string

// Misfits, the first that applies.
const (
	Fits Misfit = ""
	// NotNamed: the agent names another runner.
	NotNamed Misfit = "not_named"
	// NamedOnly: the runner takes only agents that name it.
	NamedOnly Misfit = "named_only"
	// LacksLabels: it does not have all labels that the agent asks for.
	LacksLabels Misfit = "lacks_labels"
	// Full: it has as many agents as it takes.
	Full Misfit = "full"
)

// Misfit is why a runner would not be chosen for an agent.
func (t *Tree) Misfit(r Runner, a *Agent) Misfit { return t.misfit(r, a, t.load) }

// misfit is Misfit under other loads than the present ones.
func (t *Tree) misfit(r Runner, a *Agent, load map[string]int) Misfit {
	switch {
	case a.Runner == r.Name:
		return Fits
	case a.Runner != AnyRunner:
		return NotNamed
	case r.Named:
		return NamedOnly
	}
	for k, v := range a.Labels {
		if r.lacks(k, v) {
			return LacksLabels
		}
	}
	if r.Capacity > 0 && load[r.Name] >= r.Capacity {
		return Full
	}
	return Fits
}

// lacks reports whether the runner does not have a label with a value.
func (r *Runner) lacks(label, value string) bool {
	have, ok := r.Labels[label]
	return !ok || have != value
}

// fits reports whether a runner may be chosen for an agent.
func (t *Tree) fits(r Runner, a *Agent) bool { return t.Misfit(r, a) == Fits }

// KnowRunners sets the available runners without placing anything, for a tree that
// is taken up again in the middle of its past.
func (t *Tree) KnowRunners(runners []Runner) {
	t.runners = slices.Clone(runners)
	slices.SortFunc(t.runners, func(a, b Runner) int { return strings.Compare(a.Name, b.Name) })
}

// Lingers names the runners that have live copies of an agent which they were told to
// end.
func (t *Tree) Lingers(agent string) []string { return t.lingering[agent] }

// Gathering reports whether agents that may run on any runner wait until each that
// is there has been compared with the tree.
func (t *Tree) Gathering() bool { return t.gathering }

// HeldBack reports whether the start of an agent on a runner must wait until it is
// known that no other runner has a copy of it.
func (t *Tree) HeldBack(agent, runner string) bool {
	n := t.nodes[agent]
	return n != nil && n.spec.Agent != nil && t.heldBack(n, runner)
}

// heldBack reports whether an agent cannot start on a runner yet, since another may
// have a copy of it. The runner itself starts nothing beside a copy that it has.
func (t *Tree) heldBack(n *node, runner string) bool {
	return t.gathering && n.spec.Agent.Runner == AnyRunner ||
		slices.ContainsFunc(t.lingering[n.spec.ID], func(r string) bool { return r != runner })
}

// Available are the runners that are available, as last told.
func (t *Tree) Available() []Runner { return t.runners }

// holdBack takes over what holds starts back.
func (t *Tree) holdBack(in *Input) {
	t.gathering, t.lingering = in.Gathering, map[string][]string{}
	for _, l := range in.Lingering {
		t.lingering[l.Agent] = append(t.lingering[l.Agent], l.Runner)
	}
}

// setRunners replaces the runners that are available and places who waits.
func (t *Tree) setRunners(runners []Runner) {
	before := make(map[string]bool, len(t.runners))
	for _, r := range t.runners {
		before[r.Name] = true
	}
	t.KnowRunners(runners)
	t.placeWaiting()
	for _, r := range t.runners {
		if !before[r.Name] {
			t.returnHome(r)
		}
	}
}

// placeWaiting places the agents that wait for that, where it can be done now.
func (t *Tree) placeWaiting() {
	waiting := t.unplaced
	t.unplaced = nil
	// Those first who wait the longest. It must not depend on what else the
	// tree has been through, or a rehearsal would place others than it did.
	slices.SortFunc(waiting, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.st.Since, b.st.Since), strings.Compare(a.spec.ID, b.spec.ID))
	})
	for _, n := range waiting {
		n.listed = false
		if !n.removed && n.st.Phase == Unplaced {
			t.place(n, n.st.From)
		}
	}
}

// returnHome stops the agents that are to go back to a runner, which is there
// again, so that they start there. Whoever is not at rest is left: its next
// start takes it home.
func (t *Tree) returnHome(r Runner) {
	var away []*node
	for _, n := range t.nodes {
		if n.st.Home == r.Name && n.st.Phase == Running && n.st.Command == nil && !t.busy(n.parent) && !n.parent.suspended() {
			away = append(away, n)
		}
	}
	slices.SortFunc(away, func(a, b *node) int { return strings.Compare(a.spec.ID, b.spec.ID) })
	room := len(away)
	if r.Capacity > 0 {
		room = max(0, r.Capacity-t.load[r.Name])
	}
	for _, n := range away[:min(room, len(away))] {
		if !n.spec.Agent.Return || !t.fits(r, n.spec.Agent) {
			n.st.Home = ""
			t.touch(n)
			continue
		}
		t.emit(Effect{Kind: NoteReturn, Node: n.spec.ID, Incarnation: n.st.Incarnation, Runner: r.Name, Reason: "its runner " + r.Name + " is back"})
		n.st.Story = t.story
		t.stop(n, ThenRestart, EndStopped, "its runner "+r.Name+" is back", false)
	}
}

// Occupants lists the agents that each of some runners has, as far as is known,
// by name.
func (t *Tree) Occupants(wanted func(runner string) bool) map[string][]string {
	out := map[string][]string{}
	for r, load := range t.load {
		if load > 0 && wanted(r) {
			out[r] = nil
		}
	}
	if len(out) == 0 {
		return out
	}
	for id, n := range t.nodes {
		if _, ok := out[n.st.Runner]; ok && n.spec.Agent != nil && n.st.Phase.live() {
			out[n.st.Runner] = append(out[n.st.Runner], id)
		}
	}
	for _, ids := range out {
		slices.Sort(ids)
	}
	return out
}

// Used lists the runners that have agents, by name.
func (t *Tree) Used() []string {
	var out []string
	for r, load := range t.load {
		if load > 0 {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}

// Stale tells whether an incarnation that a runner has is one that the tree no
// longer wants there: another has taken its place, it was removed, or it is
// down. What the tree has never heard of is somebody else's.
func (t *Tree) Stale(agent string, incarnation uint64, runner string) bool {
	n := t.nodes[agent]
	switch {
	case n == nil:
		return t.Removed(agent, incarnation)
	case n.spec.Agent == nil || incarnation > n.st.Incarnation:
		return false
	case t.mode(n) != Enforce:
		return false // nobody stops it from here
	case incarnation < n.st.Incarnation:
		return true
	}
	return !n.occupies() || n.st.Runner != runner
}

// Roams reports whether an agent may run on any runner.
func (t *Tree) Roams(agent string) bool {
	n := t.nodes[agent]
	return n != nil && n.spec.Agent != nil && n.spec.Agent.Runner == AnyRunner
}

// Removed reports whether an incarnation is of an agent that was removed.
func (t *Tree) Removed(agent string, incarnation uint64) bool {
	return t.nodes[agent] == nil && incarnation > 0 && t.tombs[agent] >= incarnation
}

// Unplaced is the number of agents that wait for a runner.
func (t *Tree) Unplaced() int {
	count := 0
	for _, n := range t.unplaced {
		if !n.removed && n.st.Phase == Unplaced && n.st.After == 0 {
			count++
		}
	}
	return count
}
