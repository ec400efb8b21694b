package tree

import "slices"

// awaitsTurn reports whether a node whose supervisor is up has yet to be started: it is
// new there, or is to run again.
func (n *node) awaitsTurn() bool { return n.st.Phase == Idle && n.st.End == "" }

// bringUp starts a node that is down, and whose supervisor is up and not about to start
// it. A member of a group waits until those before it are up, as when the group starts.
func (t *Tree) bringUp(n *node, story Story) {
	p := n.parent
	if p == nil || !t.fills(p) || n.st.Claim.ours() { // it is found out first whether that one runs
		t.begin(n, story, false)
		return
	}
	t.setDown(n, Idle, "", "")
	n.st.Story = story
	t.fill(p)
}

// fills reports whether a supervisor starts members in their order, and is in the
// middle of nothing else.
func (t *Tree) fills(p *node) bool {
	op := p.op()
	return p.up() && p.spec.Supervisor.Strategy.Group() && !t.opt.StrictBoot && (op == nil || op.Kind == OpFill)
}

// fill starts the members of a group that await their turn, in order. Members that run
// are left alone.
func (t *Tree) fill(p *node) {
	first := slices.IndexFunc(p.kids, (*node).awaitsTurn)
	if !t.fills(p) || first < 0 {
		return
	}
	n, op := p.kids[first], p.op()
	if op == nil {
		op = &Operation{Kind: OpFill, Stage: StageStart, From: n.spec.Rank, Story: n.st.Story}
		p.st.Supervisor.Op = op
	}
	op.From = min(op.From, n.spec.Rank)
	t.touch(p)
	if op.Stage == StageStart {
		op.At = 0
		t.advance(p)
	}
}

// comesUp reports whether those after a member of a group wait for it: its start is
// decided, and whether it succeeds is not known.
func (n *node) comesUp() bool {
	return n.st.Phase.coming() || n.st.Phase == Claiming || n.st.Phase == Stopping && (n.st.Then == ThenRestart || n.st.Then == ThenStartFailed)
}

// trim stops the members of a group that are to be removed, one after the other, the
// last one first. Independent children are stopped side by side.
func (t *Tree) trim(p *node) {
	if op := p.op(); !p.trims || op != nil && op.Stage == StageStop {
		return
	}
	group := p.spec.Supervisor.Strategy.Group()
	if group && p.stopping > 0 {
		return
	}
	for _, c := range slices.Backward(slices.Clone(p.kids)) {
		if c.removed || !c.toBeStopped() {
			continue
		}
		t.terminate(c, ThenRemove)
		if group {
			return
		}
	}
	p.trims = false
}

// toBeStopped reports whether a node that is no longer configured has yet to be
// stopped.
func (n *node) toBeStopped() bool {
	return n.st.Discarded() && n.st.Phase.live() && n.st.Phase != Stopping
}
