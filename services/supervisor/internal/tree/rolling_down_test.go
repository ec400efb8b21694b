package tree

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// TestEveryWayOfBeingDownCounts: a changed agent that is down, whatever it waits for,
// counts as down until it runs, and the rolling restart is done when it runs the new
// program.
func TestEveryWayOfBeingDownCounts(t *testing.T) {
	t.Parallel()
	exits := func(agent string) func(b *bench) {
		return func(b *bench) {
			b.raw(Input{Kind: Exited, Node: agent, Incarnation: b.state(agent).Incarnation, Reason: "crash"})
		}
	}
	order := func(c CommandKind, node string) func(b *bench) {
		return func(b *bench) { b.raw(Input{Kind: Order, Command: c, Node: node, Token: string(c) + node}) }
	}
	mode := func(m Mode) func(b *bench) {
		return func(b *bench) {
			r := RolloutOf(m)
			b.raw(Input{Kind: Order, Command: CmdMode, Node: "d", Mode: &r})
		}
	}
	stopped := func(agent string) func(b *bench) {
		return func(b *bench) { b.raw(Input{Kind: Stopped, Node: agent, Incarnation: b.state(agent).Incarnation}) }
	}
	runners := func(names ...string) func(b *bench) {
		return func(b *bench) {
			in := Input{Kind: Runners}
			for _, n := range names {
				in.Runners = append(in.Runners, Runner{Name: n})
			}
			b.raw(in)
		}
	}
	delay := func(s *Supervisor, d *Spec) { d.Backoff = backoff.Delays{Delay: time.Minute} }
	for name, c := range map[string]struct {
		// spec is what is configured of d, the supervisor s over it, and the root.
		spec   func(s *Supervisor, d *Spec)
		happen []func(b *bench)
		// phase is that of d before, then what happens after the configuration so that
		// it starts.
		phase Phase
		then  []func(b *bench)
	}{
		"waits for its delay": {delay, []func(*bench){exits("d")}, Waiting, nil},
		"waits for budget": {
			nil, []func(*bench){exits("f"), started("f"), exits("d")}, Throttled, nil,
		},
		"is set apart": {
			func(s *Supervisor, _ *Spec) { s.MaxRestarts, s.Escalation = 0, Isolate },
			[]func(*bench){exits("d")},
			Isolated, nil,
		},
		"waits for a runner": {
			func(_ *Supervisor, d *Spec) { d.Agent.Runner = AnyRunner },
			[]func(*bench){runners(), exits("d")},
			Unplaced,
			[]func(*bench){runners("r")},
		},
		"is held by a suspension": {
			nil, []func(*bench){order(CmdSuspend, "s"), exits("d")}, Ended, []func(*bench){order(CmdResume, "s")},
		},
		"waits for its delay, suspended": {
			delay, []func(*bench){exits("d"), order(CmdSuspend, "s")}, Waiting, []func(*bench){order(CmdResume, "s"), tick(0)},
		},
		"is listened for": {
			nil,
			[]func(*bench){mode(Off), exits("d"), mode(Enforce)},
			Claiming,
			[]func(*bench){tick(time.Second), tick(time.Minute), tick(time.Second)},
		},
		"starts": {nil, []func(*bench){order(CmdRestart, "d"), stopped("d")}, Starting, nil},
		"proves itself": {
			func(_ *Supervisor, d *Spec) { d.Agent.Verify = true },
			[]func(*bench){exits("d"), started("d")},
			Verifying, nil,
		},
		"waits with its group": {
			func(s *Supervisor, d *Spec) { s.Strategy = OneForAll },
			[]func(*bench){exits("f")},
			Stopping,
			[]func(*bench){stopped("d"), tick(time.Minute), started("f")},
		},
		"is down with its group": {
			func(s *Supervisor, d *Spec) { s.Strategy = OneForAll },
			[]func(*bench){exits("f"), stopped("d")},
			Idle,
			[]func(*bench){tick(time.Minute), started("f")},
		},
		"is down with a supervisor that cools off": {
			func(s *Supervisor, d *Spec) { s.MaxRestarts, s.Escalation, s.CoolOff = 0, CoolOff, time.Minute },
			[]func(*bench){exits("f"), stopped("d")},
			Idle,
			[]func(*bench){tick(time.Minute)},
		},
		"is down with a supervisor that restarts": {
			nil, []func(*bench){order(CmdRestart, "s"), stopped("d")}, Idle, []func(*bench){stopped("f")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			specs := func(build string) []*Spec {
				s, d := sup("s", "root", Supervisor{MaxRestarts: 9}), agent("d", "s", built(build))
				f := agent("f", "s", func(s *Spec) { s.Backoff.Delay = time.Second })
				if c.phase == Throttled {
					f.Backoff.Delay = 0
				}
				if c.spec != nil {
					c.spec(s.Supervisor, d)
				}
				root := sup("root", "", Supervisor{MaxRestarts: 9})
				if c.phase == Throttled {
					root.Supervisor.Budget = &Budget{Fleet: Allowance{Restarts: 1, Per: time.Hour}}
				}
				return []*Spec{root, agent("a", "root", built(build)), s, f, d}
			}
			b := &bench{t: t, tree: New(Options{}), now: epoch}
			b.raw(Input{Kind: Runners, Runners: []Runner{{Name: "r"}}})
			b.do(Input{Kind: Configure, Specs: specs("1"), Boot: true})
			if b.state("d").Phase == Verifying {
				b.raw(Input{Kind: Beat, Node: "d", Incarnation: 1})
				b.after(0)
			}
			for _, happens := range c.happen {
				happens(b)
			}
			b.wantPhase("d", c.phase)
			b.raw(Input{Kind: Configure, Specs: specs("2"), Token: "apply", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
			for i := 0; ; i++ {
				b.equal("a is left up while d is down", b.state("a").Phase, Running)
				if i == len(c.then) {
					break
				}
				c.then[i](b)
			}
			for b.state("d").Phase != Running || b.tree.Outdated("d") {
				b.equal("a is left up while d is down", b.state("a").Phase, Running)
				before := b.state("d").Phase
				switch before {
				case Starting:
					started("d")(b)
				case Verifying:
					b.raw(Input{Kind: Beat, Node: "d", Incarnation: b.state("d").Incarnation})
				case Stabilising:
					tick(0)(b)
				case Stopping:
					stopped("d")(b)
				}
				if b.state("d").Phase == before {
					t.Fatalf("d rests in %s: %v", before, b.done)
				}
				if n := b.tree.nodes["a"]; n.st.Phase != Running {
					break
				}
			}
			if _, answered := b.tree.Answered("apply"); answered {
				t.Error("it is done before a is replaced")
			}
			b.equal("then", b.stopping(), "a")
			b.replace("a")
			if b.stopping() == "d" { // its start under way was of the former program
				b.replace("d")
				if b.state("d").Phase == Verifying {
					b.raw(Input{Kind: Beat, Node: "d", Incarnation: b.state("d").Incarnation})
					tick(0)(b)
				}
			}
			if answer, _ := b.tree.Answered("apply"); answer.Result != OK {
				t.Errorf("answered %+v; rolling restart %+v", answer, b.tree.Rolling())
			}
		})
	}
}

// started acknowledges the start of an agent's present incarnation.
func started(agent string) func(b *bench) {
	return func(b *bench) { b.started(agent) }
}

func tick(d time.Duration) func(b *bench) {
	return func(b *bench) {
		b.now = b.now.Add(d)
		b.raw(Input{Kind: Tick})
	}
}
