package tree

// down deals with an agent, or a supervisor stopped by order, that is now down.
func (t *Tree) down(n *node) {
	then := n.st.Then
	if n.st.Discarded() {
		then = ThenRemove
	}
	n.st.Progress = Progress{}
	t.setClaim(n, n.st.Claim.over())
	t.setPhase(n, Idle, n.st.Why)
	if then == ThenRestart {
		t.lift(n)
	}
	p := n.parent
	if p.awaitsStop(n) {
		t.afterStop(n, then)
		t.advance(p)
		return
	}
	switch then {
	case ThenFail:
		t.ended(n)
	case ThenStartFailed:
		t.startFailed(n)
	case ThenRestart:
		n.fresh()
		if !p.stops(n) {
			t.begin(n, n.st.Story, false)
		}
	case ThenResume:
		t.resume(n, n.st.Story)
	default:
		t.afterStop(n, then)
	}
}

// afterStop completes a stop that nothing else follows. An operation that waited for
// the node to come up continues without it, and one that was going to start it does
// not.
func (t *Tree) afterStop(n *node, then Then) {
	p, awaited := n.parent, n.parent.awaitsStart(n)
	switch {
	case then == ThenRemove:
		t.answer(n, OK)
		t.remove(n)
	case then == ThenClose:
		n.st.End, n.st.Why = then.end()
		t.answer(n, OK)
	case then == ThenTerminate:
		n.st.End, n.st.Why = EndTerminated, whyTerminated
		t.answer(n, OK)
		fallthrough
	default:
		if n.spec.Restart == Temporary && (n.spec.Dynamic || !t.staysDown(n)) {
			t.retire(n)
		}
	}
	if awaited {
		t.advance(p)
	}
}

// gaveUp says that a supervisor gave up, and why.
func gaveUp(why string) string { return "gave up: " + why }

// end deals with a supervisor whose children are all down.
func (t *Tree) end(s *node) {
	outcome := s.op().Outcome
	s.st.Supervisor.Op = nil
	s.queue = nil
	for _, c := range s.kids {
		t.answerWith(c, Superseded, "a stop of its supervisor")
	}
	if outcome == Ordered {
		t.down(s)
		return
	}
	why := s.st.Why
	t.setPhase(s, Idle, why)
	if cmd := s.st.Command; cmd != nil && cmd.Queued == 0 && outcome != BootFailed && !s.st.Discarded() {
		t.answerWith(s, CannotStart, "it did not stay up: "+why)
	}
	t.concluded(s, outcome)
}

// concluded handles a supervisor that has ended by itself and is down.
func (t *Tree) concluded(s *node, outcome Outcome) {
	p, why := s.parent, s.st.Why
	if s.st.Discarded() {
		t.afterStop(s, ThenRemove)
		return
	}
	switch outcome {
	case Cooling:
		t.setPhase(s, Waiting, why)
		t.arm(s, t.now.Add(s.spec.Supervisor.CoolOff))
		t.ready(s)
		t.holdEnd(s)
	case BootFailed:
		t.startFailed(s)
	case Terminated:
		s.st.Why = gaveUp(why)
		t.note(s, Effect{Kind: NoteDown, Reason: why})
		t.ready(s)
		t.holdEnd(s)
	default:
		t.note(s, Effect{Kind: NoteDown, Reason: why})
		switch {
		case p == nil:
			s.st.End, s.st.Why = EndGaveUp, gaveUp(why)
		case p.awaitsStart(s):
			s.st.End = EndStartFailed
			t.startFailed(s)
		default:
			t.ended(s)
			t.holdEnd(s)
		}
	}
}
