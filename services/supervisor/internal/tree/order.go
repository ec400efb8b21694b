package tree

// order deals with an operator's command.
func (t *Tree) order(in *Input) {
	if t.asked(in) {
		return
	}
	switch in.Command {
	case CmdAdd:
		t.add(in)
		return
	case CmdScale:
		t.scale(in)
		return
	}
	n := t.nodes[in.Node]
	if n == nil {
		t.reply(in, NotFound, "")
		return
	}
	switch in.Command {
	case CmdMove:
		t.move(n, in)
	case CmdSuspend, CmdResume:
		t.suspend(n, in)
	case CmdMode:
		t.setMode(n, in)
	case CmdRebalance:
		t.rebalance(n, in)
	case CmdRoll:
		t.orderRolling(n, in)
	default:
		t.orderChild(n, in)
	}
}

// orderChild deals with a command that starts, ends or removes a node.
func (t *Tree) orderChild(n *node, in *Input) {
	if why := t.forbidden(n, in.Command); why != "" {
		t.reply(in, NotEnforced, why)
		return
	}
	p := n.parent
	if p == nil && (in.Command == CmdRemove || in.Command == CmdDelete) {
		t.reply(in, Invalid, "the root cannot be removed")
		return
	}
	if p != nil && !p.up() && in.Command != CmdRemove {
		t.reply(in, NoSupervisor, p.whyDown())
		return
	}
	if t.contend(n, in) {
		return
	}
	if in.Command == CmdTerminate {
		t.record(n, func(o *StandingOrders) { o.Down = t.standing(in) })
	}
	t.command(n, in.Command, in.Token)
}

// command gives a node a command. It is carried out now; but a start waits until the
// supervisor has done what it is in the middle of.
func (t *Tree) command(n *node, kind CommandKind, token string) {
	n.st.Command = &Command{Kind: kind, Token: token, Story: t.story}
	t.touch(n)
	if kind == CmdRestart && t.startsAnyway(n) {
		n.fresh()
		return // it is done when that start is
	}
	// What is not up yet is restarted at once, which costs its group nothing.
	inLine := kind == CmdRestart && (n.st.Phase.pending() || n.parent.awaitsStart(n))
	if n.parent != nil && t.busy(n.parent) && !kind.ends() && !inLine {
		t.enqueue(n)
		return
	}
	t.obey(n)
}

// startsAnyway reports whether a node is down and has its turn in the operation of its
// supervisor still to come.
func (t *Tree) startsAnyway(n *node) bool {
	p := n.parent
	return p != nil && t.busy(p) && n.st.Phase.idle() && t.willStart(p, n) && !t.opt.StartTerminated
}

// obeys makes what happens to a node part of its command's story.
func (n *node) obeys() {
	if cmd := n.st.Command; cmd != nil && cmd.Queued == 0 {
		n.st.Story = cmd.Story
	}
}

// suspend carries out CmdSuspend and CmdResume at once.
func (t *Tree) suspend(n *node, in *Input) {
	s := n.st.Supervisor
	if s == nil {
		t.reply(in, Invalid, "it is an agent; only supervisors can be suspended")
		return
	}
	if on := in.Command == CmdSuspend; s.Suspended != on {
		if on {
			s.Suspended = true
			t.record(n, func(o *StandingOrders) { o.Suspension = t.standing(in) })
		} else {
			t.unsuspend(n)
			t.retell(n)
			t.wake(n)
		}
	}
	t.reply(in, OK, "")
}

// unsuspend ends the suspension of a supervisor.
func (t *Tree) unsuspend(n *node) {
	n.st.Supervisor.Suspended = false
	t.record(n, func(o *StandingOrders) { o.Suspension = nil })
}

// wake lets everything below a supervisor go on that waited for its resumption.
func (t *Tree) wake(n *node) {
	if n.st.Supervisor != nil && n.st.Supervisor.Suspended {
		return
	}
	if due := n.due(); due > 0 {
		t.timers.Push(timer{due, n})
	}
	if n.st.Supervisor != nil {
		t.settleLater(n)
	}
	for _, c := range n.kids {
		t.wake(c)
	}
}

// suspended reports whether a supervisor or one above it is suspended.
func (p *node) suspended() bool {
	for ; p != nil; p = p.parent {
		if p.st.Supervisor.Suspended {
			return true
		}
	}
	return false
}

// enqueue lets a node's command wait until its supervisor is free.
func (t *Tree) enqueue(n *node) {
	t.seq++
	n.st.Command.Queued = t.seq
	n.parent.queue = append(n.parent.queue, queued{n, t.seq})
}

// obey carries out a node's command; its supervisor is free.
func (t *Tree) obey(n *node) {
	kind, phase := n.st.Command.Kind, n.st.Phase
	if phase == Gone && t.opt.StartTerminated && kind != CmdRemove {
		t.answer(n, NotFound) // OTP deletes a temporary child that ended
		return
	}
	switch kind {
	case CmdTerminate:
		t.terminate(n, ThenTerminate)
	case CmdClose:
		if n.terminated() || n.st.Held != "" || phase.delayed() && t.holdDown(n) {
			t.answer(n, OK)
		} else {
			t.terminate(n, ThenClose)
		}
	case CmdRemove:
		t.terminate(n, ThenRemove)
	case CmdDelete, CmdStart:
		switch {
		case phase == Waiting:
			t.answer(n, Restarting)
		case !phase.startable():
			t.answer(n, IsRunning)
		case kind == CmdStart:
			t.launch(n)
		default:
			t.answer(n, OK)
			t.delete(n)
		}
	case CmdRestart:
		if phase.live() || phase.pending() {
			t.terminate(n, ThenRestart)
		} else {
			t.launch(n)
		}
	case CmdAdd:
		t.launch(n)
	}
}

// delete takes a child away as OTP's delete_child does.
func (t *Tree) delete(n *node) {
	if t.opt.Volatile && !n.spec.Dynamic {
		t.setDown(n, Gone, EndTerminated, "deleted")
		return
	}
	t.remove(n)
}

// startable reports whether a node is down so that an operator's order starts it. One
// that waits for its delay is restarted anyway.
func (p Phase) startable() bool { return p.idle() || p == Isolated || p == Gone }

// launch starts a child that is down, or lets the group that it belongs to
// come up now.
func (t *Tree) launch(n *node) {
	n.obeys()
	if n.st.Phase == Gone {
		t.setDown(n, Idle, "", "") // it is a child again, and part of its group
	}
	t.lift(n)
	n.fresh()
	if op := n.parent.op(); op != nil && op.Stage == StageWait && n.spec.Rank >= op.From {
		t.startStage(n.parent)
		return
	}
	t.bringUp(n, n.st.Story)
}

// terminate brings a node down by order; then says what follows.
func (t *Tree) terminate(n *node, then Then) {
	n.obeys()
	end, why := then.end()
	if then != ThenTerminate && n.st.Phase == Stopping {
		t.forgetDown(n) // it is brought down for another reason from now on
	}
	switch {
	case n.st.Phase == Claiming && n.st.Claim.ours():
		t.stop(n, then, end, why, false)
	case !n.st.Phase.live():
		// An end that waits to be dealt with is overtaken by the order.
		t.setDown(n, Idle, end, why)
		if then == ThenRestart {
			t.launch(n)
			return
		}
		t.afterStop(n, then)
	case n.spec.Supervisor != nil:
		n.st.Then = then
		if op := n.op(); op != nil && op.Kind == OpStop {
			op.Outcome = Ordered
			t.touch(n)
			return
		}
		t.shutdown(n, Ordered, end, why)
	case n.st.Phase == Stopping:
		if n.st.Then = then; n.st.End == EndTerminated {
			n.st.Why = why
		}
		t.touch(n)
	default:
		t.stop(n, then, end, why, false)
	}
}

// end is how a node ends that is brought down by order, and the word for it.
func (then Then) end() (End, string) {
	switch then {
	case ThenClose:
		return EndStopped, whyService
	case ThenRestart:
		return EndTerminated, whyRestart
	case ThenRemove:
		return EndTerminated, whyRemove
	}
	return EndTerminated, whyTerminated
}

// rankGap leaves room to put children between others.
const rankGap = 1 << 20

// add puts a child last under its supervisor and starts it. A child that
// cannot be started is discarded, as in OTP.
func (t *Tree) add(in *Input) {
	if in.Spec == nil {
		t.reply(in, Invalid, "no specification")
		return
	}
	spec := *in.Spec
	if err := spec.Validate(); err != nil {
		t.reply(in, Invalid, err.Error())
		return
	}
	p := t.nodes[spec.Parent]
	if p == nil || p.spec.Supervisor == nil {
		t.reply(in, NotFound, "there is no supervisor "+spec.Parent)
		return
	}
	if p.beingRemoved() {
		t.reply(in, NoSupervisor, "supervisor "+spec.Parent+" is being removed")
		return
	}
	if n := t.nodes[spec.ID]; n != nil {
		if n.beingRemoved() {
			t.reply(in, Busy, "there is an older one, which is being removed; try again when that is done")
			return
		}
		if n.st.Phase.live() || n.st.Phase.pending() {
			t.reply(in, AlreadyStarted, "")
		} else {
			t.reply(in, AlreadyPresent, "")
		}
		return
	}
	if why := significance(&spec, p.spec); why != "" {
		t.reply(in, Invalid, why)
		return
	}
	spec.Dynamic, spec.Rank = true, rankGap
	if len(p.kids) > 0 {
		spec.Rank += p.kids[len(p.kids)-1].spec.Rank
	}
	n := t.insert(&spec)
	t.emit(Effect{Kind: NoteAdd, Node: spec.ID, Reason: "under " + spec.Parent})
	if p.up() && !t.willStart(p, n) {
		t.command(n, CmdAdd, in.Token)
		return
	}
	// It starts together with its siblings.
	n.st.Command = &Command{Kind: CmdAdd, Token: in.Token, Story: t.story}
	if !p.up() {
		t.answer(n, OK)
	}
}

// beingRemoved reports whether a node is about to be removed, by itself or with a
// supervisor above it.
func (n *node) beingRemoved() bool {
	for ; n != nil; n = n.parent {
		if cmd := n.st.Command; cmd != nil && cmd.Kind == CmdRemove {
			return true
		}
	}
	return false
}

// significance reports why a significant child cannot be under a parent.
func significance(s, parent *Spec) string {
	if a := parent.Supervisor.AutoShutdown; s.Significant && (a == "" || a == Never) {
		return "significant: supervisor " + parent.ID + " has auto_shutdown never"
	}
	return ""
}

// insert puts a new node into the tree, down.
func (t *Tree) insert(s *Spec) *node {
	n := newNode(s)
	n.parent = t.nodes[s.Parent]
	n.st.Phase, n.st.Since = Idle, t.now
	n.st.Story = t.story
	n.st.Incarnation = t.tombs[s.ID]
	delete(t.tombs, s.ID)
	if s.Supervisor != nil {
		n.st.Supervisor = &Supervised{}
	}
	t.nodes[s.ID] = n
	t.hasModes = t.hasModes || s.Mode != nil
	switch {
	case !t.hasModes || s.Agent == nil:
	case n.st.Incarnation > 0:
		n.st.Claim = Left
	case t.mode(n) != Enforce:
		n.st.Claim = Listen
	}
	if n.parent == nil {
		t.root = n
	} else {
		n.parent.insertChild(n)
	}
	t.mark(n, dirtyState|dirtySpec)
	return n
}

// remove takes a node that is down out of the tree with everything below it.
func (t *Tree) remove(n *node) {
	for len(n.kids) > 0 {
		t.remove(n.kids[len(n.kids)-1])
	}
	if cmd := n.st.Command; cmd != nil && cmd.Kind.ends() {
		t.answer(n, OK) // it was to be down, which it is
	}
	t.answerWith(n, Superseded, "its removal")
	t.endScalings(n, "the removal of its supervisor")
	t.depart(n, "was removed")
	t.settleMoved(n)
	t.setClaim(n, "")
	t.setPhase(n, Idle, n.st.Why)
	n.parent.removeChild(n)
	n.removed = true
	delete(t.nodes, n.spec.ID)
	n.st.Incarnation = max(n.st.Incarnation, n.st.Newest)
	if n.st.Incarnation > 0 {
		t.tombs[n.spec.ID] = n.st.Incarnation
	}
	t.emit(Effect{Kind: NoteRemove, Node: n.spec.ID, Incarnation: n.st.Incarnation})
	t.instanceGone(n)
}
