package tree

// The end of the service stops what runs, and its next start starts that again. It
// changes nothing else, as a kill of the service does not: a node that is down, or waits
// for its time, is held in its phase, and failures are remembered.

// closes reports whether a supervisor stops because the service does.
func (p *node) closes() bool {
	op := p.op()
	return op != nil && op.Kind == OpStop && op.Resume
}

// holdDown keeps a node that is down in its phase until the service starts again, unless it
// was about to be started. It reports whether it is held.
func (t *Tree) holdDown(n *node) bool {
	starts := n.awaitsTurn() || n.parent.op().Starts(n.spec.Rank) && t.willStart(n.parent, n)
	switch phase := n.st.Phase; {
	case t.opt.StartTerminated:
	case phase.delayed() && !starts, phase == Ended:
		since, due := n.st.Since, n.st.Due
		t.setDown(n, Idle, n.st.End, n.st.Why)
		n.st.Since, n.st.Due, n.st.Held = since, due, phase
	case phase == Idle:
		if n.st.Held = ""; !starts {
			n.st.Held = Idle
		}
		t.touch(n)
	}
	return n.st.Held != ""
}

// holdEnd holds a supervisor that has ended by itself while the one above it stops with
// the service.
func (t *Tree) holdEnd(s *node) {
	p := s.parent
	if !p.closes() {
		return
	}
	t.holdDown(s) // also in a group that has yet to come to it
	if p.awaitsStop(s) {
		t.advance(p)
	}
}

// unhold returns a node to the phase that it is held in, as the service has started. It
// reports whether it was held.
func (t *Tree) unhold(n *node) bool {
	held, since, due := n.st.Held, n.st.Since, n.st.Due
	switch held {
	case "":
		return false
	case Idle:
		return true
	case Ended:
		t.queueEnd(n)
	default:
		t.setDown(n, held, n.st.End, n.st.Why)
		t.arm(n, due)
	}
	n.st.Since = since
	return true
}

// heldDown reports whether a node is left down when the service starts, as it was down
// before the service stopped.
func (n *node) heldDown() bool { return n.st.Phase == Idle && n.st.Held == Idle }

// delayed reports whether a node is down and starts by itself when its time has come, or
// is held like that.
func (n *node) delayed() bool { return n.st.Phase.delayed() || n.st.Held.delayed() }

// endsByItself reports whether a supervisor stops for its own reason, not because
// something above it does.
func (n *node) endsByItself() bool {
	op := n.op()
	return op != nil && op.Kind == OpStop && op.Outcome != Ordered
}
