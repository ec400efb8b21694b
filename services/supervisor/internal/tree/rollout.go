package tree

import "slices"

// rollOut begins what follows from a configuration: every agent that does not run
// what its specification says is restarted, if most is not 0, and those that waited
// to be started and are another program now are started at once. Those that it added
// are followed. What an earlier configuration had begun is superseded.
func (t *Tree) rollOut(waited, fresh []*node, most int, in *Input) {
	if r := t.rolling(); r != nil && r.Stopped == "" && r.Applied != "" {
		t.tell(r.Applied, Superseded, "another configuration was applied")
		if r.ID == r.Applied {
			r.ID = in.Token // the former is answered
		}
		r.Applied = ""
	}
	var wanted []*node
	for _, n := range waited {
		switch {
		case n.spec.Supervisor != nil && n.st.Phase.delayed():
			// Its agents are followed as new ones are.
			n.st.Story = t.story
			t.hasten(n)
			fresh = n.agents(fresh)
		case !n.waits(): // it is left down after all
		case most > 0:
			wanted = append(wanted, n)
		default:
			n.st.Story = t.story
			t.hasten(n)
		}
	}
	if most > 0 {
		wanted = t.outdated(wanted)
	}
	t.beginRolling(wanted, most, in)
	t.followAdded(fresh, in)
	if r := t.rolling(); r != nil && r.Stopped == "" && (len(wanted) > 0 || r.Added > 0) {
		r.Applied = in.Token
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

// waitsFor returns what waits because an agent failed: itself, or a supervisor above
// it that is cooling off or set apart; nil if nothing does.
func (n *node) waitsFor() *node {
	if n.waits() {
		return n
	}
	if n.st.Phase != Idle || !n.failedLast() {
		return nil
	}
	for p := n.parent; p != nil; p = p.parent {
		if p.st.Phase.delayed() {
			return p
		}
	}
	return nil
}

// outdated appends every agent that does not run what its specification says.
func (t *Tree) outdated(dst []*node) []*node {
	for _, a := range t.root.agents(nil) {
		if a.outdated() {
			dst = append(dst, a)
		}
	}
	return dst
}

// followAdded makes agents that a configuration added part of what it began.
func (t *Tree) followAdded(fresh []*node, in *Input) {
	added := 0
	for _, n := range fresh {
		if n.spec.Agent == nil || n.st.Phase == Running || n.part().Turn != "" {
			continue
		}
		part := Part{Turn: TurnNew, Roll: n.st.Incarnation}
		if n.st.Phase != Idle && part.Roll > 0 {
			part.Roll-- // it is under way
		}
		t.renew(n, func(w *Renewal) { w.Part = part })
		added++
	}
	if added == 0 {
		return
	}
	r := t.newRolling(in)
	r.Total, r.Added = r.Total+added, r.Added+added
	t.root.st.Supervisor.Rolling, t.rolls = r, nil
	t.touch(t.root)
}
