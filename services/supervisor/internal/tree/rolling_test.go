package tree

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func built(build string) func(*Spec) { return func(s *Spec) { s.Agent.Build = build } }

// apply configures and answers nothing.
func (b *bench) apply(most int, specs ...*Spec) []Effect {
	return b.raw(Input{Kind: Configure, Specs: specs, Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: most}})
}

// stopped lists the agents that are being stopped for the rolling restart.
func (b *bench) stopping() string {
	var out []string
	for id, n := range b.tree.nodes {
		if n.st.Phase == Stopping {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// replace confirms the end of an agent and starts its next incarnation.
func (b *bench) replace(agents ...string) {
	b.t.Helper()
	for _, a := range agents {
		inc := b.state(a).Incarnation
		b.raw(Input{Kind: Stopped, Node: a, Incarnation: inc})
		b.raw(Input{Kind: Started, Node: a, Incarnation: inc + 1})
	}
}

func (b *bench) equal(what string, got, want any) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s: got %v, want %v; done: %v", what, got, want, b.done)
	}
}

func five(build string) []*Spec {
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9})}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		specs = append(specs, agent(id, "root", built(build)))
	}
	return specs
}

func TestChangedAgentsAreRestartedInTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	changed := five("2")
	changed[2].Agent.Build = "1" // b stays
	b.apply(1, changed...)
	for _, a := range []string{"a", "c", "d", "e"} {
		b.equal("stopping", b.stopping(), a)
		b.replace(a)
	}
	b.equal("stopping", b.stopping(), "")
	b.equal("b", b.state("b").Incarnation, uint64(1))
	b.equal("a", b.state("a").Incarnation, uint64(2))
	b.equal("rolling", b.tree.Rolling() == nil, true)
	b.equal("limit", len(b.state("root").Supervisor.Window), 0)
	if !slices.Contains(b.done, "rolled root") {
		b.t.Errorf("done: %v", b.done)
	}
}

func TestAtMostSoManyAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.apply(2, five("2")...)
	b.equal("stopping", b.stopping(), "a b")
	b.replace("b")
	b.equal("stopping", b.stopping(), "a c")
	b.replace("a", "c")
	b.equal("stopping", b.stopping(), "d e")
}

// A start counts when it is verified, and not before.
func TestNextWaitsForVerification(t *testing.T) {
	t.Parallel()
	verified := func(build string) []*Spec {
		specs := five(build)
		for _, s := range specs[1:] {
			s.Agent.Verify, s.Agent.StartDeadline, s.Agent.Stabilisation = true, time.Minute, time.Second
		}
		return specs
	}
	b := newBench(t, verified("1")...)
	for _, a := range []string{"a", "b", "c", "d", "e"} {
		b.raw(Input{Kind: Beat, Node: a, Incarnation: 1})
	}
	b.now = b.now.Add(time.Second)
	b.raw(Input{Kind: Tick})
	b.apply(1, verified("2")...)
	b.replace("a")
	b.equal("while it is to beat", b.stopping(), "")
	b.raw(Input{Kind: Beat, Node: "a", Incarnation: 2})
	b.equal("while it is to stay up", b.stopping(), "")
	b.now = b.now.Add(time.Second)
	b.raw(Input{Kind: Tick})
	b.equal("then", b.stopping(), "b")
	b.replace("b")
	b.now = b.now.Add(time.Minute)
	b.raw(Input{Kind: Tick})
	b.raw(Input{Kind: Failed, Node: "b", Incarnation: 2, Reason: "unverified"})
	b.equal("after a start that was not verified", b.tree.Rolling().Stopped, "b did not come up: unverified")
	for range 10 {
		b.after(time.Minute)
	}
	b.equal("c", b.state("c").Incarnation, uint64(1))
}

func TestFailureStopsTheRest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens []Input
		stopped bool
		next    string
	}{
		"a start that fails":                {[]Input{{Kind: StartFailed, Node: "a", Incarnation: 2, Reason: "no such program"}}, true, ""},
		"a start":                           {[]Input{{Kind: Started, Node: "a", Incarnation: 2}}, false, "b"},
		"a host that is lost":               {[]Input{{Kind: Lost, Node: "a", Incarnation: 2, Reason: "host lost"}, {Kind: Started, Node: "a", Incarnation: 3}}, false, "b"},
		"a host that is lost, and no other": {[]Input{{Kind: Order, Command: CmdSuspend, Node: "s"}, {Kind: Lost, Node: "a", Incarnation: 2, Reason: "host lost"}}, false, ""},
		"an order to terminate it":          {[]Input{{Kind: Order, Command: CmdTerminate, Node: "a"}, {Kind: Stopped, Node: "a", Incarnation: 2}}, false, "b"},
		"an order to remove it":             {[]Input{{Kind: Order, Command: CmdRemove, Node: "a"}, {Kind: Stopped, Node: "a", Incarnation: 2}}, false, "b"},
		"its supervisor's end":              {[]Input{{Kind: Order, Command: CmdTerminate, Node: "s"}, {Kind: Stopped, Node: "a", Incarnation: 2}}, false, "b"},
		"an end while it is stopped":        {[]Input{{Kind: Order, Command: CmdSuspend, Node: "s"}, {Kind: StartFailed, Node: "a", Incarnation: 2, Reason: "crash"}}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			specs := func(build string) []*Spec {
				return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup("s", "root", Supervisor{MaxRestarts: 9}), agent("a", "s", built(build)), agent("b", "root", built(build)), agent("c", "root", built(build))}
			}
			b := newBench(t, specs("1")...)
			b.apply(1, specs("2")...)
			b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
			for _, in := range c.happens {
				b.raw(in)
			}
			r := b.tree.Rolling()
			if stopped := r != nil && r.Stopped != ""; stopped != c.stopped {
				t.Fatalf("rolling restart: %+v; done: %v", r, b.done)
			}
			if !c.stopped {
				b.equal("next", b.stopping(), c.next)
				return
			}
			b.equal("next", b.stopping(), "")
			b.equal("b is outdated", b.tree.Outdated("b"), true)
			b.equal("a is outdated", b.tree.Outdated("a"), false)
			if !slices.Contains(b.done, "rolling_stopped a") {
				t.Errorf("done: %v", b.done)
			}
			// An operator continues with what is left.
			b.raw(Input{Kind: Order, Command: CmdRoll, Node: "root", Count: 1, Outdated: true, Token: "t"})
			b.equal("by order", b.stopping(), "b")
		})
	}
}

// A crash of the new incarnation is a failure of the restart, however soon the
// one after it starts.
func TestCrashOfANewIncarnationStopsTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	changed := five("2")
	for _, s := range changed[1:] {
		s.Agent.Verify, s.Agent.Stabilisation = true, time.Second
	}
	b.apply(1, changed...)
	b.replace("a")
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 2, Reason: "exited with code 1"})
	b.equal("stopped", b.tree.Rolling().Stopped, "a did not come up: exited with code 1")
	b.equal("stopping", b.stopping(), "")
}

// patient are five agents that wait a minute before they are restarted.
func patient(build string) []*Spec {
	specs := five(build)
	for _, n := range specs[1:] {
		n.Backoff.Delay = time.Minute
	}
	return specs
}

// An agent that fails after its turn tells as much of a release as one that does not
// come up.
func TestFailureAfterItsTurnStopsTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient("1")...)
	b.apply(1, patient("2")...)
	b.replace("a")
	b.equal("stopping", b.stopping(), "b")
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 2, Reason: "exited with code 7"})
	b.equal("stopped", b.tree.Rolling().Stopped, "a failed after it was restarted: exited with code 7")
	b.replace("b")
	b.equal("stopping", b.stopping(), "")
	b.equal("c is outdated", b.tree.Outdated("c"), true)
}

// What is down counts, whatever brought it down.
func TestWhatIsDownCounts(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient("1")...)
	b.raw(Input{Kind: Exited, Node: "d", Incarnation: 1, Reason: "crash"})
	b.raw(Input{Kind: Order, Command: CmdRoll, Node: "root", Count: 1})
	b.wantPhase("d", Starting)
	b.equal("while d is down", b.stopping(), "")
	b.raw(Input{Kind: Started, Node: "d", Incarnation: 2})
	b.equal("stopping", b.stopping(), "a")
	b.replace("a")
	b.equal("stopping", b.stopping(), "b")
	b.raw(Input{Kind: Lost, Node: "a", Incarnation: 2, Reason: "host lost"})
	b.replace("b")
	b.equal("while a is down", b.stopping(), "")
	b.raw(Input{Kind: Started, Node: "a", Incarnation: b.state("a").Incarnation})
	b.equal("stopping", b.stopping(), "c")
}

// An agent that is coming up still counts as down when a configuration makes it
// current again.
func TestWhatComesUpCounts(t *testing.T) {
	t.Parallel()
	file := func(a, b string) []*Spec {
		slow := func(s *Spec) { s.Agent.Verify, s.Agent.Stabilisation = true, time.Second }
		return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", built(a), slow), agent("b", "root", built(b))}
	}
	b := newBench(t, file("1", "1")...)
	b.raw(Input{Kind: Beat, Node: "a", Incarnation: 1})
	b.after(time.Second)
	b.apply(1, file("2", "1")...)
	b.replace("a")
	b.apply(1, file("1", "1")...)
	b.apply(1, file("2", "2")...)
	b.equal("a is not current again", b.stopping(), "a")
	b.replace("a")
	b.equal("while a comes up", b.stopping(), "")
	b.raw(Input{Kind: Beat, Node: "a", Incarnation: 3})
	b.after(time.Second)
	b.equal("b", b.state("b").Incarnation, uint64(2))
}

// A successor goes on where the log says that its predecessor was.
func TestRollingRestartSurvivesATakeover(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.apply(1, five("2")...)
	b.replace("a")
	for _, next := range []string{"b", "c", "d", "e"} {
		again, err := Load(Options{}, b.tree.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		b.tree = again
		b.raw(Input{Kind: Configure, Keep: true, Boot: true})
		b.equal("stopping", b.stopping(), next)
		b.replace(next)
	}
	b.equal("rolling", b.tree.Rolling() == nil, true)
}

func TestOrdersToRoll(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.equal("none is outdated", string(b.raw(Input{Kind: Order, Command: CmdRoll, Node: "root", Count: 1, Outdated: true})[0].Result), "ok")
	b.equal("stopping", b.stopping(), "")
	b.equal("at least one", string(b.raw(Input{Kind: Order, Command: CmdRoll, Node: "root"})[0].Result), "invalid")
	b.raw(Input{Kind: Order, Command: CmdRoll, Node: "root", Count: 1})
	b.equal("stopping", b.stopping(), "a")
	// What an operator restarts meanwhile need not be restarted again.
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "c"})
	for _, next := range []string{"a", "b", "d", "e"} {
		b.equal("stopping", b.stopping(), next)
		b.replace(next)
	}
	b.equal("c", b.state("c").Incarnation, uint64(2))
}

// A temporary agent that is lost with its host is not started again, so nothing of
// it is waited for.
func TestLostTemporaryAgentHoldsUpNothing(t *testing.T) {
	t.Parallel()
	specs := func(build string) []*Spec {
		return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", built(build), func(s *Spec) { s.Restart = Temporary }), agent("b", "root", built(build))}
	}
	b := newBench(t, specs("1")...)
	b.apply(1, specs("2")...)
	b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
	b.raw(Input{Kind: Lost, Node: "a", Incarnation: 2, Reason: "host lost"})
	b.equal("stopping", b.stopping(), "b")
	b.replace("b")
	b.equal("rolling", b.tree.Rolling() == nil, true)
}
