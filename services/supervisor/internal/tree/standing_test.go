package tree

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// recorded fails when what operators ordered holds and is not recorded, or is
// recorded and no longer holds.
func (w *world) recorded() {
	for id, n := range w.tree.nodes {
		var kept StandingOrders
		if n.st.Orders != nil {
			kept = *n.st.Orders
		}
		if shown := n.st.Standing(); shown != kept {
			w.t.Fatalf("%s has records of orders that no longer stand: %+v, of which %+v stand", id, kept, shown)
		}
		suspended := n.st.Supervisor != nil && n.st.Supervisor.Suspended
		switch {
		case w.terminations.ended[id] && kept.Down == nil && n.terminated():
			w.t.Fatalf("%s was terminated, and nobody knows by whom", id)
		case suspended != (kept.Suspension != nil):
			w.t.Fatalf("%s is suspended: %t; the order is %+v", id, suspended, kept.Suspension)
		case (n.st.Mode != nil) != (kept.Mode != nil):
			w.t.Fatalf("%s has the mode %+v; the order is %+v", id, n.st.Mode, kept.Mode)
		case !n.spec.Dynamic && (n.spec.Origin != "") != (kept.Place != nil):
			w.t.Fatalf("%s was moved from %q; the order is %+v", id, n.spec.Origin, kept.Place)
		}
	}
}

// TestOrdersAreRecorded with their senders, reasons and times, for as long as they
// stand: whatever happens to the log.
func TestOrdersAreRecorded(t *testing.T) {
	t.Parallel()
	ada := &Operator{User: "ada", Host: "ops1", Program: "smith"}
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{MaxRestarts: 9}), agent("a", "root"), agent("b", "root"), agent("c", "root")}
	down := func(o StandingOrders) *StandingOrder { return o.Down }
	suspension := func(o StandingOrders) *StandingOrder { return o.Suspension }
	mode := func(o StandingOrders) *StandingOrder { return o.Mode }
	place := func(o StandingOrders) *StandingOrder { return o.Place }
	for name, c := range map[string]struct {
		order Input
		what  string
		of    func(StandingOrders) *StandingOrder
		// over ends it.
		over Input
	}{
		"terminate":        {Input{Command: CmdTerminate, Node: "a", Reason: "terminate: why: so"}, "terminate", down, Input{Command: CmdRestart, Node: "a"}},
		"started":          {Input{Command: CmdTerminate, Node: "g", Reason: "terminate: why: so"}, "terminate", down, Input{Command: CmdStart, Node: "g"}},
		"drain":            {Input{Command: CmdTerminate, Node: "root", Reason: "drain: why: so"}, "drain", down, Input{Command: CmdRestart, Node: "root"}},
		"suspend":          {Input{Command: CmdSuspend, Node: "g", Reason: "suspend: why: so"}, "suspend", suspension, Input{Command: CmdResume, Node: "g"}},
		"restarted":        {Input{Command: CmdSuspend, Node: "g", Reason: "suspend: why: so"}, "suspend", suspension, Input{Command: CmdRestart, Node: "g"}},
		"mode":             {Input{Command: CmdMode, Node: "a", Mode: &Rollout{Otherwise: Off}, Reason: "mode off: why: so"}, "mode off", mode, Input{Command: CmdMode, Node: "a"}},
		"move":             {Input{Command: CmdMove, Node: "a", To: "g", Reason: "move to g: why: so"}, "move to g", place, Input{Command: CmdMove, Node: "a", To: "root"}},
		"nobody said what": {Input{Command: CmdTerminate, Node: "a"}, "terminate", down, Input{Command: CmdRestart, Node: "root"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, specs...)
			c.order.Kind, c.order.By, c.order.Token, c.order.Chain = Order, ada, "x", "x"
			b.now = b.now.Add(1)
			b.tree.Deciding("the order")
			b.do(c.order)
			want := &StandingOrder{What: c.what, By: ada, At: epoch + 1, Story: Story{"the order", "x"}}
			if c.order.Reason != "" {
				want.Reason = "why: so"
			}
			b.now = b.now.Add(1)
			b.tree.Deciding("later")
			b.do(Input{Kind: Configure, Specs: specs, Boot: true})
			for _, id := range []string{"b", "c"} {
				if s := b.state(id); s.Orders != nil {
					t.Errorf("%s has %+v", id, s.Orders)
				}
			}
			b.tree = roundTrip(t, b.tree, Options{})
			st := b.state(c.order.Node)
			if diff := cmp.Diff(want, c.of(st.Standing())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			c.over.Kind = Order
			if b.do(c.over); b.state(c.order.Node).Orders != nil {
				t.Errorf("after %s: %+v", c.over.Command, b.state(c.order.Node).Orders)
			}
		})
	}
}

// TestLatestOrderOfWhatRuns: an order about what runs is the latest part of what led
// to its state. One about what is down leaves what brought it down.
func TestLatestOrderOfWhatRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(*bench)
		orders []Input
		node   string
		want   string
	}{
		"resumed":         {nil, []Input{{Command: CmdSuspend, Node: "g"}, {Command: CmdResume, Node: "g"}}, "g", "order 2"},
		"moved":           {nil, []Input{{Command: CmdMove, Node: "a", To: "g"}}, "a", "order 1"},
		"moved, and down": {func(b *bench) { b.crash("slow") }, []Input{{Command: CmdMove, Node: "slow", To: "g"}}, "slow", "crash"},
		"mode":            {nil, []Input{{Command: CmdMode, Node: "g", Mode: &Rollout{Enforce: 50, Otherwise: Shadow}}}, "g", "order 1"},
		"agent's mode":    {nil, []Input{{Command: CmdMode, Node: "a", Mode: &Rollout{Otherwise: Shadow}}}, "a", "order 1"},
		"restarted":       {nil, []Input{{Command: CmdRestart, Node: "a"}}, "a", "order 1"},
		"rolled":          {nil, []Input{{Command: CmdRoll, Node: "a", Count: 1}}, "a", "order 1"},
		"scaled":          {nil, []Input{{Command: CmdScale, Node: "w", Count: 2}}, "w-2", "order 1"},
		"terminated":      {nil, []Input{{Command: CmdTerminate, Node: "a"}}, "a", "order 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{MaxRestarts: 9}),
				agent("a", "root"), agent("slow", "root", func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Minute} }), agent("w-1", "root", func(s *Spec) { s.Template, s.Index, s.Instances = "w", 1, 1 }))
			b.tree.Deciding("crash")
			if c.before != nil {
				c.before(b)
			}
			for i, in := range c.orders {
				b.tree.Deciding([]string{"order 1", "order 2"}[i])
				in.Kind = Order
				b.do(in)
			}
			b.tree.Deciding("later")
			b.after(0)
			if st := b.state(c.node); st.Cause != c.want {
				t.Errorf("the cause is %q, want %q", st.Cause, c.want)
			}
		})
	}
}

// TestARemovalReplacesATermination while the node still stops: it is not kept down any
// more, but on its way out.
func TestARemovalReplacesATermination(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{MaxRestarts: 9}), agent("a", "root"), agent("b", "g"))
	for _, id := range []string{"a", "g"} {
		b.raw(Input{Kind: Order, Command: CmdTerminate, Node: id, Token: "t" + id})
		if st := b.state(id); st.Orders == nil || st.Orders.Down == nil {
			t.Fatalf("%s: the order is not recorded", id)
		}
		b.raw(Input{Kind: Order, Command: CmdRemove, Node: id, Token: "r" + id})
		if st := b.state(id); st.Orders != nil {
			t.Errorf("%s: %+v still stands", id, st.Orders)
		}
	}
}
