package tree

// Census counts nodes that are not up.
type Census struct {
	// Isolated nodes are set apart by their supervisor, GaveUp are supervisors
	// that stay down until an operator starts them, and Waiting ones are restarted
	// after their delay, or that of their group.
	Isolated, GaveUp, Waiting int
	// Down are the agents without a process, but for those that have finished or
	// that an operator has ended.
	Down int
}

// Census counts what is not up now.
func (t *Tree) Census() Census {
	var c Census
	for _, n := range t.nodes {
		switch {
		case n.st.Phase == Isolated:
			c.Isolated++
		case n.st.Phase == Waiting, n.st.Phase == Idle && n.parent.regroups(n):
			c.Waiting++
		case n.gaveUp():
			c.GaveUp++
		}
		if n.spec.Agent != nil && n.missing() {
			c.Down++
		}
	}
	return c
}

// gaveUp reports whether n is a supervisor that failed and that nothing starts again:
// it stays down, or its parent leaves it down.
func (n *node) gaveUp() bool {
	if n.spec.Supervisor == nil || n.st.End.Blame() != BlameAgent {
		return false
	}
	return n.st.Phase == Gone || n.st.Phase == Idle && (n.st.End == EndGaveUp || n.spec.Restart.leaves(n.st.End))
}

// regroups reports whether a child that is down waits for the restart of its
// group.
func (p *node) regroups(n *node) bool {
	op := p.op()
	return op.Starts(n.spec.Rank) && op.Kind == OpGroup && !n.terminated()
}

// missing reports whether a node is down and is not meant to be. How it ended says
// that only of a node that nothing brings back: a permanent agent whose work is
// done waits like one that failed.
func (n *node) missing() bool {
	switch n.st.Phase {
	case Waiting, Isolated, Throttled, Unplaced:
		return true
	case Ended:
		return !n.spec.Restart.leaves(n.st.End) || n.st.End.Failed()
	case Gone:
		return n.st.End.Failed()
	case Idle:
		return !n.finished() && n.st.End != EndTerminated
	}
	return false // it is up, or comes
}
