package tree

import (
	"testing"
	"time"
)

// verifying makes an agent prove itself after each start.
func verifying(s *Spec) {
	s.Agent.Verify, s.Agent.StartDeadline, s.Agent.Stabilisation = true, time.Minute, 2*time.Second
}

// beat lets an agent send a heartbeat.
func (b *bench) beat(agent string) {
	b.do(Input{Kind: Beat, Node: agent, Incarnation: b.state(agent).Incarnation})
}

// verify lets agents prove themselves.
func (b *bench) verify(agents ...string) {
	b.t.Helper()
	for _, a := range agents {
		b.beat(a)
	}
	b.after(2 * time.Second)
	for _, a := range agents {
		b.wantPhase(a, Running)
	}
}

// lastReply returns the result and the reason of the latest answer that is kept.
func (b *bench) lastReply() string {
	answers := b.state(b.tree.Root()).Supervisor.Answers
	if len(answers) == 0 {
		return ""
	}
	a := answers[len(answers)-1]
	return a.Token + ": " + string(a.Result) + ": " + a.Reason
}

func TestAnOrderAboutAnAgentIsDoneWhenItIsVerified(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails func(b *bench)
		reply string
		phase Phase
	}{
		"verified":                {func(b *bench) { b.verify("a") }, "t: ok: ", Running},
		"ended before its beat":   {func(b *bench) { b.crash("a") }, "t: unverified: it could not be verified: crash", Starting},
		"ended after its beat":    {func(b *bench) { b.beat("a"); b.crash("a") }, "t: unverified: it could not be verified: crash", Starting},
		"found failed after it":   {func(b *bench) { b.beat("a"); b.do(Input{Kind: Failed, Node: "a", Reason: "hangs"}) }, "t: unverified: it could not be verified: hangs", Starting},
		"its host was lost":       {func(b *bench) { b.do(Input{Kind: Lost, Node: "a", Incarnation: 2}); b.verify("a") }, "t: ok: ", Running},
		"its host was lost later": {func(b *bench) { b.beat("a"); b.do(Input{Kind: Lost, Node: "a", Incarnation: 2}); b.verify("a") }, "t: ok: ", Running},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root", verifying))
			b.verify("a")
			b.do(Input{Kind: Order, Command: CmdRestart, Node: "a", Token: "t"})
			b.wantPhase("a", Verifying)
			if got := b.lastReply(); got != "" {
				t.Errorf("answered before it is verified: %s", got)
			}
			b.tree = roundTrip(t, b.tree, Options{}) // a successor answers as well
			c.fails(b)
			if got := b.lastReply(); got != c.reply {
				t.Errorf("answered %q, want %q", got, c.reply)
			}
			if got := b.state("a").Command; got != nil {
				t.Errorf("left is %+v", got)
			}
			if c.phase == Running {
				b.wantPhase("a", Running)
			} else if got := b.state("a"); got.Incarnation != 3 || got.Restarts != 1 {
				t.Errorf("it is %s, incarnation %d; a restart that failed is followed by those of its policy", got.Phase, got.Incarnation)
			}
		})
	}
}

// TestAnAgentThatCannotBeVerifiedIsNotAdded: also where it served for a while.
func TestAnAgentThatCannotBeVerifiedIsNotAdded(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 5}), agent("a", "root"))
	add := func(token string) {
		b.took()
		b.do(Input{Kind: Order, Command: CmdAdd, Node: "x", Token: token, Spec: agent("x", "root", verifying)})
		b.beat("x")
	}
	add("t1")
	b.crash("x")
	if got := b.took(); got != "add x, start x, reply unverified, remove x" {
		t.Error(got)
	}
	add("t2")
	b.verify("x")
	if got := b.took(); got != "add x, start x, reply ok, running x" {
		t.Error(got)
	}
	b.crash("x")
	b.wantPhase("a", Running)
	if got := b.state("a"); got.Incarnation != 2 {
		t.Errorf("a is not restarted with its group, which x is a member of now: incarnation %d", got.Incarnation)
	}
}

func TestAnOrderAboutASupervisorIsDoneWhenAllBelowIsVerified(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then  func(b *bench)
		reply string
	}{
		"all are verified":           {func(b *bench) { b.verify("b", "c") }, "t: ok: "},
		"one does not beat":          {func(b *bench) { b.verify("b") }, ""},
		"one is terminated":          {func(b *bench) { b.verify("b"); b.do(Input{Kind: Order, Command: CmdTerminate, Node: "c"}) }, "t: ok: "},
		"one ends":                   {func(b *bench) { b.beat("b"); b.crash("b") }, "t: unverified: b could not be verified: crash"},
		"one cannot be started":      {func(b *bench) { b.crash("c") }, "t: unverified: c could not be verified: crash"},
		"one fails after another is": {func(b *bench) { b.verify("b"); b.crash("c") }, "t: unverified: c could not be verified: crash"},
		"a verified one ends":        {func(b *bench) { b.verify("b"); b.crash("b") }, "t: unverified: b could not be verified: crash"},
		"one is lost and back":       {func(b *bench) { b.verify("b"); b.do(Input{Kind: Lost, Node: "c", Incarnation: 2}); b.verify("c") }, "t: ok: "},
		"it is stopped":              {func(b *bench) { b.do(Input{Kind: Order, Command: CmdTerminate, Node: "g"}) }, "t: superseded: terminate"},
		"its supervisor is stopped":  {func(b *bench) { b.do(Input{Kind: Order, Command: CmdTerminate, Node: "root"}) }, "t: superseded: a stop of its supervisor"},
		"one is moved away": {func(b *bench) {
			b.verify("b")
			b.beat("c")
			b.do(Input{Kind: Order, Command: CmdMove, Node: "s", To: "root"})
		}, "t: ok: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
				sup("g", "root", Supervisor{MaxRestarts: 5}), agent("a", "g"), agent("b", "g", verifying),
				sup("s", "g", Supervisor{MaxRestarts: 5}), agent("c", "s", verifying), agent("z", "root", verifying))
			b.verify("b", "c", "z")
			b.do(Input{Kind: Order, Command: CmdRestart, Node: "g", Token: "t"})
			b.crash("z") // which is a stranger
			b.tree = roundTrip(t, b.tree, Options{})
			if got := b.lastReply(); got != "" {
				t.Errorf("answered before all is verified: %s", got)
			}
			c.then(b)
			if got := b.lastReply(); got != c.reply {
				t.Errorf("answered %q, want %q", got, c.reply)
			}
		})
	}
}

// TestWhatDependsOnAnAgentNeedNotWaitForItsVerification: a group goes on with the
// next member when one beats.
func TestWhatDependsOnAnAgentNeedNotWaitForItsVerification(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 5}), agent("a", "root", verifying), agent("b", "root", verifying))
	b.wantPhase("b", Idle)
	b.beat("a")
	b.wantPhase("a", Stabilising)
	b.wantPhase("b", Verifying)
	b.verify("b")
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "root", Token: "t"})
	b.beat("a")
	b.beat("b")
	b.wantPhase("root", Running)
	if got := b.lastReply(); got != "" {
		t.Errorf("the group is up and not verified: %s", got)
	}
	b.after(2 * time.Second)
	if got := b.lastReply(); got != "t: ok: " {
		t.Error(got)
	}
}

// TestASupervisorThatCoolsOffIsNotUp: it ended before all below it was verified.
func TestASupervisorThatCoolsOffIsNotUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
		sup("g", "root", Supervisor{MaxRestarts: 0, Escalation: CoolOff, CoolOff: time.Hour}), agent("a", "g", verifying))
	b.verify("a")
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "g", Token: "t"})
	b.crash("a")
	b.wantPhase("g", Waiting)
	if got := b.lastReply(); got != "t: unverified: a could not be verified: crash" {
		t.Error(got)
	}
}
