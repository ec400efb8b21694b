package tree

import (
	"fmt"
	"testing"
	"time"
)

// The former configuration ends a rolling restart that was stopped: what failed is
// started at once, and no more is to be restarted.
func TestFormerConfigurationEndsAStoppedRollingRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient("1")...)
	b.apply(1, patient("2")...)
	b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
	b.raw(Input{Kind: StartFailed, Node: "a", Incarnation: 2, Reason: "no such program"})
	b.equal("stopped", b.tree.Rolling().Stopped, "a did not come up: no such program")
	b.apply(1, patient("1")...)
	b.wantPhase("a", Starting)
	b.equal("others", b.stopping(), "")
	b.raw(Input{Kind: Started, Node: "a", Incarnation: 3})
	if r := b.tree.Rolling(); r != nil {
		t.Errorf("rolling restart: %+v", r)
	}
}

// Agents that failed of one program are started at once as another, all of them:
// they are down already. If they fail again, that stops the rolling restart.
func TestWhatWaitsIsStartedAtOnceWhenItChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient("1")...)
	for _, a := range []string{"b", "d"} {
		b.raw(Input{Kind: Exited, Node: a, Incarnation: 1, Reason: "crash"})
	}
	b.apply(1, patient("2")...)
	b.wantPhase("b", Starting)
	b.wantPhase("d", Starting)
	b.equal("while two are down", b.stopping(), "")
	b.raw(Input{Kind: Started, Node: "b", Incarnation: 2})
	b.equal("while one is down", b.stopping(), "")
	b.raw(Input{Kind: Exited, Node: "d", Incarnation: 2, Reason: "crash"})
	b.equal("stopped", b.tree.Rolling().Stopped, "d did not come up: crash")
}

// A group that waits to be restarted is when what failed in it is another program.
func TestAGroupThatWaitsIsStartedWhenItChanges(t *testing.T) {
	t.Parallel()
	for _, most := range []int{0, 1} {
		specs := func(build string) []*Spec {
			slow := func(s *Spec) { s.Backoff.Delay = time.Minute }
			return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup("all", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("a", "all", slow), agent("b", "all", built(build), slow)}
		}
		b := newBench(t, specs("1")...)
		b.raw(Input{Kind: Exited, Node: "b", Incarnation: 1, Reason: "crash"})
		b.apply(most, specs("2")...) // while a is being stopped
		b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
		b.wantPhase("a", Starting)
		b.raw(Input{Kind: Started, Node: "a", Incarnation: 2})
		b.wantPhase("b", Starting)
	}
}

// Whoever waits for a configuration to be carried out hears what became of it.
func TestConfigurationsSupersedeOneAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	apply := func(token, digest string, specs []*Spec) {
		b.raw(Input{Kind: Configure, Specs: specs, Token: token, Configuration: &Configuration{Source: "f", Digest: digest, MaxUnavailable: 1}})
	}
	apply("first", "2", five("2"))
	b.replace("a")
	b.raw(Input{Kind: Order, Command: CmdRoll, Node: "root", Count: 1, Outdated: true, Token: "by-hand"})
	apply("second", "1", five("1"))
	if a, ok := b.tree.Answered("first"); !ok || a.Result != Superseded {
		t.Errorf("the first configuration: %+v", a)
	}
	b.equal("its name", b.tree.Rolling().ID, "second")
	for _, token := range []string{"second", "by-hand"} {
		if a, ok := b.tree.Answered(token); ok {
			t.Errorf("%s is answered too early: %+v", token, a)
		}
	}
	b.replace("b", "a")
	for _, token := range []string{"second", "first"} {
		a, ok := b.tree.Answered(token)
		if want := map[string]Result{"first": Superseded, "second": OK}[token]; !ok || a.Result != want {
			t.Errorf("%s: %+v", token, a)
		}
	}
}

// What older programs stored of a rolling restart under way is carried on.
func TestFormerRollingRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.apply(2, five("2")...)
	s := b.tree.Snapshot()
	for id, r := range s.Nodes {
		if r.State.Renewal == nil {
			continue
		}
		raw := fmt.Sprintf(`{"spec":{"id":%q},"state":{"phase":"running","renewal":{"build":"1","roll":1}}}`, id)
		if id == "a" || id == "b" {
			raw = fmt.Sprintf(`{"spec":{"id":%q},"state":{"phase":"stopping","then":"restart","incarnation":1}}`, id)
		}
		old, err := ReadRecord(2, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		r.State.Renewal = old.State.Renewal
	}
	s.Nodes["root"].State.Supervisor.Rolling.Now = []Replaced{{"a", 1}, {"b", 1}}
	tree, err := Load(Options{}, s)
	if err != nil {
		t.Fatal(err)
	}
	b.tree = tree
	b.replace("a")
	b.equal("stopping", b.stopping(), "b c")
	b.replace("b", "c")
	b.replace("d", "e")
	b.equal("rolling", b.tree.Rolling() == nil, true)
}

func TestKeptAgentsAreOutdated(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.apply(0, five("2")...)
	b.equal("stopping", b.stopping(), "")
	b.equal("outdated", b.tree.Outdated("a"), true)
	b.crash("b")
	b.equal("a crashed one", b.tree.Outdated("b"), false)
	again, err := Load(Options{}, b.tree.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	b.tree = again
	b.equal("as a successor knows it", b.tree.Outdated("a"), true)
	b.apply(1, five("1")...)
	b.equal("as it was", b.tree.Outdated("a"), false)
	b.equal("the one with the other build", b.stopping(), "b")
}

// The former file, applied in the middle, undoes what was done.
func TestRollBackInTheMiddle(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.apply(1, five("2")...)
	b.replace("a")
	b.equal("stopping", b.stopping(), "b")
	b.apply(1, five("1")...)
	b.replace("b")
	b.equal("stopping", b.stopping(), "a")
	b.replace("a")
	b.equal("rolling", b.tree.Rolling() == nil, true)
	for id, want := range map[string]uint64{"a": 3, "b": 2, "c": 1} {
		b.equal(id, b.state(id).Incarnation, want)
	}
}

// An agent that is down starts as specified; nobody waits for it.
func TestWhatIsDownIsNotOutdated(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
	b.apply(1, five("2")...)
	b.equal("a is outdated", b.tree.Outdated("a"), false)
	b.equal("stopping", b.stopping(), "b")
}

// Trees of older versions know no builds: nothing is restarted for want of one.
func TestUnknownBuildsAreTheSame(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("")...)
	b.apply(1, five("1")...)
	b.equal("stopping", b.stopping(), "")
	b.apply(1, five("2")...)
	b.equal("stopping", b.stopping(), "a")
}

// An agent that was set apart is tried at once when it is another program.
func TestIsolatedAgentsAreTriedWhenTheyChange(t *testing.T) {
	t.Parallel()
	specs := func(build string) []*Spec {
		return []*Spec{sup("root", "", Supervisor{Escalation: Isolate, Period: time.Minute}), agent("a", "root", built(build)), agent("b", "root", built("1"))}
	}
	b := newBench(t, specs("1")...)
	b.crash("a")
	b.wantPhase("a", Isolated)
	b.apply(1, specs("1")...)
	b.wantPhase("a", Isolated)
	b.apply(1, specs("2")...)
	b.wantPhase("a", Starting)
	b.equal("stopping", b.stopping(), "")
}

// A start that was not carried out is made again as specified now.
func TestStartMadeAgainIsCurrent(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]Input{
		"declined":  {Kind: Declined, Node: "a", Incarnation: 1, Runner: "r"},
		"overtaken": {Kind: Raised, Node: "a", Incarnation: 7, Reason: "stale_incarnation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := slow(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", built("1")))
			b.apply(0, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", built("2")))
			b.equal("outdated before", b.tree.Outdated("a"), true)
			in.Runner = b.state("a").Runner
			b.raw(in)
			b.equal("outdated", b.tree.Outdated("a"), false)
		})
	}
}

// While a start is under way the specification changes there and back. What runs may
// be either, as a successor orders the start again.
func TestChangedWhileItStarts(t *testing.T) {
	t.Parallel()
	specs := func(build string) []*Spec {
		return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", built(build))}
	}
	b := slow(t, specs("1")...)
	b.apply(0, specs("2")...)
	b.apply(0, specs("1")...)
	b.equal("outdated", b.tree.Outdated("a"), true)
	b.started("a")
	b.apply(1, specs("1")...)
	b.equal("stopping", b.stopping(), "a")
	b.replace("a")
	b.equal("outdated", b.tree.Outdated("a"), false)
}

// An agent that is added below a supervisor that waited is followed once.
func TestAddedBelowWhatWaited(t *testing.T) {
	t.Parallel()
	file := func(bad string, more ...*Spec) []*Spec {
		return append([]*Spec{sup("root", "", Supervisor{Escalation: CoolOff, CoolOff: time.Hour}), agent("bad", "root", built(bad))}, more...)
	}
	b := newBench(t, file("1")...)
	b.crash("bad")
	b.apply(1, file("2", agent("more", "root"))...)
	b.raw(Input{Kind: Started, Node: "bad", Incarnation: 2})
	b.raw(Input{Kind: Started, Node: "more", Incarnation: 1})
	b.equal("rolling", b.tree.Rolling() == nil, true)
}

// Whoever applies a configuration hears whether the agents that it adds come up. They
// hold up nothing, and one that fails stops nothing.
func TestAddedAgentsAreFollowed(t *testing.T) {
	t.Parallel()
	file := func(build string, more ...string) []*Spec {
		specs := five(build)
		for _, id := range more {
			specs = append(specs, agent(id, "root", func(s *Spec) { s.Backoff.Delay = time.Minute }))
		}
		return specs
	}
	for name, c := range map[string]struct {
		build string
		most  int
		fails bool
	}{
		"comes up": {"1", 1, false}, "fails": {"1", 1, true}, "fails beside a rolling restart": {"2", 1, true}, "fails, and none is restarted": {"2", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, file("1")...)
			b.raw(Input{Kind: Configure, Specs: file(c.build, "f"), Token: "t", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: c.most}})
			if _, ok := b.tree.Answered("t"); ok {
				t.Error("it is answered before the new agent is up")
			}
			want := Answer{Token: "t", Result: OK}
			if c.fails {
				b.raw(Input{Kind: StartFailed, Node: "f", Incarnation: 1, Reason: "no such program"})
				want = Answer{Token: "t", Result: NotVerified, Reason: "f could not be verified: no such program"}
			} else {
				b.raw(Input{Kind: Started, Node: "f", Incarnation: 1})
			}
			if c.build == "2" && c.most > 0 {
				for _, a := range []string{"a", "b", "c", "d", "e"} {
					b.equal("stopping", b.stopping(), a)
					b.replace(a)
				}
			}
			if a, _ := b.tree.Answered("t"); a != want {
				t.Errorf("answered %+v, want %+v", a, want)
			}
			b.equal("rolling", b.tree.Rolling() == nil, true)
		})
	}
}

// A supervisor that cools off or is set apart because of an agent need not wait any
// longer when that agent is another program.
func TestSupervisorsThatWaitAreStartedWhenTheCulpritChanges(t *testing.T) {
	t.Parallel()
	for name, of := range map[string][]Supervisor{
		"cools off":            {{MaxRestarts: 9}, {Escalation: CoolOff, CoolOff: time.Hour}},
		"is set apart":         {{Escalation: Isolate, Period: time.Minute}, {}},
		"the root cools off":   {{Escalation: CoolOff, CoolOff: time.Hour}, {}},
		"an innocent is moved": {{MaxRestarts: 9}, {Escalation: CoolOff, CoolOff: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := func(bad, good string) []*Spec {
				return []*Spec{sup("root", "", of[0]), sup("s", "root", of[1]), agent("bad", "s", built(bad)), agent("good", "s", built(good))}
			}
			b := newBench(t, file("1", "1")...)
			b.crash("bad")
			b.wantPhase("good", Idle)
			bad, good := "2", "1"
			if name == "an innocent is moved" {
				bad, good = "1", "2"
			}
			b.raw(Input{Kind: Configure, Specs: file(bad, good), Token: "t", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
			if bad == "1" {
				b.wantPhase("bad", Idle)
				return
			}
			b.wantPhase("bad", Starting)
			b.wantPhase("good", Starting)
			b.raw(Input{Kind: Started, Node: "good", Incarnation: 2})
			b.raw(Input{Kind: Started, Node: "bad", Incarnation: 2})
			if a, _ := b.tree.Answered("t"); a.Result != OK {
				t.Errorf("answered %+v", a)
			}
		})
	}
}

// What is started with a supervisor that need not wait any longer runs the new program
// already: it takes part in the rolling restart, which counts it as down until it is
// up, and does not restart it once more. That holds in whatever order they are listed.
func TestWhatStartsWithItsSupervisorIsNotRestartedOnceMore(t *testing.T) {
	t.Parallel()
	cools, isolates := Supervisor{Escalation: CoolOff, CoolOff: time.Hour}, Supervisor{Escalation: Isolate, Period: time.Minute}
	for name, of := range map[string][]Supervisor{
		"cools off":                 {{MaxRestarts: 9}, cools},
		"is set apart":              {isolates, {}},
		"is a group that cools off": {{MaxRestarts: 9}, {Strategy: RestForOne, Escalation: CoolOff, CoolOff: time.Hour}},
	} {
		for _, order := range [][]string{{"good", "bad"}, {"bad", "good"}} {
			t.Run(name+", first "+order[0], func(t *testing.T) {
				t.Parallel()
				file := func(build string) []*Spec {
					specs := []*Spec{sup("root", "", of[0]), agent("other", "root", built(build)), sup("s", "root", of[1])}
					for _, id := range order {
						specs = append(specs, agent(id, "s", built(build)))
					}
					return specs
				}
				b := newBench(t, file("1")...)
				b.crash("bad")
				b.raw(Input{Kind: Configure, Specs: file("2"), Token: "t", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
				if first := b.state(order[0]); first.Phase != Starting {
					t.Fatalf("%s is %s", order[0], first.Phase)
				}
				for _, id := range order {
					if id == "good" {
						b.equal("stopping before all are up", b.stopping(), "")
					}
					b.raw(Input{Kind: Started, Node: id, Incarnation: 2})
				}
				b.equal("stopping", b.stopping(), "other")
				b.replace("other")
				b.equal("stopping at the end", b.stopping(), "")
				b.equal("good", b.state("good").Incarnation, uint64(2))
				b.equal("bad", b.state("bad").Incarnation, uint64(2))
				if a, _ := b.tree.Answered("t"); a.Result != OK {
					t.Errorf("answered %+v", a)
				}
				b.equal("rolling", b.tree.Rolling() == nil, true)
			})
		}
	}
}

// What the configuration itself lets start runs the new program: it takes part in the
// rolling restart, which counts it as down until it is up. It is not restarted once
// more.
func TestWhatAConfigurationLetsStartTakesPart(t *testing.T) {
	t.Parallel()
	nowhere := func(s *Spec) { s.Agent.Runner = "nowhere" }
	group := sup("g", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 9})
	for name, c := range map[string]struct{ before, after []*Spec }{
		"placed again": {[]*Spec{agent("u", "root", built("1"), nowhere)}, []*Spec{agent("u", "root", built("2"))}},
		"its group waited for one that is removed": {
			[]*Spec{group, agent("first", "g", nowhere), agent("u", "g", built("1"))}, []*Spec{group, agent("u", "g", built("2"))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := func(build string, others []*Spec) []*Spec {
				return append([]*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", built(build))}, others...)
			}
			b := &bench{t: t, tree: New(Options{}), now: epoch}
			b.runners("r1")
			b.do(Input{Kind: Configure, Specs: file("1", c.before), Boot: true})
			b.raw(Input{Kind: Configure, Specs: file("2", c.after), Token: "t", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
			b.wantPhase("u", Starting)
			b.equal("stopping", b.stopping(), "")
			incarnation := b.state("u").Incarnation
			b.started("u")
			b.equal("stopping", b.stopping(), "a")
			b.replace("a")
			b.equal("incarnation", b.state("u").Incarnation, incarnation)
			b.equal("rolling", b.tree.Rolling() == nil, true)
			if a, _ := b.tree.Answered("t"); a.Result != OK {
				t.Errorf("answered %+v", a)
			}
		})
	}
}
