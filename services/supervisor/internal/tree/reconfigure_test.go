package tree

import (
	"slices"
	"testing"
	"time"
)

// These were found by simulation: configurations that come in the middle of
// something.

func slow(t *testing.T, specs ...*Spec) *bench {
	b := &bench{t: t, tree: New(Options{}), now: epoch}
	b.raw(Input{Kind: Configure, Specs: specs, Boot: true})
	return b
}

func (b *bench) started(agents ...string) {
	b.t.Helper()
	for _, a := range agents {
		b.raw(Input{Kind: Started, Node: a, Incarnation: b.state(a).Incarnation})
	}
}

func TestBootEndsAsItBegan(t *testing.T) {
	t.Parallel()
	with := func(s Strategy) []*Spec {
		return []*Spec{sup("root", "", Supervisor{MaxRestarts: 3}), sup("s", "root", Supervisor{Strategy: s, MaxRestarts: 3}), agent("a", "s"), agent("b", "s")}
	}
	t.Run("together", func(t *testing.T) {
		t.Parallel()
		b := slow(t, with(OneForOne)...)
		b.raw(Input{Kind: Configure, Specs: with(RestForOne)})
		b.started("a", "b")
		b.wantPhase("s", Running)
		b.wantPhase("root", Running)
	})
	t.Run("together, and one fails", func(t *testing.T) {
		t.Parallel()
		b := slow(t, with(OneForOne)...)
		b.raw(Input{Kind: Configure, Specs: with(RestForOne)})
		b.started("a")
		b.do(Input{Kind: StartFailed, Node: "b", Incarnation: 1, Reason: "no such program"})
		b.wantPhase("b", Running)
		b.wantPhase("s", Running)
		b.wantPhase("root", Running)
	})
	t.Run("in turn", func(t *testing.T) {
		t.Parallel()
		b := slow(t, with(RestForOne)...)
		b.raw(Input{Kind: Configure, Specs: with(OneForOne)})
		b.started("a", "b")
		b.wantPhase("b", Running)
		b.wantPhase("s", Running)
		b.wantPhase("root", Running)
	})
}

func TestGroupRestartKeepsItsOrder(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 3, Period: time.Minute})
	a, b2 := agent("a", "root"), agent("b", "root")
	b := newBench(t, root, a, b2)
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
	b.wantPhase("b", Stopping)
	b.do(Input{Kind: Configure, Specs: []*Spec{root, b2, a}})
	b.do(Input{Kind: Stopped, Node: "b", Incarnation: 1})
	b.wantPhase("a", Running)
	b.wantPhase("b", Running)
	b.do(Input{Kind: Configure, Specs: []*Spec{root, b2, a}})
	if got := b.tree.Children("root"); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("configured again in peace, the order is %v", got)
	}
}

// What an operation that is broken off leaves to be started does not depend on
// the strategy staying the same, nor on the child whose start failed.
func TestRestOfABrokenOffBootStarts(t *testing.T) {
	t.Parallel()
	with := func(s Strategy) []*Spec {
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 3}), sup("s", "root", Supervisor{Strategy: s, MaxRestarts: 3}),
			agent("a", "s"), agent("b", "s"), agent("c", "s", func(s *Spec) { s.Restart = Temporary }),
		}
	}
	fails := Input{Kind: StartFailed, Node: "a", Incarnation: 1, Reason: "no such program"}
	suspend := Input{Kind: Order, Command: CmdSuspend, Node: "s"}
	resume := Input{Kind: Order, Command: CmdResume, Node: "s"}
	for _, c := range []struct {
		name   string
		inputs []Input
		// gone tells that child a is no more at the end.
		gone bool
	}{
		{"another strategy before the failure", []Input{{Kind: Configure, Specs: with(OneForOne)}, fails}, false},
		{"another strategy while suspended", []Input{suspend, fails, {Kind: Configure, Specs: with(OneForOne)}, resume}, false},
		{"the failed child is removed while suspended", []Input{suspend, fails, {Kind: Order, Command: CmdRemove, Node: "a"}, resume}, true},
		{"nothing else happens while suspended", []Input{suspend, fails, resume}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := slow(t, with(OneForAll)...)
			for _, in := range c.inputs {
				b.do(in)
			}
			again, err := Load(Options{}, b.tree.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			b.tree = again // as a successor knows it
			b.after(0)
			if b.tree.Has("a") == c.gone {
				t.Errorf("a is there: %t", !c.gone)
			}
			for _, id := range b.tree.Children("s") {
				b.wantPhase(id, Running)
			}
		})
	}
}

// An end that a suspended supervisor has yet to deal with does not bring back a
// child that the operator terminated meanwhile.
func TestTerminatedWhileSuspendedStaysDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 3}), agent("a", "root"))
	b.do(Input{Kind: Order, Command: CmdSuspend, Node: "root"})
	b.crash("a")
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
	b.do(Input{Kind: Order, Command: CmdResume, Node: "root"})
	b.after(time.Minute)
	b.wantPhase("a", Idle)
}

// A node that is about to be removed and is configured again stays.
func TestConfiguredAgainWhileItIsRemoved(t *testing.T) {
	t.Parallel()
	root, a := sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 3, Period: time.Minute}), agent("a", "root")
	with, without := []*Spec{root, a, agent("b", "root")}, []*Spec{root, a}
	t.Run("while it is stopped", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, with...)
		b.raw(Input{Kind: Configure, Specs: without})
		b.wantPhase("b", Stopping)
		b.raw(Input{Kind: Configure, Specs: with})
		b.do(Input{Kind: Stopped, Node: "b", Incarnation: 1})
		b.wantPhase("b", Running)
		b.equal("incarnation", b.state("b").Incarnation, uint64(2))
	})
	t.Run("before it is stopped", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, with...)
		b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"}) // the group is being restarted
		for range 3 {
			b.raw(Input{Kind: Configure, Specs: without})
		}
		b.raw(Input{Kind: Configure, Specs: with})
		b.do(Input{Kind: Stopped, Node: "b", Incarnation: 1})
		b.wantPhase("b", Running)
		b.wantPhase("a", Running)
		if c := b.state("b").Command; c != nil {
			t.Errorf("a command is left over: %+v", c)
		}
	})
	t.Run("and its supervisor stops meanwhile", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, with...)
		b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
		b.raw(Input{Kind: Configure, Specs: without})
		b.raw(Input{Kind: Order, Command: CmdRestart, Node: "root"})
		b.do(Input{Kind: Stopped, Node: "b", Incarnation: 1})
		b.wantPhase("a", Running)
		b.equal("it is removed", b.tree.Has("b"), false)
	})
	t.Run("and it ends by itself meanwhile", func(t *testing.T) {
		t.Parallel()
		for _, restart := range []Restart{Temporary, Transient} {
			root, a := sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 3, Period: time.Minute}), agent("a", "root", func(s *Spec) { s.Restart = restart })
			b := slow(t, root, a, agent("b", "root"))
			b.raw(Input{Kind: Configure, Specs: []*Spec{root, agent("b", "root")}})
			b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Normal: true, Reason: "done"})
			b.started("b")
			b.wantPhase("root", Running)
			b.equal(string(restart)+" is there", b.tree.Has("a"), false)
		}
	})
	t.Run("with its supervisor", func(t *testing.T) {
		t.Parallel()
		s, c := sup("s", "root", Supervisor{MaxRestarts: 3, Period: time.Minute}), agent("c", "s")
		b := newBench(t, root, a, s, c)
		b.raw(Input{Kind: Configure, Specs: without})
		b.raw(Input{Kind: Configure, Specs: []*Spec{root, a, s, c}})
		b.do(Input{Kind: Stopped, Node: "c", Incarnation: 1})
		b.wantPhase("s", Running)
		b.wantPhase("c", Running)
	})
	t.Run("by another count", func(t *testing.T) {
		t.Parallel()
		instance := func(i int) *Spec {
			return agent(Instance("p", i), "root", func(s *Spec) { s.Template, s.Index, s.Instances = "p", i, 2 })
		}
		b := newBench(t, root, instance(1), instance(2))
		b.raw(Input{Kind: Order, Command: CmdScale, Node: "p", Count: 1})
		b.wantPhase("p-2", Stopping)
		b.raw(Input{Kind: Order, Command: CmdScale, Node: "p", Count: 2})
		b.do(Input{Kind: Stopped, Node: "p-2", Incarnation: 1})
		b.wantPhase("p-2", Running)
	})
}
