package tree

import (
	"strings"
	"testing"
)

// TestGoneIsStartedByOrder: a configured temporary child that ended, an agent or a
// supervisor, is a node like others to operators. OTP has deleted it.
func TestGoneIsStartedByOrder(t *testing.T) {
	t.Parallel()
	temporary := func(s *Spec) { s.Restart = Temporary }
	for _, strategy := range []Strategy{OneForOne, OneForAll} {
		for _, opt := range []Options{{}, OTP()} {
			for _, c := range []struct {
				kind  CommandKind
				gone  string
				phase Phase
			}{
				{CmdStart, "job", Running},
				{CmdRestart, "job", Running},
				{CmdTerminate, "job", Idle},
				{CmdStart, "grp", Running},
				{CmdRestart, "grp", Running},
				{CmdTerminate, "grp", Idle},
			} {
				b := &bench{t: t, tree: New(opt), now: epoch}
				grp := sup("grp", "root", Supervisor{})
				temporary(grp)
				b.do(Input{Kind: Configure, Boot: true, Specs: []*Spec{
					sup("root", "", Supervisor{Strategy: strategy, MaxRestarts: 9}), agent("job", "root", temporary), grp, agent("a", "grp"),
				}})
				b.crash("job")
				b.crash("a")
				b.wantPhase("job", Gone)
				b.wantPhase("grp", Gone)
				if st := b.state("grp"); !st.End.Failed() {
					t.Fatalf("grp ended as %q", st.End)
				}
				b.tree = roundTrip(t, b.tree, opt)
				b.took()
				b.do(command(c.kind, c.gone))
				want, result := c.phase, OK
				if opt.StartTerminated {
					want, result = Gone, NotFound
				}
				if got := b.state(c.gone); got.Phase != want || want == Idle && got.End != EndTerminated {
					t.Errorf("%s, %+v: %s of %s: it is %s (%s)", strategy, opt, c.kind, c.gone, got.Phase, got.End)
				}
				if done := b.took(); !strings.Contains(done, "reply "+string(result)) {
					t.Errorf("%s, %+v: %s of %s: %s; want the reply %s", strategy, opt, c.kind, c.gone, done, result)
				}
				if c.gone == "grp" && want == Running {
					b.wantPhase("a", Running)
				}
			}
		}
	}
}

// TestGoneComesWithItsGroup: one that is started while its group waits comes up with
// the group.
func TestGoneComesWithItsGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("a", "root", delayed),
		agent("job", "root", func(s *Spec) { s.Restart = Temporary }))
	b.crash("job")
	b.crash("a")
	b.wantPhase("a", Idle)
	b.do(command(CmdRestart, "job"))
	b.wantPhase("a", Running)
	b.wantPhase("job", Running)
}

// TestOrderBelowWhatIsDown: an order below a supervisor that is down is refused with
// how that came and what starts it.
func TestOrderBelowWhatIsDown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		escalation Escalation
		restart    Restart
		then       func(*bench)
		want       string
	}{
		"gave up":             {Terminate, Permanent, func(b *bench) { b.crash("a") }, "its supervisor s has given up; smith child restart s starts it"},
		"transient":           {"", Transient, func(b *bench) { b.crash("a") }, "its supervisor s has given up; smith child restart s starts it"},
		"temporary":           {"", Temporary, func(b *bench) { b.crash("a") }, "its supervisor s has given up; smith child restart s starts it"},
		"cools off":           {CoolOff, Permanent, func(b *bench) { b.crash("a") }, "its supervisor s waits for its restart; smith child restart s starts it"},
		"terminated":          {"", Permanent, func(b *bench) { b.do(command(CmdTerminate, "s")) }, "its supervisor s is terminated; smith child restart s starts it"},
		"the root is, too":    {"", Permanent, func(b *bench) { b.do(command(CmdTerminate, "s")); b.do(command(CmdTerminate, "root")) }, "its supervisor s is down with root, which is terminated; smith child restart root starts it"},
		"the root gave up":    {"", Permanent, func(b *bench) { b.crash("a"); b.crash("a") }, "its supervisor s is down with root, which has given up; smith child restart root starts it"},
		"auto_shutdown":       {"", Transient, func(b *bench) { b.crash("sig") }, "its supervisor s has finished; smith child restart s starts it"},
		"it is being stopped": {"", Permanent, func(b *bench) { b.raw(command(CmdTerminate, "s")) }, "its supervisor s is stopping; try again when it is down or runs again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sup("s", "root", Supervisor{Escalation: c.escalation, CoolOff: 9e9, AutoShutdown: AnySignificant})
			s.Restart = c.restart
			b := newBench(t, sup("root", "", Supervisor{Escalation: ToParent, MaxRestarts: 1}), s, agent("a", "s"),
				agent("sig", "s", func(s *Spec) { s.Restart, s.Significant = Temporary, true }))
			c.then(b)
			if out := b.raw(command(CmdRestart, "a")); len(out) != 1 || out[0].Result != NoSupervisor || out[0].Reason != c.want {
				t.Errorf("%+v, want %q", out, c.want)
			}
		})
	}
}

// TestGaveUpSaysWhy: the reason of a supervisor that gave up says which child made it.
func TestGaveUpSaysWhy(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 1, Escalation: ToParent}), sup("s", "root", Supervisor{Escalation: Terminate}), agent("a", "s"), agent("b", "root"))
	b.crash("a")
	b.crash("b")
	b.crash("b")
	b.equal("s", b.state("s").Why, "gave up: restart limit exceeded by child a: crash")
	b.equal("root", b.state("root").Why, "gave up: restart limit exceeded by child b: crash")
}
