package tree

import (
	"fmt"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

func TestOrders(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
		sup("s", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 5}),
		agent("a", "s", func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second} }), agent("b", "s"))
	b.took()
	for _, c := range []struct {
		cmd  CommandKind
		node string
		want string
	}{
		{CmdTerminate, "a", "stop a, reply ok"},
		{CmdStart, "a", "start a, reply ok, running a"},
		{CmdStart, "a", "reply running"},
		{CmdRestart, "a", "stop a, start a, reply ok, running a"},
		{CmdTerminate, "nobody", "reply not_found"},
		{CmdRemove, "root", "reply invalid"},
		{CmdTerminate, "s", "stop b, stop a, reply ok"},
		{CmdStart, "a", "reply no_supervisor"},
		{CmdRestart, "s", "boot s, start a, running a, start b, running b, reply ok"},
		{CmdDelete, "a", "reply running"},
		{CmdRemove, "s", "stop b, stop a, reply ok, remove b, remove a, remove s"},
		{CmdRestart, "s", "reply not_found"},
		{CmdTerminate, "root", "reply ok"},
		{CmdStart, "root", "boot root, reply ok"},
	} {
		b.do(Input{Kind: Order, Command: c.cmd, Node: c.node})
		if got := b.took(); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.cmd, c.node, got, c.want)
		}
	}
}

// TestOrdersAskedAgain: an order that is given again under its token, of a
// successor too, is carried out once and has one answer.
func TestOrdersAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root"), agent("b", "root"))
	b.took()
	restart := Input{Kind: Order, Command: CmdRestart, Node: "a", Token: "t1"}
	remove := Input{Kind: Order, Command: CmdRemove, Node: "b", Token: "t2"}
	again := func(what, want string) {
		t.Helper()
		for range 2 {
			b.raw(restart)
			b.raw(remove)
			if got := b.took(); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
			b.tree = roundTrip(t, b.tree, Options{})
		}
	}
	b.raw(restart)
	b.raw(remove)
	if got := b.took(); got != "stop a, stop b" {
		t.Error(got)
	}
	left := func(node string, c CommandKind) string { return fmt.Sprint(b.tree.Left(node, c)) }
	if a, all := left("a", CmdRestart), left("root", CmdTerminate); a != "1a" || all != "2a" {
		t.Errorf("left are %s and %s", a, all)
	}
	again("under way", "")
	b.do(Input{Kind: Stopped, Node: "a", Incarnation: 1})
	b.do(Input{Kind: Stopped, Node: "b", Incarnation: 1})
	if got := b.took(); got != "start a, reply ok, running a, reply ok, remove b" {
		t.Error(got)
	}
	if a, all := left("a", CmdRestart), left("root", CmdTerminate); a != "0" || all != "1a" {
		t.Errorf("left are %s and %s", a, all)
	}
	again("over", "reply ok, reply ok")
	for i := range maxAnswers {
		b.do(Input{Kind: Order, Command: CmdRestart, Node: "a", Token: fmt.Sprint("more-", i)})
	}
	if n := len(b.state("root").Supervisor.Answers); n != maxAnswers {
		t.Errorf("%d answers are kept", n)
	}
	b.took()
	b.raw(remove)
	if got := b.took(); got != "reply not_found" {
		t.Errorf("long after: %s", got)
	}
}

func TestTerminatingWhatWaitsLetsTheGroupComeBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 5}),
		agent("a", "root", func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second} }), agent("b", "root"))
	b.crash("a")
	b.wantPhase("b", Idle)
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
	b.after(time.Second)
	b.wantPhase("a", Idle)
	b.wantPhase("b", Running)
	b.crash("b")
	b.wantPhase("a", Idle) // an operator's order alone starts it
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "root"})
	b.wantPhase("a", Running)
}

func TestBusyCommandsWait(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 5}), agent("a", "root"), agent("b", "root"))
	b.took()
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"}) // b's stop is awaited
	b.raw(Input{Kind: Order, Command: CmdTerminate, Node: "b"})
	b.raw(Input{Kind: Order, Command: CmdRestart, Node: "b"})
	if got := b.took(); got != "restart a, group root, stop b, reply busy" {
		t.Error(got)
	}
	b.do(Input{Kind: Stopped, Node: "b", Incarnation: 1})
	if got := b.took(); got != "reply ok, start a, running a" {
		t.Error(got)
	}
	b.wantPhase("b", Idle)
}

func TestSuspension(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
		sup("s", "root", Supervisor{MaxRestarts: 5}), agent("a", "s"),
		agent("b", "s", func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second} }), agent("z", "root"))
	b.crash("b")
	b.took()
	b.do(Input{Kind: Order, Command: CmdSuspend, Node: "a"})
	b.do(Input{Kind: Order, Command: CmdSuspend, Node: "s"})
	b.after(time.Second)
	b.crash("a")
	b.crash("z")
	if got := b.took(); got != "reply invalid, reply ok, restart z, start z, running z" {
		t.Errorf("while suspended: %s", got)
	}
	b.do(Input{Kind: Order, Command: CmdResume, Node: "s"})
	b.after(0)
	if got := b.took(); got != "reply ok, restart a, start a, running a, start b, running b" {
		t.Errorf("resumed: %s", got)
	}
	b.do(Input{Kind: Order, Command: CmdSuspend, Node: "root"})
	b.crash("a")
	b.wantPhase("a", Ended)
	b.tree = roundTrip(t, b.tree, Options{})
	b.do(Input{Kind: Order, Command: CmdResume, Node: "root"})
	b.wantPhase("a", Running)
}
