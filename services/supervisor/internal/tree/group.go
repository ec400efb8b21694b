package tree

import (
	"math"
	"slices"
	"sort"
	"time"
)

// independent reports whether the children of a supervisor have nothing to do
// with one another, so that none waits for another's start or stop.
func (t *Tree) independent(p *node) bool {
	return !p.spec.Supervisor.Strategy.Group() && !t.opt.StrictBoot
}

// together reports whether an operation starts, or stops, all children at once.
// What began so ends so, though the strategy may change meanwhile.
func (op *Operation) together() bool { return op.At == 0 && op.Kind != OpGroup && op.Kind != OpFill }

// busy reports whether a supervisor is in the middle of something, so that what
// happens to its children must wait. One that starts them all at once, or only fills
// its group, is not.
func (t *Tree) busy(p *node) bool {
	op := p.op()
	return op != nil && op.Stage != StageWait && op.Kind != OpFill && !(op.Kind == OpBoot && op.together())
}

// boot starts a supervisor and all its children.
func (t *Tree) boot(s *node, again bool) {
	t.setPhase(s, Starting, "")
	s.st.Then, s.st.Decision = "", t.decision
	if !t.resuming || s.exceeded() {
		s.st.Supervisor.Window, s.st.Supervisor.Proposed = nil, nil
	}
	if t.opt.StartTerminated && s.st.Supervisor.Suspended {
		t.unsuspend(s)
	}
	s.queue = nil
	t.note(s, Effect{Kind: NoteBoot})
	if t.opt.Volatile {
		t.forgetAdded(s)
	}
	op := &Operation{Kind: OpBoot, Stage: StageStart, Again: again, Story: s.st.Story, Resume: t.resuming}
	s.st.Supervisor.Op = op
	for _, c := range s.kids {
		t.prepare(c, op)
	}
	if !t.independent(s) {
		t.advance(s)
		return
	}
	for _, c := range s.kids {
		if c.st.Phase == Idle && !t.staysDown(c) {
			t.beginWith(op, c, s.st.Story)
		}
	}
	t.settleLater(s)
}

// exceeded reports whether a supervisor stopped because of its limit: it starts afresh.
func (n *node) exceeded() bool {
	return len(n.st.Supervisor.Window) > n.spec.Supervisor.MaxRestarts
}

// prepare makes a child ready for the start of its supervisor. Its failures are
// forgotten, unless the supervisor starts with the service.
func (t *Tree) prepare(c *node, op *Operation) {
	switch c.st.Phase {
	case Watched:
		return
	case Running, Stabilising:
		return // it was moved here as it is
	case Stopping:
		// It was to be stopped while its supervisor was down, or with that.
		t.turnBack(c, op.Story)
		return
	}
	switch {
	case op.Resume && t.unhold(c), t.staysDown(c):
	case op.Resume && c.st.Phase == Idle: // its failures count
	case c.st.Phase != Idle || c.st.Held != "" || c.st.Attempts != 0 || c.st.Isolation != nil:
		t.setDown(c, Idle, "", "")
		c.fresh()
	}
}

// beginWith starts a child with its supervisor's operation.
func (t *Tree) beginWith(op *Operation, c *node, story Story) {
	was := t.resuming
	t.resuming = op.boots()
	t.begin(c, story, op.Again)
	t.resuming = was
}

// turnBack starts a node again that is being stopped since its supervisor was down, or
// the supervisor's process was to end. Of independent children those that are down
// start now, whatever the others take to stop. Everything else starts when it is down.
func (t *Tree) turnBack(n *node, because Story) {
	switch op := n.op(); {
	case n.st.Then != "" && n.st.Then != ThenClose, n.st.Discarded(), n.spec.Dynamic && n.spec.Restart == Temporary, op != nil && op.Outcome != Ordered:
		return // something else follows
	case op != nil && op.together() && t.independent(n):
		for _, c := range n.kids {
			if c.st.Command != nil && c.st.Command.Queued > 0 {
				t.answerWith(c, Superseded, "a stop of its supervisor")
			}
		}
		t.resume(n, because)
	case n.spec.Supervisor != nil:
		n.st.Then, n.st.Story = ThenResume, because
	default:
		n.st.Then, n.st.Story = ThenRestart, because
	}
	t.touch(n)
}

// forgetAdded takes away what was added to a supervisor that is down: as in OTP,
// it has the children it was configured with.
func (t *Tree) forgetAdded(s *node) {
	for _, c := range slices.Clone(s.kids) {
		if c.spec.Dynamic {
			t.terminate(c, ThenRemove)
		}
	}
}

// up ends a supervisor's boot.
func (t *Tree) up(s *node) {
	s.st.Supervisor.Op = nil
	t.setPhase(s, Running, "")
	t.ready(s)
	t.settleLater(s) // which may be verified, too
}

// shutdown makes a supervisor stop its children and then end with the outcome.
// Those of a group stop one after the other, in reverse order; independent ones
// stop side by side.
func (t *Tree) shutdown(s *node, outcome Outcome, end End, why string) {
	if s.st.Phase != Stopping {
		t.setPhase(s, Stopping, why)
	}
	s.st.End = end
	op := &Operation{Kind: OpStop, Stage: StageStop, At: math.MaxInt64, Outcome: outcome, Story: s.st.Story}
	if op.Resume = outcome == Ordered && (s.st.Then == ThenClose || s.parent.closes()); op.Resume {
		for _, c := range s.kids {
			t.holdDown(c)
		}
	}
	if d := s.spec.ShutdownTimeout; d > 0 {
		op.Due = t.now.Add(d)
	}
	s.st.Supervisor.Op = op
	t.touch(s)
	if !t.independent(s) {
		t.advance(s)
		return
	}
	op.At = 0
	for _, c := range slices.Backward(slices.Clone(s.kids)) {
		t.stopped(c)
	}
	t.settleLater(s)
}

// timeToStop is how long an agent that is to stop has for it, and whether it has
// none: its own timeout, or what is left of the time of a supervisor above it.
func (n *node) timeToStop() (timeout time.Duration, kill bool) {
	timeout, kill = n.spec.ShutdownTimeout, n.st.Kill
	for p := n.parent; p != nil; p = p.parent {
		op := p.op()
		if op == nil || op.Kind != OpStop || op.Due == 0 {
			continue
		}
		left := time.Duration(op.Due - n.st.Since)
		if left <= 0 {
			return n.spec.ShutdownTimeout, true
		}
		if timeout == 0 || left < timeout {
			timeout = left
		}
	}
	return timeout, kill
}

// restartGroup stops what the strategy takes along with n, waits until due and
// starts it again. While a group waits, another failure joins it: the wider
// range and the longer wait apply.
func (t *Tree) restartGroup(p, n *node, due Instant) {
	op := &Operation{Kind: OpGroup, Stage: StageStop, Again: true, From: p.spec.Supervisor.Strategy.First(n.spec.Rank), At: math.MaxInt64, Due: due, Story: n.st.Story}
	if was := p.op(); was != nil {
		op.From, op.Due = min(op.From, was.From), max(op.Due, was.Due)
	}
	p.st.Supervisor.Op = op
	t.touch(p)
	t.emit(Effect{Kind: NoteGroup, Node: p.spec.ID, Due: op.Due, Reason: string(p.spec.Supervisor.Strategy) + " because of " + n.spec.ID, Event: op.Cause, Chain: op.Chain})
	if t.hasModes {
		t.proposeAlong(n, op.Due, false, op.Story)
	}
	t.advance(p)
}

// advance takes a supervisor's operation as far as it goes without waiting.
func (t *Tree) advance(p *node) {
	for {
		op := p.op()
		t.touch(p)
		switch op.Stage {
		case StageStop:
			if op.together() {
				return // it ends when the last child is down
			}
			c := p.before(op.At)
			if c != nil && c.spec.Rank >= op.From {
				op.At = c.spec.Rank
				if t.stopped(c) {
					continue
				}
				return
			}
			if op.Kind == OpStop {
				t.end(p)
				return
			}
			if op.Due > t.now {
				op.Stage, op.At = StageWait, 0
				t.timers.Push(timer{op.Due, p})
				t.settleLater(p)
				return
			}
			op.Stage, op.At = StageStart, op.From-1
		case StageStart:
			c := p.after(op.At)
			if c == nil {
				t.finishOp(p)
				return
			}
			op.At = c.spec.Rank
			if op.Kind == OpFill && !c.awaitsTurn() {
				if c.comesUp() {
					return
				}
				continue
			}
			if !c.st.Phase.idle() && !c.st.Phase.delayed() || t.staysDown(c) || op.boots() && c.st.Phase != Idle {
				continue
			}
			story := op.Story
			if op.Kind == OpGroup || op.Kind == OpFill {
				// One that ended by itself has its own, see stopped.
				story = c.st.Story
			}
			t.beginWith(op, c, story)
			if c.st.Phase == Watched {
				continue
			}
			return
		default:
			return
		}
	}
}

// startStage ends the wait of an operation.
func (t *Tree) startStage(p *node) {
	op := p.op()
	if op.Stage, op.At = StageStart, op.From-1; op.Kind == OpFill {
		op.At = 0
	}
	t.advance(p)
}

func (t *Tree) finishOp(p *node) {
	if p.st.Phase == Starting {
		t.up(p)
		return
	}
	p.st.Supervisor.Op = nil
	t.touch(p)
	t.settleLater(p)
	t.fill(p)
}

// before and after give the next child in either direction of a rank.
func (n *node) before(rank int64) *node {
	i := sort.Search(len(n.kids), func(i int) bool { return n.kids[i].spec.Rank >= rank })
	if i == 0 {
		return nil
	}
	return n.kids[i-1]
}

func (n *node) after(rank int64) *node {
	i := sort.Search(len(n.kids), func(i int) bool { return n.kids[i].spec.Rank > rank })
	if i == len(n.kids) {
		return nil
	}
	return n.kids[i]
}

// stopped makes sure that a child is down or on its way. It is true when there
// is nothing to wait for.
func (t *Tree) stopped(c *node) bool {
	switch {
	case c.st.Phase == Gone, c.st.Phase == Watched, t.staysDown(c):
		return true
	case c.st.Phase.Apart() && c.st.Claim.ours():
		c.blameFor(c.parent.op())
		t.stop(c, "", EndStopped, c.parent.op().why(), false)
		return false
	case !c.st.Phase.live():
		t.keepDown(c)
		return true
	case c.spec.Supervisor != nil && c.parent.closes() && c.endsByItself():
		return false // what becomes of it has been decided
	case c.spec.Supervisor != nil:
		c.blameFor(c.parent.op())
		if op := c.op(); op != nil && op.Kind == OpStop {
			op.Outcome, c.st.End = Ordered, EndStopped
			t.touch(c)
		} else {
			t.shutdown(c, Ordered, EndStopped, c.parent.op().why())
		}
		return false
	case c.st.Phase == Stopping:
		if c.st.Then == ThenFail || c.st.Then == ThenStartFailed {
			c.st.Then = ""
			t.touch(c)
		}
		return false
	default:
		c.blameFor(c.parent.op())
		t.stop(c, "", EndStopped, c.parent.op().why(), false)
		return false
	}
}

// keepDown makes a child that is down wait for its supervisor's operation.
func (t *Tree) keepDown(c *node) {
	op := c.parent.op()
	ended := c.st.Phase != Idle
	// One that starts anyhow does so because of its own end, of what it awaits its turn
	// for, or of what an operation that this one continues stopped it for.
	starts := ended || c.awaitsTurn() || c.st.End == EndStopped
	switch {
	case c.st.Phase == Ended && op.Kind == OpStop:
		t.setDown(c, Idle, c.st.End, c.st.Why)
	case ended:
		t.overtake(c)
	case op.Kind == OpStop && c.st.Own != "":
		c.st.Own, c.st.Why = "", op.why()
		t.touch(c)
	}
	if op.Kind == OpGroup && !starts || op.Kind == OpStop && ended {
		// It would have stayed down but for this, or come up.
		c.blameFor(op)
		t.touch(c)
	}
	if c.spec.Restart == Temporary && ended {
		// One that is idle has never begun, and comes with its group.
		t.retire(c)
	}
}

// overtake leaves a child that is down to its supervisor's operation, which stops
// what would have started it. A group starts it again, so how it ended is kept.
func (t *Tree) overtake(c *node) {
	op, end, why := c.parent.op(), End(""), c.parent.op().why()
	if op.Kind == OpGroup && (c.st.Phase.delayed() || c.st.Phase == Ended) {
		end, why = c.st.End, c.st.Why
	}
	t.setDown(c, Idle, EndStopped, why)
	c.st.Own = end
}

// blameFor makes what happens to a node part of an operation's story.
func (n *node) blameFor(op *Operation) { n.st.Story = op.Story }

// willStart reports whether an operation is going to start n, which is down.
func (t *Tree) willStart(p, n *node) bool {
	op := p.op()
	return op != nil && op.awaits(n.spec.Rank) && !t.staysDown(n) && (op.Kind != OpFill || n.awaitsTurn())
}

// Starts reports whether a node that is down is about to be started with its group.
func (t *Tree) Starts(id string) bool {
	n := t.nodes[id]
	return n != nil && n.st.Phase.idle() && t.willStart(n.parent, n)
}

// up reports whether a supervisor takes care of its children.
func (p *node) up() bool { return p.st.Phase == Running || p.st.Phase == Starting }

// stops reports whether an operation is about to stop, or has just stopped, n.
func (p *node) stops(n *node) bool {
	op := p.op()
	return op != nil && op.Stage == StageStop && n.spec.Rank >= op.From
}
