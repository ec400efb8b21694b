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
	b.do(Input{Kind: Order, Command: TerminateIt, Node: "ended"})
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
	b.do(Input{Kind: Order, Command: TerminateIt, Node: "kept"})
	if got, want := b.tree.Census(), (Census{Waiting: 2, Down: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
