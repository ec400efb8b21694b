package tree

import (
	"testing"
	"time"
)

// roll orders a rolling restart of the whole tree.
func (b *bench) roll(most int) {
	b.raw(Input{Kind: Order, Command: CmdRoll, Node: "root", Count: most, Token: "roll"})
}

// Agents that fail whether or not they are restarted do not keep an order to restart a
// few at a time from the others. They are started once, and the answer names them.
func TestBrokenAgentsStopNoRollingRestart(t *testing.T) {
	t.Parallel()
	file := func(change ...func(*Spec)) []*Spec {
		root := sup("root", "", Supervisor{MaxRestarts: 1, Escalation: Isolate})
		return []*Spec{root, agent("a", "root"), agent("bad", "root", change...), agent("c", "root")}
	}
	fails := func(b *bench) {
		b.raw(Input{Kind: Exited, Node: "bad", Incarnation: b.state("bad").Incarnation, Reason: "code 7"})
	}
	slow := func(s *Spec) { s.Backoff.Delay = time.Second }
	for name, c := range map[string]struct {
		specs []*Spec
		// before the order, and while a is restarted; the last lets bad fail.
		before, during []func(b *bench)
	}{
		"set apart": {file(), []func(*bench){fails, started("bad"), fails}, nil},
		"waits":     {file(slow), []func(*bench){fails}, nil},
		"starts":    {file(verifying), []func(*bench){fails, started("bad")}, []func(*bench){func(b *bench) { b.replace("bad") }}},
		"fails before its turn, and again": {
			file(slow), nil, []func(*bench){fails},
		},
		"fails again when it was up": {
			file(slow), nil, []func(*bench){fails, started("bad"), fails},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.specs...)
			if b.state("bad").Phase == Verifying {
				b.verify("bad")
			}
			for _, happens := range c.before {
				happens(b)
			}
			b.roll(1)
			for _, happens := range c.during {
				happens(b)
			}
			if b.state("bad").Phase.live() {
				fails(b)
			}
			b.replace("a", "c")
			b.equal("a", b.state("a").Incarnation, uint64(2))
			b.equal("c", b.state("c").Incarnation, uint64(2))
			answer, _ := b.tree.Answered("roll")
			switch {
			case name == "fails again when it was up" && answer.Result != OK:
				t.Errorf("it came up once, and the answer is %+v", answer)
			case name != "fails again when it was up" && (answer.Result != NotVerified || answer.Reason != "bad could not be verified: code 7"):
				t.Errorf("the answer is %+v, the rolling restart %+v", answer, b.tree.Rolling())
			}
		})
	}
}

// An agent that was up and fails when it is restarted stops a rolling restart. That is
// told until nothing is left of it.
func TestAStoppedRollingRestartIsToldUntilItIsMended(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient("1")...)
	b.roll(1)
	b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 2, Reason: "code 7"})
	r := b.tree.Rolling()
	b.equal("stopped", r.Stopped, "a did not come up: code 7")
	b.equal("while it is down", b.tree.Leaves(r), true)
	b.now = b.now.Add(time.Hour)
	b.raw(Input{Kind: Tick})
	b.started("a")
	b.wantPhase("a", Running)
	b.equal("when it runs", b.tree.Leaves(b.tree.Rolling()), false)
	b.apply(1, patient("2")...)
	b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 3})
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 4, Reason: "code 7"})
	b.now = b.now.Add(time.Hour)
	b.raw(Input{Kind: Tick})
	b.started("a")
	b.wantPhase("a", Running)
	b.equal("while others are outdated", b.tree.Leaves(b.tree.Rolling()), true)
}

// A configuration that supersedes another is counted by itself, also when it changes
// agents that the former had restarted or had left alone again.
func TestFiguresOfARolloutThatSupersedes(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	figures := func(what string, done, total int) {
		t.Helper()
		r := b.tree.Rolling()
		if r == nil || r.Done != done || r.Total != total || r.Since != b.now {
			t.Errorf("%s: %+v, want %d of %d since now", what, r, done, total)
		}
		b.now = b.now.Add(time.Second)
	}
	apply := func(token string, specs []*Spec) {
		b.raw(Input{Kind: Configure, Specs: specs, Token: token, Configuration: &Configuration{MaxUnavailable: 1}})
	}
	edited := five("2")
	edited[5].Agent.Build = "3" // e
	apply("2", five("2"))
	figures("the first", 0, 5)
	b.replace("a")
	apply("3", edited)
	figures("another program for one that waits", 0, 4)
	apply("4", five("1"))
	figures("the undo", 0, 2)
	apply("5", five("5"))
	figures("another right after", 0, 5)
}

// What a superseded rollout could not verify is not held against the one that follows.
func TestFailuresOfASupersededRollout(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	apply := func(token string, specs []*Spec) {
		b.raw(Input{Kind: Configure, Specs: specs, Token: token, Configuration: &Configuration{MaxUnavailable: 5}})
	}
	apply("bad", append(five("2"), agent("new", "root", func(s *Spec) { s.Restart = Temporary })))
	b.raw(Input{Kind: Exited, Node: "new", Incarnation: 1, Reason: "code 7"})
	b.equal("failed", b.tree.Rolling().Failed, "new could not be verified: code 7")
	apply("good", five("3"))
	b.replace("a", "b", "c", "d", "e")
	b.replace("a", "b", "c", "d", "e")
	answer, _ := b.tree.Answered("good")
	b.equal("answer", answer.Result, OK)
}

// An agent that a rolling restart has taken down stops it if it does not come up, also
// when an order to restart all comes meanwhile.
func TestAnOrderToRollExcusesNoneThatARolloutTookDown(t *testing.T) {
	t.Parallel()
	for _, begins := range []bool{false, true} {
		b := newBench(t, five("1")...)
		b.apply(2, five("2")...)
		if begins { // else a is still being stopped
			b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
		}
		b.roll(2)
		b.equal("stopping", b.stopping(), "a b")
		b.raw(Input{Kind: Stopped, Node: "a", Incarnation: b.state("a").Incarnation})
		b.raw(Input{Kind: Exited, Node: "a", Incarnation: b.state("a").Incarnation, Reason: "code 7"})
		b.equal("stopped", b.tree.Rolling().Stopped, "a did not come up: code 7")
	}
}

// Nor does another order to restart all excuse one that the first has taken down, and
// that is up but has yet to prove itself.
func TestASecondOrderToRollExcusesNoneThatTheFirstTookDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", verifying), agent("b", "root"))
	b.verify("a")
	b.roll(1)
	b.replace("a")
	b.beat("a")
	b.wantPhase("a", Stabilising)
	b.roll(1)
	b.equal("stopping", b.stopping(), "a")
	b.replace("a")
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: b.state("a").Incarnation, Reason: "code 7"})
	b.equal("stopped", b.tree.Rolling().Stopped, "a did not come up: code 7")
	b.wantPhase("b", Running)
}
