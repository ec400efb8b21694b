package tree

import "cmp"

// Step takes one input into account and appends to out what is to be done and
// what was concluded. Inputs about unknown nodes, older incarnations or things
// that are no longer awaited change nothing.
func (t *Tree) Step(in *Input, now Instant, out []Effect) []Effect {
	t.now, t.out = now, out
	t.story = Story{cmp.Or(in.Event, t.decision), cmp.Or(in.Chain, in.Event)}
	switch in.Kind {
	case Tick:
		t.tick()
	case HeartbeatsMissed:
		t.listenAgain()
	case Order:
		t.order(in)
	case Configure:
		t.configure(in)
	case Runners:
		t.holdBack(in)
		t.setRunners(in.Runners)
	default:
		t.unknownEnd(in)
		if in.Kind == Raised && !t.Has(in.Node) {
			t.bury(in)
		}
		if n := t.nodes[in.Node]; n != nil && n.spec.Agent != nil {
			t.agentInput(n, in)
		}
	}
	t.settleAll()
	t.admit()
	t.roll()
	t.settleAll()
	out, t.out = t.out, nil
	return out
}

// Deciding names the message that the next steps' changes are stored in.
func (t *Tree) Deciding(message string) { t.decision = message }

// agentInput deals with an input about an agent.
func (t *Tree) agentInput(n *node, in *Input) {
	switch in.Kind {
	case Found:
		t.found(n, in)
		return
	case Raised:
		t.raised(n, in)
		return
	}
	if n.st.Phase.Apart() {
		t.unmanagedInput(n, in)
		return
	}
	t.suspect(n, in)
	if in.Incarnation != n.st.Incarnation {
		// Somebody who does not know incarnations speaks of the current one,
		// unless what they say is older than it.
		if in.Incarnation != 0 || in.Kind != Failed && in.Kind != Beat || in.At != 0 && in.At < n.st.Since {
			return
		}
	}
	switch in.Kind {
	case Started:
		if n.st.Phase == Starting {
			t.started(n, in)
		}
	case StartFailed:
		if n.st.Phase == Starting {
			t.recordCause(n, in)
			t.setDown(n, Idle, EndStartFailed, in.Reason)
			t.startFailed(n)
		}
	case Stopped:
		if n.st.Phase == Stopping {
			t.down(n)
		}
	case Exited:
		t.exited(n, in)
	case Lost:
		t.lost(n, in)
	case Declined:
		t.declined(n, in)
	case Failed:
		t.verdict(n, in)
	case Beat:
		t.beat(n, in)
	}
}

// recordCause records what ended a node: the event, or the decision that records what
// came without one.
func (t *Tree) recordCause(n *node, in *Input) {
	n.st.Story = t.story
	if !in.Normal {
		n.history().failures.add(Entry{At: t.now, Incarnation: n.st.Incarnation, Reason: in.Reason, Event: t.story.Cause})
	}
	t.touch(n)
}

func (t *Tree) started(n *node, in *Input) {
	n.st.PID, n.st.Claim = in.PID, ""
	a := n.spec.Agent
	switch {
	case !a.Verify:
		t.run(n)
		t.ready(n)
	case n.st.Beat:
		t.stabilise(n)
	default:
		t.setPhase(n, Verifying, "")
		if a.StartDeadline > 0 {
			t.arm(n, t.now.Add(a.StartDeadline))
		}
	}
}

func (t *Tree) beat(n *node, in *Input) {
	switch n.st.Phase {
	case Starting:
		n.st.Beat, n.st.Unwell = true, in.Unwell
		t.touch(n)
	case Verifying:
		n.st.Unwell = in.Unwell
		t.stabilise(n)
	case Stabilising:
		if n.st.Unwell != in.Unwell {
			n.st.Unwell = in.Unwell
			t.touch(n)
		}
	}
}

// stabilise begins the last part of verification. What depends on the agent
// need not wait for its end: it beats, so it serves.
func (t *Tree) stabilise(n *node) {
	t.setPhase(n, Stabilising, "")
	t.arm(n, t.now.Add(n.spec.Agent.Stabilisation))
	t.ready(n)
}

func (t *Tree) exited(n *node, in *Input) {
	phase := n.st.Phase
	switch phase {
	case Starting, Verifying, Stabilising, Unverified, Running:
	case Stopping:
		// As good a confirmation as the answer to the stop, which may be lost.
		if op := n.parent.op(); !in.Normal && n.st.Then == "" && op != nil && op.Kind == OpGroup {
			// It had ended by itself before it could be stopped with its group.
			n.st.Story = t.story
		}
		t.down(n)
		return
	default:
		return
	}
	t.recordCause(n, in)
	t.setDown(n, Idle, endOf(in), in.Reason)
	if n.st.Discarded() {
		t.afterStop(n, ThenRemove)
		return
	}
	finished := in.Normal && !n.spec.permanent()
	if phase.coming() && !finished {
		t.startFailed(n)
		return
	}
	if finished && n.toStart() != nil {
		t.answer(n, OK)
	}
	if p := n.parent; phase.coming() && p.awaitsStart(n) {
		t.finish(n)
		t.advance(p)
		return
	}
	t.ended(n)
}

// lost deals with an agent whose runner is gone: it is down without anybody to
// confirm it.
func (t *Tree) lost(n *node, in *Input) {
	if !n.st.Phase.live() {
		return
	}
	if n.spec.Agent.Return && n.spec.Agent.Runner == AnyRunner && n.st.Home == "" {
		n.st.Home = n.st.Runner
	}
	t.touch(n)
	if n.st.Phase == Stopping {
		if n.st.Then == ThenFail || n.st.Then == ThenStartFailed {
			t.recordCause(n, in)
			n.st.End, n.st.Why = EndLost, in.Reason
		}
		// Nothing is to be spared for that runner, and nothing of it is preferred.
		t.vacate(n)
		t.down(n)
		return
	}
	t.exited(n, in)
}

// verdict deals with a verdict: whatever still lives of the incarnation is
// killed first, so that nothing runs twice.
func (t *Tree) verdict(n *node, in *Input) {
	then, end := ThenFail, EndFailed
	switch n.st.Phase {
	case Starting, Verifying, Unverified:
		then, end = ThenStartFailed, EndStartFailed
	case Stabilising, Running:
	default:
		return
	}
	t.recordCause(n, in)
	t.stop(n, then, end, in.Reason, true)
}

// tick deals with every wait that is over.
func (t *Tree) tick() {
	defer t.refilled()
	for {
		due, ok := t.nextTimer()
		if !ok || due > t.now {
			return
		}
		n := t.timers.Pop().n
		switch {
		case n.op() != nil && n.op().Stage == StageWait:
			t.startStage(n)
		case n.st.Phase.delayed() && n.parent.stops(n):
			t.overtake(n)
		case n.st.Phase == Waiting:
			t.begin(n, n.st.Story, true)
		case n.st.Phase == Isolated:
			t.tryAgain(n)
		case n.st.Phase == Unplaced:
			t.place(n, n.st.From)
		case n.st.Phase == Claiming:
			t.listened(n)
		case n.st.Phase == Foreign:
			t.claim(n)
		case n.st.Phase == Verifying:
			// The tree does not know who is to beat, so it says what holds for both.
			t.overdue(n, "no heartbeat of the new incarnation within its start deadline; a program that sends none by itself needs heartbeats: runner")
		case n.st.Phase == Stabilising && n.st.Unwell:
			t.overdue(n, "it reported an unhealthy status at the end of its stabilisation period")
		case n.st.Phase == Stabilising:
			t.run(n)
		}
	}
}

func (t *Tree) overdue(n *node, why string) {
	t.setPhase(n, Unverified, why)
	t.emit(n.reportEffect())
}

// settleAll lets supervisors that have become free go on with what waits.
func (t *Tree) settleAll() {
	for len(t.settle) > 0 {
		p := t.settle[0]
		t.settle = t.settle[1:]
		if p.removed {
			continue
		}
		switch op := p.op(); {
		case op == nil || !op.together():
		case op.Kind == OpBoot && p.coming == 0:
			t.up(p)
		case op.Kind == OpStop && p.stopping == 0:
			t.end(p)
		}
		t.rearrange(p)
		t.hurryGroup(p)
		for len(p.queue) > 0 && !t.busy(p) && !p.suspended() {
			q := p.queue[0]
			p.queue = p.queue[1:]
			t.unqueue(q)
		}
		t.trim(p)
		t.verified(p)
	}
	t.settle = nil
}

// unqueue deals with one thing that waited for its supervisor.
func (t *Tree) unqueue(q queued) {
	n := q.n
	switch {
	case n.removed:
	case n.st.Phase == Ended && n.st.Ticket == q.seq:
		t.setDown(n, Idle, n.st.End, n.st.Why)
		t.follow(n)
	case n.st.Command != nil && n.st.Command.Queued == q.seq:
		n.st.Command.Queued = 0
		t.touch(n)
		t.obey(n)
	}
}
