package leader

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func order(kind tree.EffectKind, agent string, n uint64) Order {
	return Order{Effect: tree.Effect{Kind: kind, Node: agent, Incarnation: n}}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	var l Lanes[int]
	stop, _ := l.Add(order(tree.DoStop, "a", 1), 0)
	if got := l.Next("a"); got != stop {
		t.Fatalf("next is %v", got)
	}
	report, current := l.Add(order(tree.DoReport, "a", 1), 0)
	if current != stop || l.Next("a") != nil {
		t.Error("two orders of one agent at once")
	}
	other, _ := l.Add(order(tree.DoStart, "b", 1), 0)
	if l.Next("b") != other || l.Pending() != 2 {
		t.Error("agents wait for one another")
	}
	for i, want := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, time.Second, time.Second} {
		if wait, again := l.Tried(stop, false); wait != want || !again {
			t.Errorf("after attempt %d: %s, %t; a stop is repeated until it is done", i+1, wait, again)
		}
	}
	if _, again := l.Tried(stop, true); again || l.Next("a") != report {
		t.Error("what is done is not followed by the next")
	}
	l.Tried(report, true)
	if l.Next("a") != nil || l.Pending() != 1 {
		t.Errorf("%d agents pending", l.Pending())
	}
}

// TestStartGivesUpOlder: a start ends what is under way about older incarnations,
// and a start that was never answered gives way to whatever comes.
func TestStartGivesUpOlder(t *testing.T) {
	t.Parallel()
	var l Lanes[int]
	stop, _ := l.Add(order(tree.DoStop, "a", 1), 0)
	l.Next("a")
	start, current := l.Add(order(tree.DoStart, "a", 2), 0)
	if current != stop || !stop.Given() {
		t.Fatal("the older stop is not given up")
	}
	if _, again := l.Tried(stop, false); again || l.Next("a") != start {
		t.Fatal("the start has to wait")
	}
	if _, again := l.Tried(start, false); !again {
		t.Fatal("a start is tried once")
	}
	l.Add(order(tree.DoStop, "a", 2), 0)
	if !start.Overtaken() || start.Given() {
		t.Error("the start is not overtaken, or given up")
	}
	if _, again := l.Tried(start, false); again {
		t.Error("an overtaken start is repeated")
	}
}

// TestRepeatedOrder: an order that is under way and is given once more is not carried
// out twice; one that was given up is.
func TestRepeatedOrder(t *testing.T) {
	t.Parallel()
	var l Lanes[int]
	first, _ := l.Add(order(tree.DoStart, "a", 1), 0)
	if again, _ := l.Add(order(tree.DoStart, "a", 1), 0); again != first || l.Next("a") != first {
		t.Error("a start that waits is queued twice")
	}
	if again, current := l.Add(order(tree.DoStart, "a", 1), 0); again != first || current != first || first.Overtaken() {
		t.Error("a start under way is queued twice, or overtaken by itself")
	}
	l.Forget("a", 1)
	if again, _ := l.Add(order(tree.DoStart, "a", 1), 0); again == first {
		t.Error("a start that was given up is not made again")
	}
}

// TestForget: what is settled is given up, whether its turn has come or not, and
// nothing newer.
func TestForget(t *testing.T) {
	t.Parallel()
	var l Lanes[int]
	for n := range uint64(3) {
		l.Add(order(tree.DoStop, "a", n+1), 0)
	}
	first := l.Next("a")
	if given := l.Forget("a", 2); given != first {
		t.Fatalf("given up: %v", given)
	}
	l.Tried(first, false)
	if next := l.Next("a"); next == nil || next.Incarnation != 3 {
		t.Errorf("next is %v", next)
	}
	if l.Forget("b", 9) != nil || l.Forget("a", 2) != nil {
		t.Error("something is given up that was not settled")
	}
}
