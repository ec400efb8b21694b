package tree

// starts reports whether an order is done only when its node is up and verified.
func (k CommandKind) starts() bool {
	return k == CmdAdd || k == CmdStart || k == CmdRestart || k == CmdScale || k == CmdMove
}

// ends reports whether an order brings its node down.
func (k CommandKind) ends() bool { return k == CmdTerminate || k == CmdRemove || k == CmdClose }

// toStart returns the order in progress that is done when a node is up and
// verified, or nil.
func (n *node) toStart() *Command {
	if cmd := n.st.Command; cmd != nil && cmd.Queued == 0 && cmd.Kind.starts() {
		return cmd
	}
	return nil
}

// moving reports whether a node is between being down and being verified, in
// either direction, or anything below it is.
func (n *node) moving() bool {
	if n.spec.Supervisor != nil {
		return n.st.Phase == Starting || n.st.Phase == Stopping || n.unsettled > 0
	}
	switch n.st.Phase {
	case Ended, Throttled, Unplaced, Claiming, Starting, Verifying, Stabilising, Unverified, Stopping:
		return true
	}
	return false
}

// countMoving corrects what the supervisors above a node know after it was moving,
// or was not, until now.
func (t *Tree) countMoving(n *node, was bool) {
	if n.moving() != was {
		t.shiftUnsettled(n.parent, !was)
	}
}

// shiftUnsettled gives a supervisor one moving child more, or less, and corrects what
// those above it know.
func (t *Tree) shiftUnsettled(p *node, more bool) {
	for ; p != nil; p = p.parent {
		before := p.moving()
		if more {
			p.unsettled++
		} else if p.unsettled--; p.unsettled == 0 {
			t.settleLater(p)
		}
		if p.moving() == before {
			return
		}
	}
}

// countUnsettled counts the moving children of every supervisor at and below a node.
func (n *node) countUnsettled() {
	n.unsettled = 0
	for _, c := range n.kids {
		if c.spec.Supervisor != nil {
			c.countUnsettled()
		}
		if c.moving() {
			n.unsettled++
		}
	}
}

// run notes that an agent is up and verified.
func (t *Tree) run(n *node) {
	t.setPhase(n, Running, "")
	if n.toStart() != nil {
		t.answer(n, OK)
	}
	t.note(n, Effect{Kind: NoteRunning, Incarnation: n.st.Incarnation})
}

// verified answers the order to start a supervisor when all that is to run below it
// is up and verified.
func (t *Tree) verified(p *node) {
	if p.toStart() != nil && p.st.Phase == Running && p.op() == nil && p.unsettled == 0 {
		t.answer(p, OK)
	}
}

// unverified ends the orders that wait for a node to be verified, when it failed:
// its own and those about supervisors above it. It returns the kind of its own, if
// there was one. A host's end is not the node's failure, so the orders wait for its
// next start.
func (t *Tree) unverified(n *node) CommandKind {
	if !n.st.End.charged() || n.st.End == EndCompleted && n.spec.Restart.leaves(EndCompleted) {
		return ""
	}
	r, how := NotVerified, " could not be verified: "+n.st.Why
	if n.st.End == EndStartFailed && n.st.PID == 0 {
		r, how = CannotStart, " could not be started: "+n.st.Why
	}
	for p := n.parent; p != nil; p = p.parent {
		if p.toStart() == nil || !p.up() || p.st.Phase == Starting && t.opt.StrictBoot {
			continue // a strict boot fails as a whole
		}
		t.answerWith(p, NotVerified, n.spec.ID+how)
	}
	cmd := n.toStart()
	if cmd == nil {
		return ""
	}
	kind, who := cmd.Kind, "it"
	if kind == CmdScale {
		who = n.spec.ID
	}
	t.answerWith(n, r, who+how)
	return kind
}
