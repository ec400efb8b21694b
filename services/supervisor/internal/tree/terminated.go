package tree

// terminated reports whether an operator ended n, and nobody has ordered its start
// since.
func (n *node) terminated() bool {
	return n.st.Phase == Idle && n.st.End == EndTerminated
}

// finished reports whether n has done what there was to do, or is not tried again.
func (n *node) finished() bool {
	return n.st.Phase == Gone || n.st.Phase == Idle && n.hasFinished()
}

// hasFinished reports whether the work of n is done, and is not to be done again.
func (n *node) hasFinished() bool { return n.st.End == EndFinished && !n.spec.permanent() }

// staysDown reports whether n is left down when its group restarts and when its
// supervisor starts again: what an operator ended, only an operator's order starts.
// What was down before the service stopped, or has finished, is left down, too, when the
// tree is only resumed.
func (t *Tree) staysDown(n *node) bool {
	if t.opt.StartTerminated {
		return false
	}
	return n.terminated() || n.parent.op().boots() && (n.heldDown() || n.finished())
}

// boots reports whether an operation starts a supervisor because its process starts,
// which continues what it did before.
func (op *Operation) boots() bool { return op != nil && op.Kind == OpBoot && op.Resume }

// KeptDown reports whether only an operator's order starts a node, because an
// operator terminated it.
func (t *Tree) KeptDown(id string) bool {
	n := t.nodes[id]
	return n != nil && !t.opt.StartTerminated && n.terminated()
}

// lift ends what operators ordered of n and everything below it: an order to start
// n starts all of it.
func (t *Tree) lift(n *node) {
	if n.terminated() {
		n.st.End, n.st.Why = EndStopped, whySupervisor
		t.forgetDown(n)
		t.touch(n)
	}
	if s := n.st.Supervisor; s != nil && s.Suspended {
		t.unsuspend(n)
	}
	for _, c := range n.kids {
		t.lift(c)
	}
}
