package tree

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// TestUnsteady: a node that failed is unsteady while it comes up, and until it has
// run for its reset time, or for its supervisor's period without one.
func TestUnsteady(t *testing.T) {
	t.Parallel()
	const reset = 30 * time.Second
	resets := func(s *Spec) { s.Backoff = backoff.Delays{Reset: reset} }
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 50}), agent("a", "root", resets), agent("never", "root"),
		sup("group", "root", Supervisor{MaxRestarts: 50, Strategy: OneForAll}), agent("x", "group", resets), agent("y", "group", resets))
	want := func(what, id string, restarts int, why string, steady time.Duration) {
		t.Helper()
		u, ok := b.tree.Unsteady(id, b.now)
		if ok != (restarts > 0) || ok && (u.Restarts != restarts || u.Why != why) {
			t.Errorf("%s: %s: %+v, %t", what, id, u, ok)
		}
		if ok && (steady == 0) != (u.Steady == 0) || steady > 0 && u.Steady != b.now.Add(steady) {
			t.Errorf("%s: %s is steady at %d, now is %d", what, id, u.Steady, b.now)
		}
	}
	agents := func(what string, count int, until time.Duration) {
		t.Helper()
		n, at := b.tree.UnsteadyAgents(b.now)
		if n != count || until > 0 && at != b.now.Add(until) || until == 0 && at != 0 {
			t.Errorf("%s: %d agents until %d, now is %d", what, n, at, b.now)
		}
	}
	for _, id := range []string{"a", "never", "x", "group", "root", "none"} {
		want("at first", id, 0, "", 0)
	}
	agents("at first", 0, 0)
	b.crash("a")
	want("after a crash", "a", 1, "crash", reset)
	b.after(2 * time.Second)
	b.crash("a")
	b.after(10 * time.Second)
	want("after two crashes", "a", 2, "crash", 20*time.Second)
	b.crash("never")
	want("without a reset time", "never", 1, "crash", time.Minute)
	agents("two", 2, 20*time.Second)
	b.after(20 * time.Second)
	want("when it has run long enough", "a", 0, "", 0)
	agents("one", 1, 40*time.Second)
	b.crash("a")
	want("the first again", "a", 1, "crash", reset)
	b.after(time.Minute)
	agents("none", 0, 0)

	// Its siblings in a group were stopped with it and are well.
	b.crash("x")
	want("a member that failed", "x", 1, "crash", reset)
	want("its sibling", "y", 0, "", 0)
	b.after(time.Minute)
	b.crash("y")
	want("a member that failed long ago and is stopped with its group", "x", 0, "", 0)
	want("the other", "y", 1, "crash", reset)

	// An order forgets.
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "y"})
	want("after an order", "y", 0, "", 0)
	b.crash("a")
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
	want("terminated", "a", 0, "", 0)

	// While it comes up, nothing is proven.
	b = newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root", resets))
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
	b.wantPhase("a", Starting)
	b.now = b.now.Add(time.Hour)
	want("while it starts", "a", 1, "crash", 0)
	agents("one that starts", 1, 0)

	// An agent in a crash loop counts all the time, whatever it is at.
	slow := func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second, Reset: reset} }
	for _, strategy := range []Strategy{OneForOne, OneForAll} {
		b = newBench(t, sup("root", "", Supervisor{MaxRestarts: 50, Strategy: strategy}), agent("a", "root", slow), agent("b", "root", slow))
		for range 3 {
			b.crash("a")
			agents(string(strategy)+": waits", 1, 0)
			b.now = b.now.Add(time.Second)
			b.raw(Input{Kind: Tick})
			b.wantPhase("a", Starting)
			agents(string(strategy)+": starts", 1, 0)
			b.raw(Input{Kind: Started, Node: "a", Incarnation: b.state("a").Incarnation})
			b.raw(Input{Kind: Started, Node: "b", Incarnation: b.state("b").Incarnation})
			agents(string(strategy)+": runs", 1, reset)
			b.raw(Input{Kind: Failed, Node: "a", Incarnation: b.state("a").Incarnation, Reason: "hangs"})
			agents(string(strategy)+": is being killed", 1, 0)
			b.do(Input{Kind: Stopped, Node: "a", Incarnation: b.state("a").Incarnation})
			agents(string(strategy)+": is killed", 1, 0)
			b.after(time.Second)
		}
		b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
		agents(string(strategy)+": is terminated", 0, 0)
	}
	b = newBench(t, sup("root", "", Supervisor{Escalation: Isolate, CoolOff: time.Minute}), agent("a", "root", resets))
	b.crash("a")
	b.wantPhase("a", Isolated)
	agents("is set apart", 1, 0)

	// A supervisor that its parent restarts.
	b = newBench(t, sup("root", "", Supervisor{MaxRestarts: 5, Strategy: OneForAll}), sup("s", "root", Supervisor{}), agent("a", "s"), agent("b", "root"))
	b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash", Event: "e1"})
	want("a supervisor", "s", 1, "restart limit exceeded by child a: crash", time.Minute)
	b.after(time.Hour)
	b.do(Input{Kind: Exited, Node: "b", Incarnation: 2, Reason: "crash", Event: "e2"})
	want("a supervisor that failed long ago and is stopped with its group", "s", 0, "", 0)
}
