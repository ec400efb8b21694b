package tree

import (
	"slices"
	"testing"
)

// TestTerminatedStaysDown: what an operator terminated is started by nothing but an
// operator's order, about it or a supervisor above it. In OTP it comes back with
// its group and with its supervisor.
func TestTerminatedStaysDown(t *testing.T) {
	t.Parallel()
	order := func(c CommandKind, node string) func(*bench) {
		return func(b *bench) { b.do(Input{Kind: Order, Command: c, Node: node}) }
	}
	specs := func(change ...func(*Spec)) []*Spec {
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 1}),
			agent("a", "g"), agent("b", "g", change...), sup("h", "g", Supervisor{MaxRestarts: 1}), agent("c", "h", change...),
		}
	}
	temporary := func(s *Spec) { s.Restart = Temporary }
	restart := func(b *bench) {
		order(CmdClose, "root")(b)
		b.tree = roundTrip(t, b.tree, b.tree.opt)
		b.do(Input{Kind: Configure, Specs: specs(), Boot: true})
	}
	for name, c := range map[string]struct {
		then func(*bench)
		// up: the agents b and c, and the supervisor h, which were terminated, run
		// after it; as in OTP: they do with its options.
		b, c, h, otp bool
	}{
		"its group restarts":              {then: func(b *bench) { b.crash("a") }, otp: true},
		"its supervisor gives up":         {then: func(b *bench) { b.crash("a"); b.crash("a") }, otp: true},
		"the root stops and starts":       {then: restart, otp: true},
		"it is configured otherwise":      {then: func(b *bench) { b.do(Input{Kind: Configure, Specs: specs(func(s *Spec) { s.Agent.Build = "other" })}) }},
		"it becomes temporary":            {then: func(b *bench) { b.do(Input{Kind: Configure, Specs: specs(temporary)}); b.crash("a") }, otp: true},
		"it is moved":                     {then: func(b *bench) { b.do(Input{Kind: Order, Command: CmdMove, Node: "b", To: "root"}) }},
		"all is rolled":                   {then: func(b *bench) { b.do(Input{Kind: Order, Command: CmdRoll, Node: "root", Count: 9}) }},
		"it is started":                   {then: order(CmdStart, "b"), b: true},
		"it is restarted":                 {then: order(CmdRestart, "b"), b: true},
		"its supervisor is restarted":     {then: order(CmdRestart, "h"), c: true, h: true},
		"the supervisor above it, too":    {then: order(CmdRestart, "g"), b: true, c: true, h: true, otp: true},
		"the whole tree":                  {then: order(CmdRestart, "root"), b: true, c: true, h: true, otp: true},
		"its supervisor is stopped first": {then: func(b *bench) { order(CmdTerminate, "g")(b); order(CmdStart, "g")(b) }, b: true, c: true, h: true, otp: true},
		"the root is stopped first":       {then: func(b *bench) { order(CmdTerminate, "root")(b); order(CmdStart, "root")(b) }, b: true, c: true, h: true, otp: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, opt := range []Options{{}, {StartTerminated: true}} {
				b := &bench{t: t, tree: New(opt), now: epoch}
				b.do(Input{Kind: Configure, Boot: true, Specs: specs()})
				for _, id := range []string{"b", "c", "h"} {
					order(CmdTerminate, id)(b)
				}
				c.then(b)
				all := opt.StartTerminated && c.otp
				for id, want := range map[string]bool{"a": true, "b": c.b || all, "c": c.c || all, "h": c.h || all} {
					if got := b.state(id); (got.Phase == Running) != want || got.Phase == Idle && got.End != EndTerminated && id != "c" {
						t.Errorf("%+v: %s is %s (%s); done: %v", opt, id, got.Phase, got.End, b.done)
					}
				}
			}
		})
	}
}

// TestTerminatedAndLetGo: a mode is about what a supervisor may do, not about what
// an operator wants to run.
func TestTerminatedAndLetGo(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("a", "root"), agent("b", "root"))
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "b"})
	b.mode("b", Off)
	b.crash("a")
	b.mode("b", Enforce)
	b.crash("a")
	b.wantPhase("b", Idle)
}

// TestTerminatedTemporary: a configured temporary agent is started again by order;
// one that was added is removed by its termination, as by any end.
func TestTerminatedTemporary(t *testing.T) {
	t.Parallel()
	temporary := func(s *Spec) { s.Restart = Temporary }
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("a", "root"), agent("once", "root", temporary))
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "once"})
	b.crash("a")
	b.wantPhase("once", Idle)
	b.do(Input{Kind: Order, Command: CmdStart, Node: "once"})
	b.wantPhase("once", Running)
	b.do(Input{Kind: Order, Command: CmdAdd, Node: "added", Spec: agent("added", "root", temporary)})
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "added"})
	if b.tree.Has("added") {
		t.Error("it is still there")
	}
}

// TestTerminatedSaysWho: what happens around a terminated agent leaves the order as
// its cause, so that it can be told who gave it, and when.
func TestTerminatedSaysWho(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 1}), agent("a", "g"), agent("b", "g"))
	b.tree.Deciding("the order")
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "b", Token: "x", Chain: "x"})
	was := b.state("b")
	b.now = b.now.Add(1)
	b.tree.Deciding("later")
	b.crash("a")
	b.crash("a")
	b.do(Input{Kind: Order, Command: CmdClose, Node: "root"})
	b.do(Input{Kind: Configure, Keep: true, Boot: true})
	b.wantPhase("a", Running)
	if st := b.state("b"); st.Cause != "the order" || st.Chain != "x" || st.Since != was.Since || st.Why != was.Why {
		t.Errorf("%+v, was %+v", st, was)
	}
}

// TestSuspendedStaysSuspended: a suspension lasts until it is ended by order, also
// when its supervisor is started again by its parent.
func TestSuspendedStaysSuspended(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("z", "root"), sup("g", "root", Supervisor{MaxRestarts: 9}), agent("a", "g"))
	b.do(Input{Kind: Order, Command: CmdSuspend, Node: "g", Reason: "suspend: look", By: &Operator{User: "alice"}})
	b.crash("z")
	b.wantPhase("a", Running)
	b.crash("a")
	b.wantPhase("a", Ended)
	b.tree = roundTrip(t, b.tree, Options{})
	if o := b.state("g").Orders; o == nil || o.Suspension.Reason != "look" || o.Suspension.By.User != "alice" {
		t.Errorf("the order is %+v", o)
	}
	b.do(Input{Kind: Order, Command: CmdResume, Node: "g"})
	b.wantPhase("a", Running)
	b.do(Input{Kind: Order, Command: CmdSuspend, Node: "g"})
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "g"})
	b.equal("suspended", b.state("g").Supervisor.Suspended, false)
}

// A process of the supervisor that starts goes on with the tree: what had finished is
// not done again. It is when its supervisor starts for another reason.
func TestWhatHasFinishedOutlastsTheProcess(t *testing.T) {
	t.Parallel()
	specs := func(strategy Strategy) []*Spec {
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 9}), sup("s", "root", Supervisor{Strategy: strategy, MaxRestarts: 9}),
			agent("once", "s", func(s *Spec) { s.Restart = Temporary }), agent("job", "s", func(s *Spec) { s.Restart = Transient }), agent("works", "s"),
		}
	}
	for _, strategy := range []Strategy{OneForOne, OneForAll} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, specs(strategy)...)
			for _, id := range []string{"once", "job"} {
				b.do(Input{Kind: Exited, Node: id, Incarnation: 1, Normal: true, Reason: "completed"})
			}
			b.do(command(CmdClose, "root"))
			b.do(Input{Kind: Configure, Specs: specs(strategy), Boot: true})
			b.wantPhase("once", Gone)
			b.wantPhase("job", Idle)
			b.wantPhase("works", Running)
			b.do(command(CmdRestart, "s"))
			for _, id := range []string{"once", "job", "works"} {
				b.wantPhase(id, Running)
			}
		})
	}
}

// A tree that an operator has stopped stays down, whatever becomes of the supervisor's
// process; one that was stopped with the process starts with it.
func TestAStoppedTreeOutlastsTheProcess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		orders []CommandKind
		phase  Phase
	}{
		"the process ends":                      {[]CommandKind{CmdClose}, Running},
		"an operator stops it":                  {[]CommandKind{CmdTerminate}, Idle},
		"an operator, and then the process":     {[]CommandKind{CmdTerminate, CmdClose}, Idle},
		"an operator starts it, then it closes": {[]CommandKind{CmdTerminate, CmdRestart, CmdClose}, Running},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root")}
			b := newBench(t, specs...)
			for _, kind := range c.orders {
				b.do(command(kind, "root"))
			}
			for _, in := range []Input{{Kind: Configure, Keep: true, Boot: true}, {Kind: Configure, Specs: specs, Boot: true}} {
				b.do(in)
				b.wantPhase("a", c.phase)
			}
			b.do(Input{Kind: Order, Command: CmdRestart, Node: "root"})
			b.wantPhase("a", Running)
		})
	}
}

// A service that is killed while it stops its tree, and starts again, finds the tree
// amid the stop. That goes on, and then everything starts that an operator has not
// ended, whoever ordered what meanwhile.
func TestAStopThatIsCutShort(t *testing.T) {
	t.Parallel()
	specs := []*Spec{
		sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root"), agent("down", "root"), sup("g", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 9}),
		agent("b", "g"), agent("job", "g", func(s *Spec) { s.Restart = Transient }),
	}
	for name, c := range map[string]struct {
		before, after []CommandKind
		phase         Phase
	}{
		"once":                             {phase: Running},
		"an operator stops it before":      {before: []CommandKind{CmdTerminate}, phase: Idle},
		"an operator stops it after":       {after: []CommandKind{CmdTerminate}, phase: Idle},
		"an operator restarts it after":    {after: []CommandKind{CmdRestart}, phase: Running},
		"the next process is stopped, too": {after: []CommandKind{CmdClose}, phase: Idle},
	} {
		for _, again := range []Input{{Kind: Configure, Keep: true, Boot: true}, {Kind: Configure, Specs: specs, Boot: true}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, specs...)
				b.do(command(CmdTerminate, "down"))
				b.do(Input{Kind: Exited, Node: "job", Incarnation: 1, Normal: true, Reason: "completed"})
				for _, kind := range c.before {
					b.raw(command(kind, "root"))
				}
				b.raw(command(CmdClose, "root"))
				b.wantPhase("a", Stopping)
				b.raw(again)
				b.raw(again) // it may be cut short more than once
				for _, kind := range c.after {
					b.raw(Input{Kind: Order, Command: kind, Node: "root", Token: "after"})
				}
				for _, id := range []string{"a", "b"} {
					b.do(Input{Kind: Stopped, Node: id, Incarnation: 1})
				}
				b.wantPhase("a", c.phase)
				b.wantPhase("b", c.phase)
				if name == "once" {
					b.wantPhase("job", Idle)
				}
				if !slices.Contains(c.after, CmdRestart) {
					b.wantPhase("down", Idle)
				}
			})
		}
	}
}
