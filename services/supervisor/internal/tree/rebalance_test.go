package tree

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

func anyRunner(s *Spec) { s.Agent.Runner = AnyRunner }

// rebalanced is a bench with n agents on r1, to which more runners have come.
func rebalanced(t testing.TB, n int, runners ...Runner) *bench {
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 5})}
	for i := range n {
		specs = append(specs, agent(fmt.Sprintf("a-%d", i+1), "root", anyRunner))
	}
	b := newBench(t, specs...)
	b.do(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}}})
	b.do(Input{Kind: Runners, Runners: append([]Runner{{Name: "r1"}}, runners...)})
	b.took()
	return b
}

// TestRebalance: agents move to a runner that is new, one after the other, until the
// runners are as full as one another; then there is nothing to do.
func TestRebalance(t *testing.T) {
	t.Parallel()
	b := rebalanced(t, 5, Runner{Name: "r2"}, Runner{Name: "r3", Named: true})
	if got, want := fmt.Sprint(b.tree.PlanRebalance("root")), "[{a-5 r1 r2} {a-4 r1 r2}]"; got != want {
		t.Fatalf("planned %s, want %s", got, want)
	}
	b.raw(Input{Kind: Order, Command: CmdRebalance, Node: "root", Count: 1, Token: "t"})
	if got, want := b.took(), "rolling root, reply ok, stop a-4"; got != want {
		t.Errorf("ordered %s, want %s", got, want)
	}
	b.do(Input{Kind: Stopped, Node: "a-4", Incarnation: 1})
	for agent, runner := range map[string]string{"a-1": "r1", "a-2": "r1", "a-3": "r1", "a-4": "r2", "a-5": "r2"} {
		if st := b.state(agent); st.Runner != runner || st.Phase != Running {
			t.Errorf("%s is %s on %s", agent, st.Phase, st.Runner)
		}
	}
	if moves := b.tree.PlanRebalance("root"); len(moves) > 0 || b.tree.Rolling() != nil {
		t.Errorf("afterwards: %v, %+v", moves, b.tree.Rolling())
	}
	for _, in := range []Input{
		{Kind: Order, Command: CmdRebalance, Node: "nobody", Count: 1},
		{Kind: Order, Command: CmdRebalance, Node: "root"},
	} {
		if r := b.raw(in)[0].Result; r == OK {
			t.Errorf("%+v is accepted", in)
		}
	}
}

// TestMisplaced: an agent that runs where it lacks a label is known, whether its own
// labels changed or those of its runner, and moves where it belongs if it can.
func TestMisplaced(t *testing.T) {
	t.Parallel()
	in := func(zone string) map[string]string { return map[string]string{"zone": zone} }
	specs := func(zone string) []*Spec {
		return []*Spec{sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root", anyRunner, func(s *Spec) { s.Agent.Labels = in(zone) }), agent("b", "root", anyRunner)}
	}
	for name, c := range map[string]struct {
		change []Input
		lacks  string
		to     string
	}{
		"nothing":                {nil, "", ""},
		"its labels":             {[]Input{{Kind: Configure, Specs: specs("y"), Boot: true}}, "y", "r2"},
		"to one that nobody has": {[]Input{{Kind: Configure, Specs: specs("z"), Boot: true}}, "z", ""},
		"its runner's":           {[]Input{{Kind: Runners, Runners: []Runner{{Name: "r1"}, {Name: "r2", Labels: in("y")}, {Name: "r3", Labels: in("x")}}}}, "x", "r3"},
		"it is silent":           {[]Input{{Kind: Runners}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, specs("x")...)
			b.do(Input{Kind: Runners, Runners: []Runner{{Name: "r1", Labels: in("x")}, {Name: "r2", Labels: in("y")}}})
			for _, in := range c.change {
				b.do(in)
			}
			got, misplaced := b.tree.Misplaced("a")
			if misplaced != (c.lacks != "") || got.Lacks["zone"] != c.lacks || got.To != c.to {
				t.Fatalf("%+v, %t", got, misplaced)
			}
			if got, other := b.tree.Misplaced("b"); other {
				t.Errorf("b: %+v", got)
			}
			b.do(Input{Kind: Order, Command: CmdRebalance, Node: "root", Count: 1, Token: "t"})
			if got, misplaced := b.tree.Misplaced("a"); misplaced != (c.lacks != "" && c.to == "") {
				t.Errorf("afterwards: %+v", got)
			}
			if st := b.state("a"); st.Phase != Running || c.to != "" && st.Runner != c.to {
				t.Errorf("%s on %s", st.Phase, st.Runner)
			}
		})
	}
}

// TestRebalancePlans: a plan keeps to labels and room, moves each agent once, makes
// no runner fuller than one that it was emptied for, and leaves nothing to plan.
func TestRebalancePlans(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		var runners []Runner
		for i := range rapid.IntRange(1, 4).Draw(rt, "runners") {
			runners = append(runners, Runner{
				Name: fmt.Sprintf("s%d", i), Named: rapid.IntRange(0, 4).Draw(rt, "named") == 0, Capacity: rapid.IntRange(0, 6).Draw(rt, "capacity"),
			})
		}
		b := rebalanced(t, rapid.IntRange(0, 20).Draw(rt, "agents"), runners...)
		load, seen := map[string]int{"r1": b.tree.load["r1"]}, map[string]bool{}
		room := map[string]Runner{}
		for _, r := range runners {
			room[r.Name] = r
		}
		for _, m := range b.tree.PlanRebalance("root") {
			load[m.From]--
			load[m.To]++
			if r := room[m.To]; m.From != "r1" || seen[m.Agent] || r.Named || r.Capacity > 0 && load[m.To] > r.Capacity || load[m.To] > load[m.From] {
				rt.Fatalf("%+v, then %v, of %+v", m, load, runners)
			}
			seen[m.Agent] = true
		}
		b.do(Input{Kind: Order, Command: CmdRebalance, Node: "root", Count: 2})
		for r, n := range load {
			if got := b.tree.load[r]; got != n {
				rt.Fatalf("%s has %d agents, planned were %d", r, got, n)
			}
		}
		if left := b.tree.PlanRebalance("root"); len(left) > 0 {
			rt.Fatalf("left to do: %v", left)
		}
	})
}
