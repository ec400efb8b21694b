package tree

import (
	"fmt"
	"testing"
	"time"
)

// TestShutdownTimeout: all below a supervisor that stops has the supervisor's own
// time together, whichever supervisor above them sets it, and then is killed.
func TestShutdownTimeout(t *testing.T) {
	second := time.Second
	sup := func(id, parent string, timeout time.Duration) *Spec {
		return &Spec{ID: id, Parent: parent, ShutdownTimeout: timeout, Supervisor: &Supervisor{Strategy: OneForOne, MaxRestarts: 9, Period: time.Minute}}
	}
	agent := func(id, parent string) *Spec {
		return &Spec{ID: id, Parent: parent, ShutdownTimeout: 5 * second, Agent: &Agent{}}
	}
	b := newBench(t, sup("root", "", 0), sup("outer", "root", 12*second), agent("a", "outer"), agent("b", "outer"),
		sup("inner", "outer", 8*second), agent("c", "inner"), agent("d", "inner"), agent("free", "root"))
	b.took()
	var orders []string
	stop := func(out []Effect) (next string) {
		for _, e := range out {
			if e.Kind == DoStop {
				orders = append(orders, fmt.Sprintf("%s %s %v", e.Node, e.Timeout, e.Kill))
				next = e.Node
			}
		}
		return next
	}
	begin := b.now
	next := stop(b.raw(Input{Kind: Order, Command: TerminateIt, Node: "outer"}))
	for next != "" {
		// Each takes all the time that it is given, and is killed then.
		timeout, kill := b.tree.nodes[next].timeToStop()
		if !kill {
			b.now = b.now.Add(timeout)
		}
		if again := b.tree.Outstanding(); len(again) != 1 || again[0].Timeout != timeout || again[0].Kill != kill {
			t.Errorf("a successor would order %+v", again)
		}
		next = stop(b.raw(Input{Kind: Stopped, Node: next, Incarnation: 1}))
	}
	if got, want := fmt.Sprint(orders), "[d 5s false c 3s false b 4s false a 5s true]"; got != want {
		t.Errorf("ordered %s, want %s", got, want)
	}
	if took := time.Duration(b.now - begin); took != 12*second {
		t.Errorf("it took %s", took)
	}
	orders = nil
	if stop(b.raw(Input{Kind: Order, Command: TerminateIt, Node: "free"})); fmt.Sprint(orders) != "[free 5s false]" {
		t.Errorf("elsewhere it matters too: %v", orders)
	}
}
