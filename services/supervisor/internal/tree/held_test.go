package tree

import (
	"testing"
	"time"
)

// What gave up, was set apart, cools off or waits for its delay when the service stops
// does so, for as long as before, when the service has started again, and then goes on
// from there.
func TestAStopOfTheServiceUndoesNothing(t *testing.T) {
	t.Parallel()
	specs := func(root Strategy) []*Spec {
		slow := func(s *Spec) { s.Backoff.Delay = time.Hour }
		return []*Spec{
			sup("root", "", Supervisor{Strategy: root, MaxRestarts: 99}), agent("ok", "root"),
			sup("term", "root", Supervisor{Strategy: OneForAll, Escalation: Terminate}), agent("t1", "term"), agent("t2", "term"),
			isolating("iso", "root", 0), agent("apart", "iso"), agent("beside", "iso"),
			sup("cool", "root", Supervisor{Escalation: CoolOff, CoolOff: time.Minute}), agent("c", "cool"),
			sup("more", "root", Supervisor{MaxRestarts: 9}), agent("late", "more", slow), agent("again", "more"),
			transient(sup("shut", "more", Supervisor{})), agent("x", "shut"),
		}
	}
	for _, strategy := range []Strategy{OneForOne, OneForAll, RestForOne} {
		for name, stop := range map[string]func(*bench){
			"killed":        func(*bench) {},
			"stopped":       func(b *bench) { b.stop() },
			"stopped twice": func(b *bench) { b.stop(); b.boot(); b.stop() },
		} {
			t.Run(string(strategy)+" "+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, specs(strategy)...)
				for _, a := range []string{"t1", "apart", "c", "late", "again", "x"} {
					b.crash(a)
				}
				was := b.state("late")
				stop(b)
				b.boot()
				for id, phase := range map[string]Phase{
					"term": Idle, "t1": Idle, "apart": Isolated, "cool": Waiting, "c": Idle, "late": Waiting, "shut": Idle, "x": Idle,
					"ok": Running, "beside": Running, "again": Running, "iso": Running, "more": Running,
				} {
					b.wantPhase(id, phase)
				}
				b.equal("term", b.state("term").End, EndGaveUp)
				b.equal("late", b.state("late").Due, was.Due)
				b.equal("the failures of again", b.state("again").Attempts, 1)
				b.equal("the restarts of more", len(b.state("more").Supervisor.Window), 2)
				b.after(2 * time.Minute)
				b.wantPhase("c", Running)
				b.wantPhase("apart", Running)
				b.crash("apart") // on trial
				b.wantPhase("apart", Isolated)
				b.equal("rounds", b.state("apart").Isolation.Rounds, 2)
				b.do(command(CmdRestart, "term"))
				b.do(command(CmdRestart, "more"))
				for _, id := range []string{"term", "t1", "t2", "late", "shut", "x"} {
					b.wantPhase(id, Running)
				}
				b.equal("the failures of again", b.state("again").Attempts, 0)
			})
		}
	}
}

// stop stops the tree because the service stops.
func (b *bench) stop() { b.do(Input{Kind: Order, Command: CmdClose, Node: "root"}) }

// boot starts the service again, which knows what the log has.
func (b *bench) boot() {
	b.tree = roundTrip(b.t, b.tree, b.tree.opt)
	b.do(Input{Kind: Configure, Keep: true, Boot: true})
}

// A supervisor that is giving up or about to cool off when the service stops has done so
// when the service starts again.
func TestAStopOfTheServiceWhileASupervisorEnds(t *testing.T) {
	t.Parallel()
	for _, root := range []Strategy{OneForOne, OneForAll} {
		for name, c := range map[string]struct {
			is    Supervisor
			phase Phase
		}{
			"gives up":     {Supervisor{Strategy: OneForAll, Escalation: Terminate}, Idle},
			"cools off":    {Supervisor{Strategy: OneForAll, Escalation: CoolOff, CoolOff: time.Minute}, Waiting},
			"side by side": {Supervisor{Escalation: Terminate}, Idle},
		} {
			for _, cut := range []bool{false, true} {
				t.Run(string(root)+" "+name, func(t *testing.T) {
					t.Parallel()
					b := newBench(t, sup("root", "", Supervisor{Strategy: root, MaxRestarts: 9}), agent("before", "root"), sup("s", "root", c.is), agent("a", "s"), agent("slow", "s"))
					b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
					b.wantPhase("s", Stopping)
					b.raw(command(CmdClose, "root"))
					if !cut {
						b.do(Input{Kind: Stopped, Node: "slow", Incarnation: 1})
						b.do(Input{Kind: Stopped, Node: "before", Incarnation: 1})
						b.wantPhase("root", Idle)
					}
					b.boot()
					if cut {
						b.do(Input{Kind: Stopped, Node: "slow", Incarnation: 1})
						b.do(Input{Kind: Stopped, Node: "before", Incarnation: 1})
					}
					b.wantPhase("s", c.phase)
					b.wantPhase("before", Running)
					b.after(2 * time.Minute)
					if c.phase == Waiting {
						b.wantPhase("a", Running)
					} else {
						b.equal("s", b.state("s").End, EndGaveUp)
					}
				})
			}
		}
	}
}

// A supervisor of a group gives up while the service stops, before its group has come to
// it: it has done so when the service starts again.
func TestASupervisorGivesUpBeforeItsTurnToStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		is    Supervisor
		phase Phase
	}{
		"gives up":  {Supervisor{Escalation: Terminate}, Idle},
		"cools off": {Supervisor{Escalation: CoolOff, CoolOff: time.Minute}, Waiting},
	} {
		b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), sup("s", "root", c.is), agent("a", "s"), agent("after", "root"))
		b.raw(command(CmdClose, "root"))
		b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
		b.do(Input{Kind: Stopped, Node: "after", Incarnation: 1})
		b.wantPhase("root", Idle)
		b.boot()
		b.equal(name, b.state("s").Phase, c.phase)
		b.wantPhase("after", Running)
	}
}

// A root that cools off when the service stops cools off to the end.
func TestAStopOfTheServiceWhileTheRootCoolsOff(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Escalation: CoolOff, CoolOff: time.Minute}), agent("a", "root"))
	b.crash("a")
	due := b.state("root").Due
	for range 2 {
		b.stop()
		b.wantPhase("root", Idle)
		b.boot()
		b.wantPhase("root", Waiting)
		b.equal("due", b.state("root").Due, due)
	}
	b.stop()
	b.after(time.Hour)
	b.wantPhase("a", Idle)
	b.boot()
	b.do(Input{Kind: Tick})
	b.wantPhase("a", Running)
}

// A file that is edited while the service is down counts for what is held as for what
// waits: a program that is another one now is tried at once, and so is what a limit now
// allows.
func TestWhatIsHeldAndEdited(t *testing.T) {
	t.Parallel()
	specs := func(build string, restarts int) []*Spec {
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 9}), isolating("iso", "root", restarts), agent("a", "iso", func(s *Spec) { s.Agent.Build = build }),
			sup("cool", "root", Supervisor{MaxRestarts: restarts, Escalation: CoolOff, CoolOff: time.Hour}), agent("c", "cool", func(s *Spec) { s.Agent.Build = build }),
		}
	}
	for name, c := range map[string]struct {
		specs []*Spec
		up    bool
	}{
		"nothing changed": {specs("1", 0), false}, "another program": {specs("2", 0), true}, "another limit": {specs("1", 5), true},
	} {
		for _, stops := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, specs("1", 0)...)
				b.crash("a")
				b.crash("c")
				if stops {
					b.stop()
				}
				b.tree = roundTrip(t, b.tree, b.tree.opt)
				b.do(Input{Kind: Configure, Specs: c.specs, Boot: true, Configuration: &Configuration{Digest: "2", MaxUnavailable: 1}})
				for _, id := range []string{"a", "c"} {
					if up := b.state(id).Phase == Running; up != c.up {
						t.Errorf("%s: stops %t: %s", id, stops, b.state(id).Phase)
					}
				}
			})
		}
	}
}

func transient(s *Spec) *Spec {
	s.Restart = Transient
	return s
}

// An agent that was moved while it was set apart stays apart until its time is over, also
// when the same configuration is read again.
func TestMovedWhileSetApart(t *testing.T) {
	t.Parallel()
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), isolating("iso", "root", 0), agent("a", "iso"), sup("other", "root", Supervisor{MaxRestarts: 9})}
	b := newBench(t, specs...)
	b.crash("a")
	b.do(Input{Kind: Order, Command: CmdMove, Node: "a", To: "other"})
	for range 2 {
		b.do(Input{Kind: Configure, Specs: specs, Boot: true})
		b.wantPhase("a", Isolated)
		b.stop()
	}
	b.do(Input{Kind: Configure, Specs: specs, Boot: true})
	b.after(time.Hour)
	b.wantPhase("a", Running)
}

// A root that gave up starts with the service, and has all its restarts again.
func TestARootThatGaveUpStartsAfresh(t *testing.T) {
	t.Parallel()
	for _, stops := range []bool{false, true} {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 1, Escalation: Terminate}), agent("a", "root"))
		b.crash("a")
		b.crash("a")
		b.equal("root", b.state("root").End, EndGaveUp)
		if stops {
			b.stop()
		}
		b.boot()
		b.crash("a")
		b.wantPhase("a", Running)
	}
}
