package plan

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// unrest is a tree whose agents keep failing; what was ordered of them is carried out
// some time later, or not yet.
type unrest struct {
	tree    *tree.Tree
	now     tree.Instant
	pending []tree.Input
}

func (u *unrest) step(in tree.Input) {
	for _, e := range u.tree.Step(&in, u.now, nil) {
		switch e.Kind {
		case tree.DoStart:
			u.pending = append(u.pending, tree.Input{Kind: tree.Started, Node: e.Node, Incarnation: e.Incarnation})
		case tree.DoStop:
			u.pending = append(u.pending, tree.Input{Kind: tree.Stopped, Node: e.Node, Incarnation: e.Incarnation})
		}
	}
}

// live are the agents that may have a process.
func (u *unrest) live() (out []tree.Input) {
	for _, id := range u.tree.Names() {
		spec, st, _ := u.tree.Lookup(id)
		if spec.Agent != nil && st.Phase.Up() {
			out = append(out, tree.Input{Kind: tree.Exited, Node: id, Incarnation: st.Incarnation, Reason: "crash"})
		}
	}
	slices.SortFunc(out, func(a, b tree.Input) int { return slices.Compare([]byte(a.Node), []byte(b.Node)) })
	return out
}

// goOn lets something happen that nobody ordered.
func (u *unrest) goOn(rt *rapid.T) {
	live := u.live()
	switch what := rapid.IntRange(0, 2).Draw(rt, "what"); {
	case what == 0 && len(live) > 0:
		u.step(live[rapid.IntRange(0, len(live)-1).Draw(rt, "fails")])
	case what == 1 && len(u.pending) > 0:
		i := rapid.IntRange(0, len(u.pending)-1).Draw(rt, "is done")
		in := u.pending[i]
		u.pending = slices.Delete(u.pending, i, i+1)
		u.step(in)
	default:
		if due, ok := u.tree.Next(); ok {
			u.now = max(u.now, due)
		}
		u.step(tree.Input{Kind: tree.Tick})
	}
}

// TestPlansHoldWhileAgentsFail: failures, and what follows from them, make no other plan
// of a file. An agent that was left as it was may become what is specified by itself:
// then the plan does less.
func TestPlansHoldWhileAgentsFail(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		strategies := []tree.Strategy{tree.OneForOne, tree.OneForAll, tree.RestForOne}
		var g, h *tree.Spec
		for _, s := range []struct {
			at         **tree.Spec
			id, parent string
		}{{&g, "g", "root"}, {&h, "h", rapid.SampledFrom([]string{"root", "g"}).Draw(rt, "h under")}} {
			*s.at = sup(s.id, s.parent)
			v := (*s.at).Supervisor
			v.Strategy = rapid.SampledFrom(strategies).Draw(rt, s.id)
			v.Escalation, v.CoolOff = tree.Ignore, time.Minute
			v.MaxRestarts = rapid.IntRange(0, 3).Draw(rt, s.id+" restarts")
			if rapid.Bool().Draw(rt, s.id+" cools off") {
				v.Escalation = tree.CoolOff
			}
			if v.Strategy == tree.OneForOne && rapid.Bool().Draw(rt, s.id+" isolates") {
				v.Escalation = tree.Isolate
			}
		}
		file := func(build string, gone string) []*tree.Spec {
			out := []*tree.Spec{sup("root", ""), g, h}
			for i, id := range []string{"a", "b", "c", "d", "e"} {
				a := agent(id, []string{"g", "h"}[i%2], build)
				a.Backoff.Delay = time.Duration(i%2) * time.Second
				if id == "e" {
					a.Agent.Build = "1"
				}
				if id != gone {
					out = append(out, a)
				}
			}
			return out
		}
		u := &unrest{tree: tree.New(tree.Options{}), now: now}
		u.step(tree.Input{Kind: tree.Configure, Specs: file("1", ""), Boot: true})
		for range rapid.IntRange(0, 30).Draw(rt, "before") {
			u.goOn(rt)
		}
		left := rapid.Bool().Draw(rt, "left outdated")
		if left {
			u.step(configure(0, file("2", "")...))
		}
		in := configure(rapid.IntRange(0, 2).Draw(rt, "at once"), file("2", rapid.SampledFrom([]string{"", "a", "d"}).Draw(rt, "gone"))...)
		plan := func() contracts.ConfigPlan {
			p, objections, err := Of(u.tree.Snapshot(), in, u.now)
			if err != nil || len(objections) > 0 {
				rt.Fatal(err, objections)
			}
			return p
		}
		shown := plan()
		for range rapid.IntRange(0, 30).Draw(rt, "meanwhile") {
			u.goOn(rt)
		}
		holds := plan()
		if more := contracts.Exceeding(holds.Changes, shown.Changes); len(more) > 0 || !left && holds.Plan != shown.Plan {
			rt.Fatalf("shown:\n%s\nnow:\n%s\nof it more: %+v", lines(shown), lines(holds), more)
		}
	})
}

// TestPlansThatDoMore: an order that makes a plan interrupt an agent which was not to be
// interrupted makes it another plan, and so does another file; one that makes it do less
// is covered.
func TestPlansThatDoMore(t *testing.T) {
	t.Parallel()
	file := func(b, c string) []*tree.Spec {
		return []*tree.Spec{sup("root", ""), agent("a", "root", b), agent("b", "root", b), agent("c", "root", c), agent("d", "root", "1")}
	}
	order := func(c tree.CommandKind, node string) func(*tree.Tree) {
		return func(tr *tree.Tree) { settle(tr, tree.Input{Kind: tree.Order, Command: c, Node: node}) }
	}
	terminated, restarted := order(tree.CmdTerminate, "b"), order(tree.CmdRestart, "b")
	removes := slices.DeleteFunc(file("1", "1"), func(s *tree.Spec) bool { return s.ID == "b" })
	for name, c := range map[string]struct {
		before, meanwhile func(*tree.Tree)
		file              []*tree.Spec
		more              string
		same              bool
	}{
		"an agent is terminated":         {nil, terminated, file("2", "1"), "", false},
		"an agent is started":            {terminated, restarted, file("2", "1"), "b", false},
		"one that is not concerned":      {nil, order(tree.CmdTerminate, "d"), file("2", "1"), "", true},
		"an agent to remove ends":        {nil, terminated, removes, "", false},
		"an agent to remove is started":  {terminated, restarted, removes, "b", false},
		"an agent is restarted":          {nil, restarted, file("2", "1"), "", true},
		"agents become outdated":         {nil, func(tr *tree.Tree) { settle(tr, configure(0, file("1", "2")...)) }, file("2", "2"), "c", false},
		"outdated agents are brought up": {func(tr *tree.Tree) { settle(tr, configure(0, file("1", "2")...)) }, order(tree.CmdRestart, "c"), file("2", "2"), "", false},
	} {
		tr := grow(t, file("1", "1"))
		plan := func() contracts.ConfigPlan {
			p, _, err := Of(tr.Snapshot(), configure(1, c.file...), now)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		if c.before != nil {
			c.before(tr)
		}
		shown := plan()
		c.meanwhile(tr)
		holds := plan()
		more := ""
		for _, change := range contracts.Exceeding(holds.Changes, shown.Changes) {
			more += change.Node
		}
		if more != c.more || (holds.Plan == shown.Plan) != c.same {
			t.Errorf("%s: more: %q, the same plan: %t\nshown:\n%s\nnow:\n%s", name, more, holds.Plan == shown.Plan, lines(shown), lines(holds))
		}
	}
}
