package tree

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

func TestBackoffIsAStateAndResets(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 100}),
		agent("a", "root", func(s *Spec) {
			s.Backoff = backoff.Delays{Type: backoff.Exponential, Delay: time.Second, Base: 2, Reset: time.Minute}
		}))
	for _, want := range []time.Duration{1, 2, 4} {
		b.crash("a")
		b.wantPhase("a", Waiting)
		if due, _ := b.tree.Next(); due != b.now.Add(want*time.Second) {
			t.Fatalf("due in %s, want %d s", time.Duration(due-b.now), want)
		}
		b.after(want*time.Second - 1)
		b.wantPhase("a", Waiting)
		b.after(1)
		b.wantPhase("a", Running)
	}
	b.now = b.now.Add(time.Minute)
	b.crash("a")
	if due, _ := b.tree.Next(); due != b.now.Add(time.Second) {
		t.Errorf("after a stable minute it waits %s, want 1 s", time.Duration(due-b.now))
	}
}

func TestGroupWaitsTheLongestDelay(t *testing.T) {
	t.Parallel()
	delay := func(d time.Duration) func(*Spec) { return func(s *Spec) { s.Backoff = backoff.Delays{Delay: d} } }
	b := newBench(t, sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 9}),
		agent("a", "root", delay(3*time.Second)), agent("b", "root", delay(time.Second)), agent("c", "root"))
	b.took()
	b.crash("b")
	b.now = b.now.Add(time.Second / 2)
	b.crash("a")
	if got := b.took(); got != "restart b, group root, stop c, restart a, group root" {
		t.Errorf("two failures: %s", got)
	}
	b.after(time.Second)
	if got := b.took(); got != "" {
		t.Errorf("after the shorter delay: %s", got)
	}
	b.after(2 * time.Second)
	b.wantPhase("c", Running)
	if got := b.took(); !strings.HasPrefix(got, "start a, ") || !strings.Contains(got, "start b, ") {
		t.Errorf("after the longer delay: %s", got)
	}
}

// TestBackoffOfASupervisorThatDoesNotComeUp: what counts as having run well is
// the life that has just ended, not one long ago, nor the time that its stop
// takes.
func TestBackoffOfASupervisorThatDoesNotComeUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 100}),
		with(sup("p", "root", Supervisor{}), func(s *Spec) {
			s.Backoff = backoff.Delays{Type: backoff.Exponential, Delay: 10 * time.Second, Base: 2, Reset: time.Minute}
		}), agent("a", "p"), agent("b", "p"))
	waits := func(what string, want time.Duration) {
		t.Helper()
		b.wantPhase("p", Waiting)
		if due, _ := b.tree.Next(); due != b.now.Add(want) {
			t.Errorf("%s: it waits %s, want %s", what, time.Duration(due-b.now), want)
		}
		b.now, _ = b.tree.Next()
	}
	b.crash("a")
	waits("after its first life", 10*time.Second)
	for _, want := range []time.Duration{20, 40, 80, 160} {
		b.raw(Input{Kind: Tick})
		b.raw(Input{Kind: StartFailed, Node: "a", Incarnation: b.state("a").Incarnation, Reason: "no such file"})
		b.do(Input{Kind: Stopped, Node: "b", Incarnation: b.state("b").Incarnation})
		waits("a start that failed", want*time.Second)
	}
	b.do(Input{Kind: Tick})
	b.wantPhase("p", Running)
	b.now = b.now.Add(time.Minute - 1)
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: b.state("a").Incarnation, Reason: "crash"})
	b.now = b.now.Add(time.Second)
	b.do(Input{Kind: Stopped, Node: "b", Incarnation: b.state("b").Incarnation})
	waits("a life not quite long enough, and a stop", 320*time.Second)
	b.do(Input{Kind: Tick})
	b.now = b.now.Add(time.Minute)
	b.crash("a")
	waits("a life that was", 10*time.Second)
}

// TestARunResetsTheBackoff: a node that has run for its reset time begins again with
// its first delay, whatever ended that run. Otherwise it continues where it was.
func TestARunResetsTheBackoff(t *testing.T) {
	t.Parallel()
	const reset = time.Minute
	resets := func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second, Reset: reset} }
	ends := func(in Input) func(b *bench) {
		return func(b *bench) {
			in.Node, in.Incarnation = "a", b.state("a").Incarnation
			b.do(in)
		}
	}
	crash := func(id string) func(b *bench) { return func(b *bench) { b.crash(id) } }
	order := func(c CommandKind, id string) func(b *bench) {
		return func(b *bench) { b.do(Input{Kind: Order, Command: c, Node: id}) }
	}
	for _, c := range []struct {
		name string
		end  func(b *bench)
		// attempts of the agent and its supervisor after a run that was too short, and
		// after one that was long enough
		short, long [2]int
	}{
		{"by itself", crash("a"), [2]int{4, 3}, [2]int{1, 3}},
		{"found failed", ends(Input{Kind: Failed, Reason: "phi"}), [2]int{4, 3}, [2]int{1, 3}},
		{"with its host", ends(Input{Kind: Lost, Reason: "boot"}), [2]int{3, 3}, [2]int{0, 3}},
		{"by a request to its runner", ends(Input{Kind: Exited, Requested: true, Reason: "stop"}), [2]int{3, 3}, [2]int{0, 3}},
		{"with its group", crash("z"), [2]int{3, 3}, [2]int{0, 3}},
		{"with its supervisor's group", crash("first"), [2]int{0, 3}, [2]int{0, 0}},
		{"by an order", order(CmdRestart, "a"), [2]int{0, 3}, [2]int{0, 3}},
		{"by an order about its supervisor", order(CmdRestart, "s"), [2]int{0, 0}, [2]int{0, 0}},
		{"by its mode", func(b *bench) { b.mode("a", Off) }, [2]int{3, 3}, [2]int{0, 3}},
	} {
		for i, want := range [][2]int{c.short, c.long} {
			t.Run(fmt.Sprintf("%s, long enough %t", c.name, i == 1), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 9}), agent("first", "root"),
					with(sup("s", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), resets), agent("a", "s", resets), agent("z", "s"))
				for _, id := range []string{"s", "a"} {
					b.tree.nodes[id].st.Attempts = 3
				}
				b.now = b.now.Add(reset - 1 + time.Duration(i))
				c.end(b)
				b.equal("attempts", [2]int{b.state("a").Attempts, b.state("s").Attempts}, want)
			})
		}
	}
}
