package tree

import (
	"cmp"
	"slices"
)

// whyReplaced says what superseded a rollout.
const whyReplaced = "another configuration was applied"

// rolledOut returns the agents that the rollout of a configuration is for, with what
// that has them run, or nil for those that it removes; nil where none is under way.
func (t *Tree) rolledOut() map[*node]*Spec {
	r := t.rolling()
	if r == nil || r.Stopped != "" || r.Applied == "" {
		return nil
	}
	out := map[*node]*Spec{}
	for _, n := range t.root.agents(nil) {
		switch {
		case n.goes():
			if r.Until > 0 && n.ordered() {
				out[n] = nil
			}
		case n.part().Turn != "":
			out[n] = n.spec
		}
	}
	return out
}

// replaces reports whether a configuration has replaced, removed or released something of
// what was being rolled out, or keeps what was being removed.
func (t *Tree) replaces(rolled map[*node]*Spec) bool {
	for n, former := range rolled {
		if former == nil {
			if !n.goes() {
				return true
			}
			continue
		}
		if n.rebuilt(former) || n.goes() || t.unmanaged(n) {
			return true
		}
	}
	return false
}

// unmanaged reports whether somebody else starts and stops an agent. A member that
// waits for its turn in the start of its group is idle, whoever is to start it.
func (t *Tree) unmanaged(n *node) bool {
	return n.st.Phase == Watched || n.st.Phase == Foreign || t.mode(n) != Enforce
}

// goes reports whether a configuration has removed a node, or is about to, by itself or
// with a supervisor above it.
func (n *node) goes() bool {
	for ; n != nil; n = n.parent {
		if n.removed || n.st.Discarded() {
			return true
		}
	}
	return false
}

// goingBack returns the agents that are about to be removed and that a configuration
// has again: they are followed as new ones are.
func (t *Tree) goingBack(specs []*Spec) (back []*node) {
	for _, s := range specs {
		if n := t.nodes[s.ID]; n != nil && s.Agent != nil && n.goes() {
			back = append(back, n)
		}
	}
	return back
}

// rollOut begins what follows from a configuration: every agent that does not run
// what its specification says is restarted, if that is asked for, and those that waited
// to be started and are another program now are started at once. Those that it added
// are followed, and those that it removed until they have ended. It returns the name of the rollout to wait for, empty for none: its
// own, or the one under way, of which it replaces nothing. Else it supersedes that.
func (t *Tree) rollOut(rolled map[*node]*Spec, waited, fresh []*node, in *Input) (rollout string) {
	if r := t.rolling(); r != nil && r.Stopped == "" && r.Applied != "" && t.replaces(rolled) {
		t.tell(r.Applied, Answer{Result: Superseded, Reason: whyReplaced})
		if r.ID == r.Applied { // nobody else waits for the former
			t.startOver(r, in)
		}
		r.Applied, r.Failed, r.Left = "", "", ""
	}
	t.releaseRemoved()
	t.endLeft(in)
	most, usual := 0, false
	if c := in.Configuration; c != nil {
		most, usual = c.MaxUnavailable, c.UsualBound
	}
	var wanted []*node
	for _, n := range waited {
		switch {
		case n.spec.Supervisor != nil && n.st.Phase.delayed():
			// Its agents are followed as new ones are, but for those that are wanted.
			n.st.Story = t.story
			t.hasten(n)
			fresh = n.agents(fresh)
		case most > 0 && (t.comes(n) || n.st.Phase.coming()): // or has been started since
			wanted = append(wanted, n)
		case n.hastens():
			n.st.Story = t.story
			t.hasten(n)
		}
	}
	if most > 0 {
		wanted = t.takingPart(t.outdated(wanted, fresh))
	}
	if r := t.rolling(); r != nil && r.Stopped == "" && usual {
		most = cmp.Or(r.Max, most)
	}
	t.beginRolling(wanted, most, in)
	added, removes := t.followAdded(fresh, in), t.awaitRemoved(in)
	r := t.rolling()
	if r == nil || r.Stopped != "" {
		return ""
	}
	if r.Applied == "" && (len(wanted) > 0 || r.Added > 0 || removes) {
		r.Applied = in.Token
		t.touch(t.root)
	}
	if most == 0 && added == 0 && !removes {
		return "" // it asks for nothing that is under way
	}
	return r.Applied
}

// releaseRemoved ends the parts of agents that a configuration has removed or released:
// it is not to be told so.
func (t *Tree) releaseRemoved() {
	if r := t.rolling(); r == nil || r.Stopped != "" {
		return
	}
	for _, n := range t.root.agents(nil) {
		if n.goes() || t.unmanaged(n) {
			t.leaveRolling(n)
		}
	}
}

// tryNow starts nodes that a configuration has wait for nothing, but for those that
// wait and are another program now. It returns their agents, which are followed as new
// ones are.
func (t *Tree) tryNow(due, waited []*node) (agents []*node) {
	for _, n := range due {
		if slices.Contains(waited, n) || !n.waits() {
			continue
		}
		n.st.Story = t.story
		t.hasten(n)
		if !n.waits() {
			agents = n.agents(agents)
		}
	}
	return agents
}

// waitsFor returns what waits because an agent without a process failed: a supervisor
// above it that is cooling off or set apart, or else the agent.
func (n *node) waitsFor() *node {
	if n.st.Phase != Idle || n.waits() || !n.failedLast() {
		return n
	}
	for p := n.parent; p != nil; p = p.parent {
		if p.delayed() {
			return p
		}
	}
	return n
}

// hastens reports whether a node waits for a delay, or for restart budget, which it
// need not when it is started for another reason.
func (n *node) hastens() bool { return n.waits() || n.st.Phase == Throttled }

// comes reports whether a node that is down, or whose start was decided, will come up
// without anybody's order: its restart waits, or that of its group or of a supervisor
// above it.
func (t *Tree) comes(n *node) bool {
	switch p := n.parent; {
	case n.st.Phase.delayed(), n.st.Phase.pending(), n.st.Phase == Claiming:
		return true
	case n.st.Phase == Ended:
		return !n.spec.Restart.leaves(n.st.End)
	case n.st.Phase == Stopping && (n.st.Then != "" || n.op() != nil && n.op().Outcome != Ordered):
		return n.st.Then == ThenRestart || n.op() != nil && n.op().Outcome == Cooling
	case n.st.Phase != Idle && n.st.Phase != Stopping, p == nil, t.staysDown(n):
		return false
	default:
		return t.willStart(p, n) || !p.up() && n.st.End != EndGaveUp && t.comes(p)
	}
}

// outdated appends every agent that does not run what its specification says, without
// those that are new.
func (t *Tree) outdated(dst, fresh []*node) []*node {
	added := make(map[*node]bool, len(fresh))
	for _, n := range fresh {
		added[n] = true
	}
	for _, a := range t.root.agents(nil) {
		if added[a] {
			continue
		}
		if a.outdated() {
			dst = append(dst, a)
		}
	}
	return dst
}

// followAdded makes agents that a configuration added part of what it began, and
// returns their number.
func (t *Tree) followAdded(fresh []*node, in *Input) (added int) {
	for _, n := range fresh {
		if n.spec.Agent == nil || n.st.Phase == Running || n.part().Turn != "" {
			continue
		}
		part := Part{Turn: TurnNew, Roll: n.st.Incarnation}
		if n.st.Phase != Idle && n.st.Phase != Stopping && part.Roll > 0 {
			part.Roll-- // it is under way
		}
		if !t.takesPart(n, part) {
			continue // nothing starts it now
		}
		t.renew(n, func(w *Renewal) { w.Part = part })
		added++
	}
	if added == 0 {
		return 0
	}
	r := t.newRolling(in)
	r.Total, r.Added = r.Total+added, r.Added+added
	t.root.st.Supervisor.Rolling, t.rolls = r, nil
	t.touch(t.root)
	return added
}

// awaitRemoved makes the end of what is no longer configured part of what a
// configuration began. It reports whether there is anything.
func (t *Tree) awaitRemoved(in *Input) bool {
	until := t.leaveBy()
	if until == 0 || in.Boot || len(t.Leaving()) == 0 {
		return false
	}
	r := t.newRolling(in)
	r.Until = max(r.Until, until)
	t.root.st.Supervisor.Rolling, t.rolls = r, nil
	t.touch(t.root)
	return true
}
