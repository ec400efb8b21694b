package tree

import (
	"cmp"
	"time"
)

// Claim says what is not known about an agent that was not enforced: it must be
// found out before it is started, so that nothing runs twice.
type Claim string

// Claims. None is needed for an agent that was enforced all along.
const (
	// Listen: no process of ours is left; somebody else's may run.
	Listen Claim = "listen"
	// Own: the last incarnation ran when the agent was let go.
	Own Claim = "own"
	// Settle: the last incarnation was being started or stopped then, and it
	// is not known whether that was done, or will be; or it was found failed
	// since.
	Settle Claim = "settle"
	// Left: it was removed from the tree and is back. It may have been left
	// running, nobody knows where.
	Left Claim = "left"
)

// ours reports whether a process of the last incarnation may live.
func (c Claim) ours() bool { return c == Own || c == Settle }

// over is the claim once the last incarnation is known to have ended.
func (c Claim) over() Claim {
	if c == "" {
		return ""
	}
	return Listen
}

// DefaultListen is three heartbeats of the default interval.
const DefaultListen = 15 * time.Second

// Apart reports whether an agent is in nobody's hands here.
func (p Phase) Apart() bool { return p == Watched || p == Claiming || p == Foreign }

// occupies reports whether an agent takes room on its runner.
func (n *node) occupies() bool {
	return n.spec.Agent != nil && n.st.Runner != "" && (n.st.Phase.live() || n.st.Claim.ours())
}

func (t *Tree) setClaim(n *node, c Claim) {
	if n.st.Claim == c {
		return
	}
	occupied := n.occupies()
	n.st.Claim = c
	t.touch(n)
	if occupied && !n.occupies() {
		t.load[n.st.Runner]--
	}
}

// applyModes makes everything below a node go by its mode, which may be another.
// Who is let go is let go first: nothing is ordered of it any more.
func (t *Tree) applyModes(n *node) {
	agents := n.agents(nil)
	var awaited []*node
	for _, a := range agents {
		if t.mode(a) != Enforce && t.releaseAgent(a) {
			awaited = append(awaited, a)
		}
	}
	for _, a := range awaited {
		if op := a.parent.op(); op != nil && op.Stage != StageWait && op.At == a.spec.Rank {
			t.advance(a.parent)
		}
	}
	for _, a := range agents {
		if !a.removed && a.st.Phase == Watched && t.mode(a) == Enforce {
			t.acquireAgent(a)
		}
	}
}

// agents appends all agents at and below a node.
func (n *node) agents(dst []*node) []*node {
	if n.spec.Agent != nil {
		return append(dst, n)
	}
	for _, c := range n.kids {
		dst = c.agents(dst)
	}
	return dst
}

// releaseAgent takes an agent out of the tree's hands as it is. What it was about to
// do becomes a proposal. It reports whether its supervisor waited for it.
func (t *Tree) releaseAgent(n *node) (awaited bool) {
	p, phase := n.parent, n.st.Phase
	if n.st.Claim == "" && (phase.idle() || phase == Gone) {
		t.setClaim(n, Listen) // from now on somebody else may start it
	}
	dropped := false
	switch {
	case phase == Watched || phase == Gone:
		return false
	case phase == Idle:
		if dropped = t.willStart(p, n); !dropped {
			return false
		}
	case phase == Ended, phase.delayed() || phase.pending():
		dropped = true
	case phase == Stopping:
		dropped = n.st.Then == ThenFail || n.st.Then == ThenStartFailed || n.st.Then == ThenRestart || p.op() != nil && p.op().Kind != OpStop
		t.setClaim(n, Settle)
	case phase == Starting:
		t.setClaim(n, Settle)
	case phase.live():
		t.setClaim(n, Own)
	}
	awaited = p.awaitsStart(n) || p.awaitsStop(n)
	forget := n.st.Command != nil && n.st.Command.Kind == CmdRemove
	t.answerWith(n, Superseded, "a change of its mode")
	end, why := End(""), ""
	if dropped {
		end, why = cmp.Or(n.st.End, EndStopped), cmp.Or(n.st.Why, whyBegun)
		if t.mode(n) == Shadow {
			t.suggest(n, ActionRestart, t.now, "it was under way: "+why, n.st.Story)
		}
	}
	n.st.Story = t.story
	t.watch(n, end, why)
	if forget {
		t.remove(n)
	}
	return awaited
}

// watch leaves an agent to whoever keeps it. The end is empty unless it is known
// to be down.
func (t *Tree) watch(n *node, end End, why string) {
	if n.st.Claim == "" {
		n.st.Claim = Listen
	}
	n.st.Progress = Progress{}
	t.setDown(n, Watched, end, why)
}

// acquireAgent begins to enforce an agent that was only watched.
func (t *Tree) acquireAgent(n *node) {
	n.st.Story = t.story
	switch {
	case !n.parent.up() && n.st.Claim.ours():
		// With its supervisor down it is to be, too.
		t.stop(n, "", EndStopped, whySupervisor, false)
	case !n.parent.up():
		// It starts with its supervisor.
		t.setDown(n, Idle, EndStopped, whySupervisor)
	case n.st.End != "" && n.spec.Restart == Temporary && !n.st.Claim.ours():
		t.retire(n)
	case n.hasFinished() && n.st.Claim.ours():
		// It is not certain that it was this one that finished.
		t.stop(n, "", EndFinished, whyFinished, false)
	case n.hasFinished():
		t.setDown(n, Idle, EndFinished, whyFinished)
	default:
		n.fresh()
		t.claim(n)
	}
}

// claim listens for an agent before anything is done with it.
func (t *Tree) claim(n *node) {
	t.setPhase(n, Claiming, "")
	t.listenTo(n)
}

// ListenStage is how far listening for an agent is.
type ListenStage uint8

// Listening takes three steps, each a decision. Only when it is stored that an
// agent is listened for does anybody listen, and storing may take long: so the
// time begins with the step after. And what was heard in time may wait to be taken
// into account, behind the news that the time is over: so that is only noted, and
// the step after it draws the conclusion.
const (
	ListenRequested ListenStage = iota
	Listening
	ListenElapsed
)

func (t *Tree) listenTo(n *node) {
	n.st.ListenStage = ListenRequested
	t.arm(n, t.now.Add(1))
}

// listened goes on with listening.
func (t *Tree) listened(n *node) {
	switch n.st.ListenStage {
	case ListenRequested:
		n.st.ListenStage = Listening
		t.arm(n, t.now.Add(n.listen()))
	case Listening:
		n.st.ListenStage = ListenElapsed
		t.arm(n, t.now.Add(1))
	default:
		t.claimed(n)
	}
}

func (n *node) listen() time.Duration { return cmp.Or(n.spec.Agent.Listen, DefaultListen) }

// foreignPeriods is after how many periods of listening an agent that runs
// elsewhere is listened for again, should nobody have told of its end.
const foreignPeriods = 20

// listenAgain makes silence count from now on only.
func (t *Tree) listenAgain() {
	if !t.hasModes {
		return
	}
	for _, n := range t.root.agents(nil) {
		if n.st.Phase == Claiming {
			t.listenTo(n)
		}
	}
}

// claimed goes on with an agent of which nothing was heard.
func (t *Tree) claimed(n *node) {
	switch n.st.Claim {
	case Own:
		t.takeUp(n)
	case Settle:
		t.settleOrder(n)
	default:
		t.setClaim(n, "")
		t.bringUp(n, n.st.Story)
	}
}

// takeUp orders the start of the last incarnation again: a runner that has it
// says so, one whose agent has ended says that, and the rest follows.
func (t *Tree) takeUp(n *node) {
	t.setPhase(n, Starting, "")
	n.st.Claim, n.st.Decision = Listen, t.decision
	t.emit(n.startEffect())
}

// settleOrder stops the last incarnation, of which it is not known whether it
// runs: then it is certain that it does not and never will.
func (t *Tree) settleOrder(n *node) {
	t.stop(n, ThenRestart, EndStopped, "it was being started or stopped when it was let go, or has failed since", false)
}

// unmanagedInput deals with an input about an agent that is in nobody's hands.
func (t *Tree) unmanagedInput(n *node, in *Input) {
	own := in.Incarnation > 0 && in.Incarnation == n.st.Incarnation
	ours := n.st.Claim.ours() && (own || in.Incarnation == 0 && in.Kind == Failed)
	if in.Incarnation > 0 && in.Incarnation < n.st.Incarnation && in.Kind != Beat && in.Kind != SeenAlive {
		return // of the past
	}
	if own {
		switch in.Kind {
		case Started:
			if n.st.Claim == Settle && n.st.Suspect != n.st.Incarnation {
				n.st.PID = in.PID
				t.setClaim(n, Own)
			}
		case Stopped, StartFailed, Exited, Lost:
			t.setClaim(n, n.st.Claim.over())
		}
	}
	if in.Kind == Failed && ours {
		// It may hang, which nobody says twice.
		t.setClaim(n, Settle)
		n.st.Suspect = n.st.Incarnation
		t.touch(n)
	}
	switch n.st.Phase {
	case Watched:
		t.watchedInput(n, in)
	case Claiming:
		switch in.Kind {
		case Beat, SeenAlive:
			t.claimingInput(n, in, own)
		case Exited, Lost, Failed:
			if ours {
				t.recordCause(n, in) // but for this it would have been left running
			}
		}
	case Foreign:
		if in.Kind == Failed || in.Kind == Exited {
			t.recordCause(n, in)
			t.claim(n)
			n.st.Why = in.Reason
		}
	}
}

// watchedInput takes note of what becomes of an agent that is not enforced, and
// in shadow mode tells what would be done.
func (t *Tree) watchedInput(n *node, in *Input) {
	if t.mode(n) != Shadow {
		return
	}
	switch in.Kind {
	case SeenAlive:
		if n.st.End != "" {
			t.setDown(n, Watched, "", "")
		}
	case Failed, Exited, StartFailed, Lost:
		if n.st.End != "" {
			return // told already
		}
		t.recordCause(n, in)
		end, why := endOf(in), cmp.Or(in.Reason, whyFailed)
		if end == EndCompleted && n.spec.Restart == Transient {
			end, why = EndFinished, whyFinished
		}
		t.setDown(n, Watched, end, why)
		t.propose(n, in.Normal, cmp.Or(in.Reason, whyFailed), n.st.Story)
	}
}

// claimingInput deals with a sign of life of an agent that is to be enforced.
func (t *Tree) claimingInput(n *node, in *Input, own bool) {
	switch c := n.st.Claim; {
	case own && c == Settle && n.spec.Agent.Verify:
		// A heartbeat may be late, and its agent hang since: it is to prove
		// itself as after a start.
		t.takeUp(n)
	case own && c == Settle:
		t.settleOrder(n)
	case own && c == Own:
		t.run(n)
		t.setClaim(n, "")
		t.ready(n)
	case own && c == Listen:
		// The last of one that has ended.
	case in.Incarnation == 0 && c == Own:
		// It may be ours and tell no number. Its runner knows.
		t.takeUp(n)
	case in.Incarnation == 0 && c == Settle:
		t.settleOrder(n)
	default:
		t.setPhase(n, Foreign, "it runs and was not started from here")
		t.arm(n, t.now.Add(foreignPeriods*n.listen()))
		t.emit(Effect{Kind: NoteForeign, Node: n.spec.ID, Incarnation: n.st.Incarnation, Reason: n.st.Why})
		if cmd := n.st.Command; cmd != nil && cmd.Queued == 0 {
			t.answer(n, CannotStart)
		}
		t.ready(n)
	}
}

// forbidden tells why an operator cannot have something done with an agent.
func (t *Tree) forbidden(n *node, c CommandKind) string {
	if !t.hasModes || n.spec.Agent == nil || c != CmdTerminate && c != CmdRestart && c != CmdStart {
		return ""
	}
	switch m := t.mode(n); {
	case m != Enforce:
		return "its mode is " + string(m) + ", so nothing is started or stopped; set its mode to enforce first"
	case n.st.Phase == Foreign:
		return n.st.Why + "; stop it where it was started, and it starts here"
	}
	return ""
}
