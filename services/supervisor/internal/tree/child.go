package tree

import (
	"cmp"
	"hash/fnv"
	"time"
)

// begin starts a node in answer to cause. Again tells that it is a restart,
// which nobody ordered.
func (t *Tree) begin(n *node, story Story, again bool) {
	n.st.Story = story
	if n.spec.Supervisor != nil {
		t.boot(n, again)
		return
	}
	if t.mode(n) != Enforce {
		t.watch(n, "", "")
		if cmd := n.st.Command; cmd != nil && cmd.Queued == 0 {
			t.answer(n, OK)
		}
		return
	}
	if n.st.Claim != "" {
		t.claim(n)
		return
	}
	t.renewed(n)
	previous, lost := cmp.Or(n.st.Runner, n.st.From), n.st.End == EndLost
	n.st.Incarnation, n.st.Newest = max(n.st.Incarnation, n.st.Newest)+1, 0
	n.st.Attempt = Attempt{Decision: t.decision}
	if again && n.st.Incarnation > 1 && t.budget() != nil {
		if lost {
			// No other start on that runner is to be spared for it.
			previous = ""
		}
		t.throttle(n, previous)
		return
	}
	t.place(n, previous)
}

// stop ends an agent's process; then says what follows.
func (t *Tree) stop(n *node, then Then, end End, why string, kill bool) {
	t.setDown(n, Stopping, end, why)
	n.st.Progress, n.st.Decision = Progress{Then: then, Kill: kill}, t.decision
	t.emit(n.stopEffect())
}

// ready lets what waits for a node to come up continue: the node serves, though it
// may not be verified yet.
func (t *Tree) ready(n *node) {
	if p := n.parent; p.awaitsStart(n) {
		t.advance(p)
	}
}

// awaitsStart reports whether a supervisor's operation waits for n to come up.
func (p *node) awaitsStart(n *node) bool {
	op := p.op()
	return op != nil && op.Stage == StageStart && op.At == n.spec.Rank
}

// awaitsStop reports whether a supervisor's operation waits for n to be down.
func (p *node) awaitsStop(n *node) bool {
	op := p.op()
	return op != nil && op.Stage == StageStop && (op.together() || op.At == n.spec.Rank)
}

// startFailed deals with a node that did not come up and is down.
func (t *Tree) startFailed(n *node) {
	p := n.parent
	if n.st.Discarded() {
		t.afterStop(n, ThenRemove)
		return
	}
	switch kind := t.unverified(n); {
	case kind == CmdAdd:
		t.takeBack(n)
		return
	case kind == CmdStart && p != nil && !p.awaitsStart(n):
		return
	case kind == CmdStart && p != nil && p.op().Kind == OpFill:
		t.advance(p)
		return
	}
	if p == nil {
		t.emit(Effect{Kind: NoteDown, Node: n.spec.ID, Reason: n.st.Why})
		return
	}
	if !p.awaitsStart(n) {
		t.ended(n)
		return
	}
	op := p.op()
	switch {
	case op.Kind == OpBoot && t.opt.StrictBoot:
		p.st.Story = n.st.Story
		t.shutdown(p, BootFailed, EndStartFailed, whyFailed)
	case n.spec.Restart == Temporary:
		t.finish(n)
		t.advance(p)
	default:
		// The supervisor is up as far as it came; the failed child is
		// restarted by its strategy.
		p.st.Supervisor.Op = nil
		t.touch(p)
		t.settleLater(p)
		if op.Kind == OpBoot {
			t.up(p)
		}
		t.leaveRest(p, n, op)
		t.ended(n)
	}
}

// takeBack removes a child whose addition failed.
func (t *Tree) takeBack(n *node) {
	p, awaited := n.parent, n.parent.awaitsStart(n)
	t.remove(n)
	if awaited {
		t.advance(p)
	}
}

// leaveRest keeps in mind that the children after n, whose start failed, are
// still to be started by an operation that is broken off. The strategy takes
// them along with n, unless it is another by the time that n is restarted, or n
// is never restarted because it was removed while its supervisor was suspended.
func (t *Tree) leaveRest(p, n *node, broken *Operation) {
	next, kind := p.after(n.spec.Rank), OpGroup
	if broken.Kind == OpFill {
		kind = OpFill
		for next != nil && !next.awaitsTurn() {
			next = p.after(next.spec.Rank)
		}
	}
	if next == nil {
		return
	}
	p.st.Supervisor.Op = &Operation{
		Kind: kind, Stage: StageWait, Again: broken.Again, From: next.spec.Rank, Due: t.now,
		Story: broken.Story,
	}
	for c := next; c != nil && broken.Kind == OpBoot; c = p.after(c.spec.Rank) {
		c.blameFor(broken) // those of a group have their cause, see stopped
		t.touch(c)
	}
	if !p.suspended() {
		t.timers.Push(timer{t.now, p})
	}
}

// ended handles the end of a child. An order's start that fails is not repeated: a
// child that was added is taken back, one that was started is left down.
func (t *Tree) ended(n *node) {
	if n.st.Discarded() {
		t.afterStop(n, ThenRemove)
		return
	}
	switch t.unverified(n) {
	case CmdAdd:
		t.takeBack(n)
	case CmdStart:
	default:
		t.follow(n)
	}
}

// follow decides what the end of a child leads to.
func (t *Tree) follow(n *node) {
	p := n.parent
	if t.busy(p) || p.suspended() {
		t.queueEnd(n)
		return
	}
	switch {
	case n.spec.Restart.leaves(n.st.End):
		t.finish(n)
		t.autoShutdown(p, n)
	case !n.st.End.charged():
		// No failure, whatever the strategy and the limit make of failures.
		t.restart(n)
	case p.spec.Supervisor.Strategy.Escalates():
		p.st.Story = n.st.Story
		if t.contained(p, ActionEscalate, "child "+n.spec.ID+" failed: "+n.st.Why) {
			return
		}
		t.note(p, Effect{Kind: NoteEscalate, Reason: "child " + n.spec.ID + " failed"})
		t.shutdown(p, Escalated, EndEscalated, "child "+n.spec.ID+" failed: "+n.st.Why)
	case p.spec.Supervisor.isolates():
		if t.admitted(n, false) {
			t.restart(n)
		} else {
			t.isolate(n)
		}
	case !t.allow(p):
		t.exceeded(p, n)
	default:
		t.restart(n)
	}
}

// queueEnd leaves the end of a child until its supervisor is free.
func (t *Tree) queueEnd(n *node) {
	t.setDown(n, Ended, n.st.End, n.st.Why)
	t.seq++
	n.st.Ticket = t.seq
	n.parent.queue = append(n.parent.queue, queued{n, t.seq})
}

// finish retires a child that is not to be restarted.
func (t *Tree) finish(n *node) {
	t.note(n, Effect{Kind: NoteFinished, Incarnation: n.st.Incarnation, Reason: n.st.Why})
	if n.spec.Restart == Temporary {
		t.retire(n)
		return
	}
	end, why := n.st.End, n.st.Why
	if end == EndCompleted {
		if end = EndFinished; n.spec.Agent != nil {
			why = whyFinished
		}
	}
	t.setDown(n, Idle, end, why)
}

// retire takes a temporary child away. One from configuration comes back when
// its supervisor starts anew, as in OTP.
func (t *Tree) retire(n *node) {
	t.answerWith(n, Superseded, "its end")
	if n.spec.Dynamic {
		t.remove(n)
		return
	}
	t.setPhase(n, Gone, n.st.Why)
}

func (t *Tree) autoShutdown(p, n *node) {
	if !n.spec.Significant {
		return
	}
	switch p.spec.Supervisor.AutoShutdown {
	case AnySignificant:
	case AllSignificant:
		for _, c := range p.kids {
			if c.spec.Significant && !c.st.Phase.idle() && c.st.Phase != Gone {
				return
			}
		}
	default:
		return
	}
	why := "significant child " + n.spec.ID + " ended"
	if n.st.End.Failed() {
		why += ": " + n.st.Why
	}
	p.st.Story = n.st.Story
	if !t.contained(p, ActionEscalate, why) {
		t.shutdown(p, Shutdown, EndCompleted, why)
	}
}

// allow counts a restart against a supervisor's limit: those of the last
// period, now included, must not be more than allowed.
func (t *Tree) allow(p *node) bool {
	s, spec := p.st.Supervisor, p.spec.Supervisor
	old, from := 0, t.now.Add(-spec.Period)
	for old < len(s.Window) && s.Window[old] < from {
		old++
	}
	kept := copy(s.Window, s.Window[old:])
	s.Window = append(s.Window[:kept], t.now)
	t.touch(p)
	return len(s.Window) <= spec.MaxRestarts
}

// exceeded applies the escalation policy of a supervisor whose child failed
// once too often.
func (t *Tree) exceeded(p, n *node) {
	why := "restart limit exceeded by child " + n.spec.ID + ": " + n.st.Why
	note := Effect{Node: p.spec.ID, Reason: why, Event: n.st.Cause, Chain: n.st.Chain}
	if p.spec.Supervisor.Escalation == Ignore {
		note.Kind = NoteIgnore
		t.emit(note)
		w := p.st.Supervisor.Window
		p.st.Supervisor.Window = w[:len(w)-1]
		t.restart(n)
		return
	}
	kind, outcome, end := p.overLimit()
	note.Kind = kind
	if outcome == Shutdown {
		p.st.Story = n.st.Story
		if t.contained(p, ActionEscalate, why) {
			return
		}
	}
	if outcome == Cooling {
		note.Due = t.now.Add(p.spec.Supervisor.CoolOff)
	}
	t.emit(note)
	p.st.Story = n.st.Story
	p.history().failures.add(Entry{At: t.now, Reason: why, Event: n.st.Cause})
	t.shutdown(p, outcome, end, why)
}

// overLimit is what becomes of a supervisor that stops because its limit was exceeded,
// by its escalation policy.
func (n *node) overLimit() (note EffectKind, outcome Outcome, end End) {
	switch n.spec.Supervisor.Escalation {
	case CoolOff:
		return NoteCoolOff, Cooling, EndCooling
	case Terminate:
		note, outcome, end = NoteTerminate, Terminated, EndGaveUp
	default:
		note, outcome, end = NoteEscalate, Shutdown, EndShutdown
	}
	if n.parent == nil {
		note = NoteGiveUp
	}
	return note, outcome, end
}

// restart brings a child back after its delay, with the siblings that the
// strategy takes along.
func (t *Tree) restart(n *node) {
	p := n.parent
	var delay time.Duration
	if n.st.End.charged() {
		delay = n.spec.Backoff.Wait(n.st.Attempts, seedOf(n.spec.ID)+n.st.Incarnation)
		n.st.Attempts++
	}
	due, why := t.now.Add(delay), n.st.Why
	t.noteRestart(n, due)
	if !p.spec.Supervisor.Strategy.Group() {
		if delay == 0 {
			t.begin(n, n.st.Story, true)
			return
		}
		t.setPhase(n, Waiting, why)
		t.arm(n, due)
		return
	}
	t.setPhase(n, Waiting, why)
	t.restartGroup(p, n, due)
}

// noteRestart records that a node is restarted at due.
func (t *Tree) noteRestart(n *node, due Instant) {
	n.st.Restarts++
	n.st.LastRestart = t.now
	why := n.st.Why
	n.history().restarts.add(Entry{At: t.now, Incarnation: n.st.Incarnation, Reason: why, Event: n.st.Cause})
	t.note(n, Effect{Kind: NoteRestart, Incarnation: n.st.Incarnation, Due: due, Attempt: n.st.Attempts, Supervisor: n.spec.Parent, Reason: why})
}

// seedOf makes the jitter of different nodes different.
func seedOf(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
