package tree

import (
	"testing"
	"time"
)

// TestRestartTypesCountForWhatIsDown: an agent that was left down when it ended is
// decided about again when it has another restart type.
func TestRestartTypesCountForWhatIsDown(t *testing.T) {
	t.Parallel()
	completed := func(b *bench) { b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Normal: true, Reason: "done"}) }
	crashed := func(b *bench) { b.crash("a") }
	requested := func(b *bench) {
		b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Requested: true, Reason: "stopped"})
	}
	terminated := func(b *bench) { b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a"}) }
	withGroup := func(b *bench) { b.crash("first") }
	for _, c := range []struct {
		name     string
		strategy Strategy
		was, is  Restart
		ends     func(*bench)
		want     Phase
	}{
		{"a job that is to run", OneForOne, Transient, Permanent, completed, Running},
		{"in a group", RestForOne, Transient, Permanent, completed, Running},
		{"among all", OneForAll, Transient, Permanent, completed, Running},
		{"stopped by request", OneForOne, Transient, Permanent, requested, Running},
		{"a temporary one that failed", OneForOne, Temporary, Permanent, crashed, Running},
		{"and is transient", OneForOne, Temporary, Transient, crashed, Running},
		{"a temporary one that completed", OneForOne, Temporary, Permanent, completed, Running},
		{"and is done", OneForOne, Temporary, Transient, completed, Idle},
		{"gone with its group", OneForAll, Temporary, Permanent, withGroup, Running},
		{"a job that stays one", OneForOne, Transient, Transient, completed, Idle},
		{"one that stays temporary", OneForOne, Temporary, Temporary, crashed, Gone},
		{"terminated", OneForOne, Transient, Permanent, terminated, Idle},
		{"terminated in a group", RestForOne, Transient, Permanent, terminated, Idle},
		{"temporary and terminated", OneForOne, Temporary, Permanent, func(b *bench) { crashed(b); terminated(b) }, Idle},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			specs := func(r Restart) []*Spec {
				return []*Spec{
					sup("root", "", Supervisor{MaxRestarts: 9}), sup("s", "root", Supervisor{Strategy: c.strategy, MaxRestarts: 1}),
					agent("first", "s"), agent("a", "s", func(s *Spec) { s.Restart = r }), agent("last", "s"),
				}
			}
			down := func(t *testing.T) *bench {
				b := newBench(t, specs(c.was)...)
				c.ends(b)
				return b
			}
			b := down(t)
			window, last := len(b.state("s").Supervisor.Window), b.state("last").Incarnation
			b.do(Input{Kind: Configure, Specs: specs(c.is), Token: "apply", Configuration: &Configuration{Source: "f", Digest: "d", MaxUnavailable: 1}})
			b.wantPhase("a", c.want)
			b.equal("restarts that count", len(b.state("s").Supervisor.Window), window)
			b.equal("the others run on", b.state("last").Incarnation, last)

			t.Run("suspended", func(t *testing.T) {
				b := down(t)
				b.do(Input{Kind: Order, Command: CmdSuspend, Node: "root"})
				b.do(Input{Kind: Configure, Specs: specs(c.is)})
				if c.want == Running {
					b.wantPhase("a", Waiting)
				}
				b.do(Input{Kind: Order, Command: CmdResume, Node: "root"})
				b.after(0)
				b.wantPhase("a", c.want)
			})
			t.Run("with its supervisor down", func(t *testing.T) {
				b := down(t)
				b.do(Input{Kind: Order, Command: CmdClose, Node: "root"})
				b.do(Input{Kind: Configure, Specs: specs(c.is), Boot: true})
				b.wantPhase("a", c.want)
				b.wantPhase("last", Running)
			})
		})
	}
}

// TestAutoShutdownCountsForWhatIsDown: a supervisor that gave up, or that the end of a
// child shut down, runs again when a configuration no longer leaves it down.
func TestAutoShutdownCountsForWhatIsDown(t *testing.T) {
	t.Parallel()
	type settings struct {
		restart     Restart
		auto        AutoShutdown
		significant bool
	}
	shuts := settings{Transient, AnySignificant, true}
	completed := func(b *bench) { b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Normal: true, Reason: "done"}) }
	gaveUp := func(b *bench) { b.crash("b"); b.crash("b") }
	for _, c := range []struct {
		name    string
		was, is settings
		ends    func(*bench)
		want    Phase
	}{
		{"nothing", shuts, shuts, completed, Idle},
		{"it has none", shuts, settings{Transient, Never, false}, completed, Running},
		{"no child is significant", shuts, settings{Transient, AnySignificant, false}, completed, Running},
		{"another one", shuts, settings{Transient, AllSignificant, true}, completed, Idle},
		{"permanent", shuts, settings{Permanent, AnySignificant, true}, completed, Running},
		{"temporary and has none", settings{Temporary, AnySignificant, true}, settings{Temporary, Never, false}, completed, Running},
		{"gave up", shuts, settings{Permanent, AnySignificant, true}, gaveUp, Running},
		{"gave up, temporary", settings{Temporary, Never, false}, settings{Permanent, Never, false}, gaveUp, Running},
		{"gave up, and stays so", shuts, settings{Transient, Never, false}, gaveUp, Idle},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			specs := func(x settings) []*Spec {
				return []*Spec{
					sup("root", "", Supervisor{MaxRestarts: 9}),
					with(sup("s", "root", Supervisor{MaxRestarts: 1, AutoShutdown: x.auto}), func(s *Spec) { s.Restart = x.restart }),
					agent("a", "s", func(s *Spec) { s.Restart, s.Significant = Transient, x.significant }), agent("b", "s"),
				}
			}
			b := newBench(t, specs(c.was)...)
			c.ends(b)
			b.do(Input{Kind: Configure, Specs: specs(c.is), Token: "apply"})
			b.after(time.Minute)
			b.wantPhase("s", c.want)
			if c.want == Running {
				b.wantPhase("a", Running)
				b.wantPhase("b", Running)
			}
		})
	}
}

// TestRestartTypesCountForWhatWasWatched: an agent that finished while it was only
// watched is started when it is enforced, if it is permanent by then.
func TestRestartTypesCountForWhatWasWatched(t *testing.T) {
	t.Parallel()
	for restart, want := range map[Restart]Phase{Transient: Idle, Permanent: Running} {
		specs := func(r Restart) []*Spec {
			return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", func(s *Spec) { s.Restart = r })}
		}
		b := newBench(t, specs(Transient)...)
		b.mode("a", Shadow)
		b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Normal: true, Reason: "done"})
		b.wantPhase("a", Watched)
		b.do(Input{Kind: Configure, Specs: specs(restart)})
		b.wantPhase("a", Watched)
		b.mode("a", Enforce)
		b.after(time.Minute)
		b.after(time.Second)
		b.wantPhase("a", want)
	}
}

// TestMendedLabelsPlaceWhatWaits: an agent that waits for a runner is placed when its
// labels are configured otherwise.
func TestMendedLabelsPlaceWhatWaits(t *testing.T) {
	t.Parallel()
	specs := func(zone string) []*Spec {
		return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", anywhere(func(a *Agent) { a.Labels = map[string]string{"zone": zone} }))}
	}
	b := &bench{t: t, tree: New(Options{}), now: epoch}
	b.raw(Input{Kind: Runners, Runners: []Runner{{Name: "r", Labels: map[string]string{"zone": "b"}}}})
	b.do(Input{Kind: Configure, Specs: specs("a"), Boot: true})
	b.wantPhase("a", Unplaced)
	b.do(Input{Kind: Configure, Specs: specs("b")})
	b.wantPhase("a", Running)
}
