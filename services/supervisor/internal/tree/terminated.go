package tree

// terminated reports whether an operator ended n, and nobody has ordered its start
// since.
func (n *node) terminated() bool {
	return n.st.Phase == Idle && n.st.End == EndTerminated
}

// staysDown reports whether n is left down when its group restarts and when its
// supervisor starts again: what an operator ended, only an operator's order starts.
func (t *Tree) staysDown(n *node) bool { return !t.opt.StartTerminated && n.terminated() }

// KeptDown reports whether only an operator's order starts a node, because an
// operator terminated it.
func (t *Tree) KeptDown(id string) bool {
	n := t.nodes[id]
	return n != nil && t.staysDown(n)
}

// lift ends what operators ordered of n and everything below it: an order to start
// n starts all of it.
func (t *Tree) lift(n *node) {
	if n.terminated() {
		n.st.End, n.st.Why = EndStopped, whySupervisor
		t.touch(n)
	}
	if s := n.st.Supervisor; s != nil && s.Suspended {
		s.resume()
		t.touch(n)
	}
	for _, c := range n.kids {
		t.lift(c)
	}
}
