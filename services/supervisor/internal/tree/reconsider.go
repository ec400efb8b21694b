package tree

// reconsider decides again about the nodes that are left down because of how they
// ended, by the restart types and the auto_shutdown that are configured now. Those
// that are to run are started, at no cost to any limit, unless an operator ended them
// or their supervisor is down. Requested are those that somebody had ended by request
// and that were left down for that. It returns the agents concerned.
func (t *Tree) reconsider(requested map[*node]bool) (agents []*node) {
	var walk func(n *node)
	walk = func(n *node) {
		switch {
		case n.parent != nil && (t.wanted(n) || requested[n] && n.st.End == EndStopped && n.st.Phase == Idle && n.spec.permanent()):
			t.revive(n)
			agents = n.agents(agents)
		case n.st.Phase == Gone && n.spec.Restart != Temporary:
			// A transient one has finished.
			t.setDown(n, Idle, EndFinished, whyFinished)
		}
		for _, c := range n.kids {
			walk(c)
		}
	}
	walk(t.root)
	return agents
}

// wanted reports whether a node that is left down is to run, by what is specified of it
// now. What has finished is, when it is permanent.
func (t *Tree) wanted(n *node) bool {
	if n.st.Phase != Gone && n.st.Phase != Idle || n.st.End.Blame() == BlameOperator || n.st.End == EndGaveUp {
		return false
	}
	switch {
	case n.spec.Supervisor != nil && (n.st.End == EndFinished || n.st.End == EndCompleted) && !n.shutsDown():
		return true // of what ended it, nothing is left
	case n.spec.Restart == Temporary:
		return false
	case n.spec.Restart == Transient:
		return n.st.Phase == Gone && !n.st.End.normal()
	}
	return n.st.Phase == Gone || n.st.End == EndFinished || n.st.End == EndShutdown
}

// endedByRequest returns the transient children that somebody had ended by request, and
// that nothing starts.
func (t *Tree) endedByRequest() map[*node]bool {
	out := map[*node]bool{}
	for _, n := range t.nodes {
		if n.parent != nil && n.spec.Restart == Transient && n.st.Phase == Idle && n.st.End == EndStopped && (n.heldDown() || n.parent.up() && !t.willStart(n.parent, n)) {
			out[n] = true
		}
	}
	return out
}

// shutsDown reports whether the end of children can shut a supervisor down.
func (n *node) shutsDown() bool {
	if a := n.spec.Supervisor.AutoShutdown; a == "" || a == Never {
		return false
	}
	for _, c := range n.kids {
		if c.spec.Significant && !c.st.Discarded() {
			return true
		}
	}
	return false
}

// revive starts a node that was left down, in its turn: with its supervisor or its
// group where that is about to start, and not while its supervisor is suspended.
func (t *Tree) revive(n *node) {
	p := n.parent
	n.st.Story = t.story
	n.fresh()
	switch {
	case !p.up():
		t.setDown(n, Idle, EndStopped, whySupervisor)
	case t.willStart(p, n):
		t.setDown(n, Idle, "", "")
	case p.suspended():
		t.setDown(n, Waiting, n.st.End, n.st.Why)
		t.arm(n, t.now)
	default:
		t.setDown(n, Idle, "", "")
		t.bringUp(n, n.st.Story)
	}
}
