package tree

import "testing"

// What an order, or the end of its supervisor, takes out of a rollout before it is
// verified is not said to be done: whoever waits for the rollout hears of it when the
// others are done.
func TestARolloutThatAgentsLeaveIsNotDone(t *testing.T) {
	t.Parallel()
	watched := RolloutOf(Shadow)
	file := func(build string, added ...string) []*Spec {
		specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup("s", "root", Supervisor{Escalation: Terminate}), agent("old", "s"), agent("a", "s", built(build)), agent("b", "s", built(build)), agent("away", "root", func(s *Spec) { s.Mode = &watched })}
		for _, id := range added {
			specs = append(specs, agent(id, "s"))
		}
		return specs
	}
	ordered := func(c CommandKind, node string) Input { return Input{Kind: Order, Command: c, Node: node} }
	for name, c := range map[string]struct {
		specs []*Spec
		then  Input
		want  Answer
	}{
		"nothing":                                {file("2", "n"), Input{Kind: Tick}, Answer{Result: OK}},
		"a new one is terminated":                {file("1", "n"), ordered(CmdTerminate, "n"), Answer{Result: Superseded, Reason: "n was terminated"}},
		"a new one is removed":                   {file("1", "n"), ordered(CmdRemove, "n"), Answer{Result: Superseded, Reason: "n was removed"}},
		"a new one is restarted":                 {file("1", "n"), ordered(CmdRestart, "n"), Answer{Result: OK}},
		"a new one is not enforced":              {file("1", "n"), Input{Kind: Order, Command: CmdMode, Node: "n", Mode: &watched}, Answer{Result: Superseded, Reason: "n is no longer enforced"}},
		"the one at its turn is terminated":      {file("2"), ordered(CmdTerminate, "a"), Answer{Result: Superseded, Reason: "a was terminated"}},
		"one that waits is terminated":           {file("2"), ordered(CmdTerminate, "b"), Answer{Result: Superseded, Reason: "b was terminated"}},
		"its supervisor is terminated":           {file("2"), ordered(CmdTerminate, "s"), Answer{Result: Superseded, Reason: "a was stopped with supervisor s"}},
		"the tree is stopped":                    {file("1", "n"), ordered(CmdTerminate, "root"), Answer{Result: Superseded, Reason: "n was stopped with supervisor s"}},
		"its supervisor is restarted":            {file("2"), ordered(CmdRestart, "s"), Answer{Result: OK}},
		"its supervisor gives up for a stranger": {file("1", "n"), Input{Kind: Exited, Node: "old", Incarnation: 1, Reason: "crash"}, Answer{Result: NotVerified, Reason: "n could not be verified: it was stopped with supervisor s: gave up: restart limit exceeded by child old: crash"}},
		"it completes":                           {append(file("1"), agent("once", "s", func(s *Spec) { s.Restart = Transient })), Input{Kind: Exited, Node: "once", Incarnation: 1, Normal: true}, Answer{Result: OK}},
	} {
		b := newBench(t, file("1")...)
		b.raw(Input{Kind: Configure, Specs: c.specs, Token: "t", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
		b.raw(c.then)
		for range 12 {
			for _, e := range b.tree.Outstanding() {
				kind := Started
				if e.Kind == DoStop {
					kind = Stopped
				}
				b.raw(Input{Kind: kind, Node: e.Node, Incarnation: e.Incarnation})
			}
			again, err := Load(Options{}, b.tree.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			b.tree = again // as a successor knows it
		}
		c.want.Token = "t"
		got, _ := b.tree.Answered("t")
		b.equal(name, got, c.want)
		b.equal(name+": under way", b.tree.Rolling() == nil, true)
	}
}

// What is not to run when a configuration is applied is not waited for.
func TestWhatIsDownAnywayIsNotRolledOut(t *testing.T) {
	t.Parallel()
	watched := RolloutOf(Shadow)
	file := func(build string, more ...*Spec) []*Spec {
		return append([]*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup("s", "root", Supervisor{}), agent("a", "s", built(build)), agent("w", "root", built(build))}, more...)
	}
	b := newBench(t, file("1")...)
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "s"})
	b.do(Input{Kind: Order, Command: CmdMode, Node: "w", Mode: &watched})
	b.raw(Input{
		Kind: Configure, Token: "t", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1},
		Specs: file("2", agent("n", "s"), agent("v", "root", func(s *Spec) { s.Mode = &watched })),
	})
	if r := b.tree.Rolling(); r != nil {
		t.Errorf("it rolls out %+v", r)
	}
}

// A configuration that is applied after an agent has left a rollout takes the others on,
// and is not told of that.
func TestWhatJoinsARolloutIsNotToldWhoLeftBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	apply := func(token string) {
		b.raw(Input{Kind: Configure, Specs: five("2"), Token: token, Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
	}
	apply("first")
	b.raw(Input{Kind: Order, Command: CmdRemove, Node: "e"})
	b.raw(Input{Kind: Stopped, Node: "e", Incarnation: 1})
	apply("second")
	first, _ := b.tree.Answered("first")
	b.equal("the first", first, Answer{Token: "first", Result: Superseded, Reason: "e was removed"})
	b.raw(Input{Kind: Started, Node: "e", Incarnation: 2})
	b.replace("a", "b", "c", "d")
	second, _ := b.tree.Answered("second")
	b.equal("the second", second, Answer{Token: "second", Result: OK})
}

// A configuration that removes an agent of the rollout under way supersedes it, and is
// done when the others are.
func TestWhatAConfigurationRemovesItselfIsNotLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	apply := func(token string, specs []*Spec) {
		b.raw(Input{Kind: Configure, Specs: specs, Token: token, Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
	}
	apply("first", five("2"))
	apply("second", five("2")[:5])
	first, _ := b.tree.Answered("first")
	b.equal("the first", first, Answer{Token: "first", Result: Superseded, Reason: whyReplaced})
	b.raw(Input{Kind: Stopped, Node: "e", Incarnation: 1})
	b.replace("a", "b", "c", "d")
	second, _ := b.tree.Answered("second")
	b.equal("the second", second, Answer{Token: "second", Result: OK})
}
