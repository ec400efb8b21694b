package tree

import (
	"slices"
	"testing"
)

// A configuration that changes nothing of what is being rolled out joins that: it is
// told the name of the rollout under way, whose waiting clients go on waiting. One that
// replaces something of it supersedes it.
func TestWhatReplacesNothingJoinsTheRollout(t *testing.T) {
	t.Parallel()
	without := func(specs []*Spec, id string) []*Spec {
		return slices.DeleteFunc(specs, func(s *Spec) bool { return s.ID == id })
	}
	change := func(specs []*Spec, id string, f func(*Spec)) []*Spec {
		for _, s := range specs {
			if s.ID == id {
				f(s)
			}
		}
		return specs
	}
	extra := func(build string) *Spec { return agent("f", "root", built(build)) }
	for name, c := range map[string]struct {
		specs   []*Spec
		most    int
		boot    bool
		rollout string // that the second is told to wait for
	}{
		"the same":                     {append(five("2"), extra("1")), 1, false, "first"},
		"the same, which keeps":        {append(five("2"), extra("1")), 0, false, ""},
		"the same, as a service boots": {append(five("2"), extra("1")), 0, true, ""},
		"another agent is added":       {append(five("2"), extra("1"), agent("g", "root")), 1, false, "first"},
		"another agent is changed":     {append(five("2"), extra("2")), 1, false, "first"},
		"another agent is removed":     {five("2"), 1, false, "first"},
		"other settings":               {change(append(five("2"), extra("1")), "c", func(s *Spec) { s.Restart = Transient }), 1, false, "first"},
		"one that waits is changed":    {change(append(five("2"), extra("1")), "c", built("3")), 1, false, "second"},
		"one that is done is changed":  {change(append(five("2"), extra("1")), "a", built("3")), 1, false, "second"},
		"one that waits is removed":    {without(append(five("2"), extra("1")), "c"), 1, false, "second"},
		"the former one":               {append(five("1"), extra("1")), 1, false, "second"},
	} {
		b := newBench(t, append(five("1"), extra("1"))...)
		apply := func(token string, specs []*Spec, most int, boot bool) (rollout string) {
			for _, e := range b.raw(Input{Kind: Configure, Specs: specs, Token: token, Boot: boot, Configuration: &Configuration{Source: "f", Digest: token, MaxUnavailable: most}}) {
				if e.Kind == DoReply && e.Token == token {
					rollout = e.Reason
				}
			}
			return rollout
		}
		b.equal(name+": the first waits for", apply("first", append(five("2"), extra("1")), 1, false), "first")
		b.replace("a")
		again, err := Load(Options{}, b.tree.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		b.tree = again // as a successor knows it
		b.equal(name+": the second waits for", apply("second", c.specs, c.most, c.boot), c.rollout)
		a, over := b.tree.Answered("first")
		b.equal(name+": the first is answered", over, c.rollout == "second")
		if over && a.Result != Superseded {
			t.Errorf("%s: %+v", name, a)
		}
		for range 10 {
			for _, e := range b.tree.Outstanding() {
				kind := Started
				if e.Kind == DoStop {
					kind = Stopped
				}
				b.do(Input{Kind: kind, Node: e.Node, Incarnation: e.Incarnation})
			}
		}
		if a, _ = b.tree.Answered("first"); c.rollout != "second" && a.Result != OK {
			t.Errorf("%s: the first ends with %+v", name, a)
		}
	}
}

// A second file that replaces nothing leaves the rollout as it is: its bound, unless
// another is asked for, its reason, and the log.
func TestJoiningLeavesTheRolloutAsItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most  int
		usual bool
		want  int
	}{{1, true, 2}, {1, false, 1}, {3, false, 3}} {
		b := newBench(t, five("1")...)
		b.raw(Input{Kind: Configure, Specs: five("2"), Token: "first", Reason: "ticket 1", Configuration: &Configuration{Digest: "d", MaxUnavailable: 2}})
		b.replace("a")
		b.done = nil
		b.raw(Input{Kind: Configure, Specs: five("2"), Token: "second", Reason: "SIGHUP", Configuration: &Configuration{Digest: "d", MaxUnavailable: c.most, UsualBound: c.usual}})
		r := b.tree.Rolling()
		b.equal("its bound", r.Max, c.want)
		b.equal("its reason", r.Reason, "ticket 1")
		if slices.Contains(b.done, "rolling root") {
			t.Errorf("it is told again: %v", b.done)
		}
	}
}

// A new member of a group that is not enforced is not waited for, also before its turn
// in the start of the group has come: the same file once more joins the rollout.
func TestAMemberThatIsNotEnforcedIsNotRolledOut(t *testing.T) {
	t.Parallel()
	watched := RolloutOf(Shadow)
	b := newBench(t, sup("root", "", Supervisor{}))
	apply := func(token string) {
		b.raw(Input{
			Kind: Configure, Token: token, Configuration: &Configuration{Source: "f", Digest: "d"},
			Specs: []*Spec{
				sup("root", "", Supervisor{}), sup("g", "root", Supervisor{Strategy: OneForAll}),
				agent("a", "g"), agent("w", "g", func(s *Spec) { s.Mode = &watched }),
			},
		})
	}
	apply("first")
	b.equal("who is added", b.tree.Rolling().Added, 1)
	apply("second")
	if a, over := b.tree.Answered("first"); over {
		t.Errorf("the first is over: %+v", a)
	}
	b.raw(Input{Kind: Started, Node: "a", Incarnation: 1})
	first, _ := b.tree.Answered("first")
	b.equal("the first", first, Answer{Token: "first", Result: OK})
}
