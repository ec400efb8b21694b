package tree

import "testing"

// A service that is started again while what it was stopped with still runs starts at
// once all that is down and does not depend on that.
func TestWhatStillStopsHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	specs := func() []*Spec {
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 9}),
			sup("web", "root", Supervisor{MaxRestarts: 9}), agent("slow", "web"), agent("ok", "web"), agent("kept", "web"),
			agent("job", "web", func(s *Spec) { s.Restart = Transient }),
			sup("group", "root", Supervisor{MaxRestarts: 9, Strategy: OneForAll}), agent("first", "group"), agent("second", "group"),
			sup("other", "root", Supervisor{MaxRestarts: 9}), agent("far", "other"),
		}
	}
	b := newBench(t, specs()...)
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "kept", Token: "t"})
	b.do(Input{Kind: Exited, Node: "job", Incarnation: 1, Normal: true, Reason: "completed"})
	stop := func(token string) {
		b.raw(Input{Kind: Order, Command: CmdClose, Node: "root", Token: token})
		for _, a := range []string{"far", "ok", "second"} {
			b.raw(Input{Kind: Stopped, Node: a, Incarnation: b.state(a).Incarnation})
		}
		b.equal("stopping", b.stopping(), "first group root slow web")
	}
	stop("c")
	b.raw(Input{Kind: Configure, Keep: true, Boot: true})
	b.equal("what still stops", b.stopping(), "first group slow")
	b.equal("the order to stop", b.lastReply(), "c: superseded: another start of the service")
	b.wantPhase("far", Starting)
	b.wantPhase("ok", Starting)
	b.wantPhase("second", Idle)
	b.started("far", "ok")
	b.wantPhase("other", Running)

	again, err := Load(Options{}, b.tree.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	b.tree = again // as a successor knows it
	b.do(Input{Kind: Stopped, Node: "slow", Incarnation: 1})
	b.do(Input{Kind: Stopped, Node: "first", Incarnation: 1})
	for _, n := range []string{"root", "web", "group", "slow", "first", "second"} {
		b.wantPhase(n, Running)
	}
	b.equal("kept", b.state("kept").End, EndTerminated)
	b.equal("job", b.state("job").End, EndFinished)

	// A stop that comes meanwhile is one of everything.
	stop("again")
	b.raw(Input{Kind: Configure, Keep: true, Boot: true})
	b.raw(Input{Kind: Order, Command: CmdClose, Node: "root", Token: "d"})
	for _, a := range []string{"far", "ok"} {
		b.raw(Input{Kind: Stopped, Node: a, Incarnation: b.state(a).Incarnation})
	}
	b.raw(Input{Kind: Stopped, Node: "first", Incarnation: b.state("first").Incarnation})
	b.raw(Input{Kind: Stopped, Node: "slow", Incarnation: b.state("slow").Incarnation})
	b.wantPhase("root", Idle)
	b.equal("the order to stop", b.lastReply(), "d: ok: with the service")
}
