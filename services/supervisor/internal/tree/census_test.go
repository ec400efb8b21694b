package tree

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

func TestCensus(t *testing.T) {
	t.Parallel()
	slow := func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second} }
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
		agent("a", "root"), agent("waits", "root", slow), agent("ended", "root"),
		agent("done", "root", func(s *Spec) { s.Restart = Transient }),
		sup("iso", "root", Supervisor{Escalation: Isolate, CoolOff: time.Minute}), agent("apart", "iso"),
		sup("term", "root", Supervisor{Escalation: Terminate}), agent("c", "term"), agent("d", "term"))
	if got := b.tree.Census(); got != (Census{}) {
		t.Errorf("when all is well: %+v", got)
	}
	b.crash("waits")
	b.crash("apart")
	b.crash("c")
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "ended"})
	b.do(Input{Kind: Exited, Node: "done", Incarnation: 1, Normal: true})
	if got, want := b.tree.Census(), (Census{Isolated: 1, GaveUp: 1, Waiting: 1, Down: 4}); got != want {
		t.Errorf("%+v, want %+v; done: %v", got, want, b.done)
	}
	// Those of a group wait together, but for one before them and one that is kept
	// down.
	b = newBench(t, sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 5}),
		agent("first", "root"), agent("a", "root", slow), agent("b", "root"), agent("kept", "root"))
	b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "exited with code 7"})
	if got, want := b.tree.Census(), (Census{Waiting: 3, Down: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "kept"})
	if got, want := b.tree.Census(), (Census{Waiting: 2, Down: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestCensusOfCompleted: whether an agent is missing depends on what becomes of it,
// not on how it ended.
func TestCensusOfCompleted(t *testing.T) {
	t.Parallel()
	slow := func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second} }
	children := func() []*Spec {
		return []*Spec{
			agent("permanent", "root", slow),
			agent("transient", "root", slow, func(s *Spec) { s.Restart = Transient }),
			agent("temporary", "root", slow, func(s *Spec) { s.Restart = Temporary }),
		}
	}
	for _, normal := range []bool{true, false} {
		again, down := 2, 3 // what was temporary and failed is not started again
		if normal {
			again, down = 1, 1
		}
		for name, c := range map[string]struct {
			root    Supervisor
			suspend bool
			want    Census
		}{
			"waiting":   {Supervisor{MaxRestarts: 5}, false, Census{Waiting: again, Down: down}},
			"isolated":  {Supervisor{Escalation: Isolate, CoolOff: time.Minute}, false, Census{Isolated: again, Down: down}},
			"suspended": {Supervisor{MaxRestarts: 5}, true, Census{Down: down}},
		} {
			b := newBench(t, append([]*Spec{sup("root", "", c.root)}, children()...)...)
			if c.suspend {
				b.do(Input{Kind: Order, Command: CmdSuspend, Node: "root"})
			}
			for _, s := range children() {
				b.do(Input{Kind: Exited, Node: s.ID, Incarnation: 1, Normal: normal, Reason: "ended"})
			}
			if got := b.tree.Census(); got != c.want {
				t.Errorf("%s, all of them after normal ends: %t: %+v, want %+v", name, normal, got, c.want)
			}
		}
	}
}

// TestCensusOfGiveUps: a supervisor whose parent leaves it down after it exceeded its
// limit gave up like one whose escalation is terminate. One that shut down by its
// auto_shutdown did not, nor one that its parent starts again.
func TestCensusOfGiveUps(t *testing.T) {
	t.Parallel()
	for restart, want := range map[Restart]int{Permanent: 0, Transient: 1, Temporary: 1} {
		typed := func(s *Spec) { s.Restart = restart }
		s, auto := sup("s", "root", Supervisor{}), sup("auto", "root", Supervisor{AutoShutdown: AnySignificant})
		typed(s)
		typed(auto)
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), s, agent("a", "s"), auto,
			agent("sig", "auto", func(s *Spec) { s.Restart, s.Significant = Temporary, true }))
		b.crash("a")
		b.crash("sig")
		if got := b.tree.Census(); got.GaveUp != want {
			t.Errorf("%s: %+v, want %d that gave up", restart, got, want)
		}
	}
}
