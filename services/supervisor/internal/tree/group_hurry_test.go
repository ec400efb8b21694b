package tree

import (
	"testing"
	"time"
)

// A group waits no longer for the delay of a member that failed when that member is
// not to run any longer. The delays of others that failed count.
func TestAGroupWaitsForNoDelayThatNobodyHas(t *testing.T) {
	t.Parallel()
	strategy := OneForAll
	file := func(change ...func(*Spec)) []*Spec {
		wait := func(d time.Duration) func(*Spec) { return func(s *Spec) { s.Backoff.Delay = d } }
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{Strategy: strategy, MaxRestarts: 9}),
			agent("a", "g", wait(10*time.Second)), agent("b", "g", append(change, wait(time.Minute))...), agent("c", "g"),
		}
	}
	order := func(c CommandKind) func(b *bench) {
		return func(b *bench) { b.raw(Input{Kind: Order, Command: c, Node: "b", Token: "t"}) }
	}
	for name, ends := range map[string]func(b *bench){
		"terminated": order(CmdTerminate),
		"removed":    order(CmdRemove),
		"no longer configured": func(b *bench) {
			specs := file()
			b.apply(0, append(specs[:3:3], specs[4])...)
		},
		"to be left down": func(b *bench) { b.apply(0, file(func(s *Spec) { s.Restart = Temporary })...) },
		"not enforced": func(b *bench) {
			off := RolloutOf(Off)
			b.raw(Input{Kind: Order, Command: CmdMode, Node: "b", Mode: &off})
		},
	} {
		b := newBench(t, file()...)
		b.raw(Input{Kind: Exited, Node: "b", Incarnation: 1, Reason: "crash"})
		b.raw(Input{Kind: Stopped, Node: "c", Incarnation: 1})
		b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
		b.wantPhase("a", Idle)
		ends(b)
		b.after(0)
		b.equal(name+": a", b.state("a").Phase, Running)
		b.equal(name+": c", b.state("c").Phase, Running)

		b = newBench(t, file()...)
		b.raw(Input{Kind: Exited, Node: "b", Incarnation: 1, Reason: "crash"})
		ends(b)
		b.raw(Input{Kind: Stopped, Node: "c", Incarnation: 1})
		b.do(Input{Kind: Stopped, Node: "a", Incarnation: 1})
		b.equal(name+" while others are stopped: a", b.state("a").Phase, Running)

		strategy = RestForOne
		b = newBench(t, file()...)
		b.raw(Input{Kind: Exited, Node: "b", Incarnation: 1, Reason: "crash"})
		b.raw(Input{Kind: Stopped, Node: "c", Incarnation: 1})
		b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
		ends(b)
		b.after(0)
		b.wantPhase("c", Idle)
		b.after(10 * time.Second)
		b.equal(name+" when another failed: c", b.state("c").Phase, Running)
		strategy = OneForAll
	}
}
