package tree

import "testing"

// What a rollout started and what hangs in its start is replaced at once by another
// file, however few agents may be down.
func TestHungRolloutIsUndoneAtOnce(t *testing.T) {
	t.Parallel()
	file := func(build string) []*Spec {
		specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9})}
		for _, a := range []string{"a", "b", "c"} {
			specs = append(specs, agent(a, "root", built(build), verifying))
		}
		return specs
	}
	for name, c := range map[string]struct {
		bad, undo int
		phase     Phase
		stopped   string
	}{
		"one after the other":    {1, 1, Verifying, "a"},
		"all at once":            {3, 3, Verifying, "a b c"},
		"with a smaller bound":   {3, 1, Verifying, "a b c"},
		"one that beats":         {1, 1, Stabilising, "a"},
		"all beat":               {3, 3, Stabilising, "a b c"},
		"all beat and few may":   {3, 2, Stabilising, ""},
		"its start is under way": {2, 2, Starting, "a b"},
	} {
		b := newBench(t, file("1")...)
		b.verify("a", "b", "c")
		b.apply(c.bad, file("2")...)
		for _, a := range []string{"a", "b", "c"}[:c.bad] {
			b.raw(Input{Kind: Stopped, Node: a, Incarnation: 1})
			if c.phase != Starting {
				b.started(a)
			}
			if c.phase == Stabilising {
				b.raw(Input{Kind: Beat, Node: a, Incarnation: 2})
			}
			b.wantPhase(a, c.phase)
		}
		b.apply(c.undo, file("1")...)
		b.equal(name, b.stopping(), c.stopped)
	}
}

// A member that hangs in its start holds its group up no longer than until another
// program is configured for it, or an operator restarts it.
func TestHungMemberIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	file := func(build string) []*Spec {
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{MaxRestarts: 9, Strategy: RestForOne}),
			agent("a", "g"), agent("b", "g", built(build), verifying), agent("c", "g"),
		}
	}
	for name, ends := range map[string]func(b *bench){
		"another program": func(b *bench) { b.apply(1, file("2")...) },
		"an order":        func(b *bench) { b.raw(Input{Kind: Order, Command: CmdRestart, Node: "b", Token: "r"}) },
	} {
		for what, boots := range map[string]func() *bench{
			"first start": func() *bench { return newBench(t, file("1")...) },
			"restart of the group": func() *bench {
				b := newBench(t, file("1")...)
				b.verify("b")
				b.crash("a")
				return b
			},
		} {
			b := boots()
			b.started("b")
			b.wantPhase("b", Verifying)
			b.wantPhase("c", Idle)
			was := b.state("b").Incarnation
			ends(b)
			b.equal(what+", "+name+": stopping", b.stopping(), "b")
			b.replace("b")
			b.equal(what+", "+name+": incarnation", b.state("b").Incarnation, was+1)
			b.verify("b")
			b.started("c")
			b.wantPhase("c", Running)
		}
	}
}
