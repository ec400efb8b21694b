package tree

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/internal/property"
)

// isolating is a supervisor that allows each child so many restarts a minute.
func isolating(id, parent string, restarts int) *Spec {
	return sup(id, parent, Supervisor{MaxRestarts: restarts, Escalation: Isolate})
}

func TestIsolateSetsOneChildApart(t *testing.T) {
	t.Parallel()
	b := newBench(t, isolating("root", "", 1), isolating("s", "root", 1), agent("a", "s"), agent("b", "s"), agent("z", "root"))
	b.crash("a")
	b.crash("b") // each has its own limit
	b.took()
	b.crash("a")
	if got := b.took(); got != "isolate a" {
		t.Errorf("done %s", got)
	}
	b.wantPhase("a", Isolated)
	st := b.state("a")
	if st.Why != "crash" || st.Due != b.now.Add(DefaultCoolOff) {
		t.Errorf("%+v", st)
	}
	for _, id := range []string{"root", "s", "b", "z"} {
		b.wantPhase(id, Running)
	}
	if w := b.state("s").Supervisor.Window; len(w) > 0 {
		t.Errorf("its supervisor counts %v", w)
	}
	b.after(DefaultCoolOff)
	b.wantPhase("a", Running)
	if got := b.took(); got != "restart a, start a, running a" {
		t.Errorf("done %s", got)
	}
}

// Cool-offs double up to their maximum while the child fails before it has run
// for a whole period, and are forgotten once it has.
func TestCoolOffsDouble(t *testing.T) {
	t.Parallel()
	s := isolating("root", "", 0)
	s.Supervisor.CoolOff, s.Supervisor.MaxCoolOff = 10*time.Second, time.Minute
	b := newBench(t, s, agent("a", "root"))
	for i, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		b.crash("a")
		b.wantPhase("a", Isolated)
		if got := time.Duration(b.state("a").Due - b.now); got != want {
			t.Errorf("cool-off %d is %s, want %s", i+1, got, want)
		}
		b.after(want)
		b.wantPhase("a", Running)
		b.after(59 * time.Second)
	}
	b.after(time.Second)
	b.crash("a")
	if got := time.Duration(b.state("a").Due - b.now); got != 10*time.Second {
		t.Errorf("after a period of running well the cool-off is %s", got)
	}
}

// What is not the child's own failure costs nothing of its limit.
func TestLostHostsDoNotIsolate(t *testing.T) {
	t.Parallel()
	b := newBench(t, isolating("root", "", 0), agent("a", "root"))
	for range 5 {
		b.do(Input{Kind: Lost, Node: "a", Incarnation: b.state("a").Incarnation, Reason: "host lost"})
		b.wantPhase("a", Running)
	}
	b.crash("a")
	b.wantPhase("a", Isolated)
	b.after(DefaultCoolOff)
	b.do(Input{Kind: Lost, Node: "a", Incarnation: b.state("a").Incarnation, Reason: "host lost"})
	b.wantPhase("a", Running) // nor is the trial over
	b.crash("a")
	if got := time.Duration(b.state("a").Due - b.now); got != 2*DefaultCoolOff {
		t.Errorf("the second cool-off is %s", got)
	}
}

// Failed starts, starts that are not verified and verdicts count as failures.
func TestWhatCountsTowardsIsolation(t *testing.T) {
	t.Parallel()
	verified := func(s *Spec) { s.Agent.Verify, s.Agent.StartDeadline = true, time.Second }
	for name, fail := range map[string]func(b *bench, incarnation uint64){
		"start failed": func(b *bench, i uint64) { b.raw(Input{Kind: StartFailed, Node: "a", Incarnation: i, Reason: "x"}) },
		"unverified": func(b *bench, i uint64) {
			b.raw(Input{Kind: Started, Node: "a", Incarnation: i})
			b.raw(Input{Kind: Failed, Node: "a", Incarnation: i, Reason: "unverified"})
			b.raw(Input{Kind: Stopped, Node: "a", Incarnation: i})
		},
		"verdict": func(b *bench, i uint64) {
			b.raw(Input{Kind: Started, Node: "a", Incarnation: i})
			b.raw(Input{Kind: Beat, Node: "a", Incarnation: i})
			b.raw(Input{Kind: Failed, Node: "a", Incarnation: i, Reason: "silent"})
			b.raw(Input{Kind: Stopped, Node: "a", Incarnation: i})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{t: t, tree: New(Options{}), now: epoch}
			b.raw(Input{Kind: Configure, Specs: []*Spec{isolating("root", "", 2), agent("a", "root", verified)}, Boot: true})
			for i := range uint64(3) {
				b.wantPhase("a", Starting)
				fail(b, i+1)
			}
			b.wantPhase("a", Isolated)
		})
	}
}

// A group that gives up is set apart as a whole, and tried again as a whole.
func TestIsolatedSupervisor(t *testing.T) {
	t.Parallel()
	b := newBench(t, isolating("root", "", 0), sup("g", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 0}), agent("a", "g"), agent("b", "g"), agent("z", "root"))
	b.took()
	b.crash("a")
	if got := b.took(); got != "escalate g, stop b, down g, isolate g" {
		t.Errorf("done %s", got)
	}
	b.wantPhase("g", Isolated)
	b.wantPhase("a", Idle)
	b.wantPhase("z", Running)
	b.after(DefaultCoolOff)
	b.wantPhase("g", Running)
	b.wantPhase("b", Running)
}

// What operators do to an isolated child happens at once, and a start forgets the
// cool-offs.
func TestOrdersOfAnIsolatedChild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		order Input
		want  Phase // empty for removed
	}{
		{Input{Command: CmdStart}, Running},
		{Input{Command: CmdRestart}, Running},
		{Input{Command: CmdTerminate}, Idle},
		{Input{Command: CmdRemove}, ""},
		{Input{Command: CmdDelete}, ""},
		{Input{Command: CmdMove, To: "t"}, Isolated},
		{Input{Command: CmdMode, Mode: &Rollout{Otherwise: Off}}, Watched},
	} {
		t.Run(string(c.order.Command), func(t *testing.T) {
			b := newBench(t, isolating("root", "", 9), isolating("s", "root", 0), sup("t", "root", Supervisor{}), agent("a", "s"))
			b.crash("a")
			b.wantPhase("a", Isolated)
			b.took()
			c.order.Kind, c.order.Node = Order, "a"
			b.do(c.order)
			if got := b.tree.Has("a"); got != (c.want != "") {
				t.Fatalf("there: %v; done %s", got, b.took())
			}
			if c.want == "" {
				return
			}
			b.wantPhase("a", c.want)
			if st := b.state("a"); c.want == Running && st.Isolation != nil {
				t.Errorf("not forgotten: %+v", st.Isolation)
			}
			b.after(DefaultCoolOff)
			if c.want == Isolated {
				c.want = Running // under its new supervisor
			}
			b.wantPhase("a", c.want)
		})
	}
}

// A restart of the supervisor, or of the group that it is in, starts its isolated
// children afresh; a suspended one tries none.
func TestIsolatedWithItsSupervisor(t *testing.T) {
	t.Parallel()
	specs := []*Spec{sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), isolating("s", "root", 0), agent("a", "s"), agent("z", "root")}
	for name, do := range map[string]func(b *bench){
		"restart of the supervisor": func(b *bench) { b.do(Input{Kind: Order, Command: CmdRestart, Node: "s"}) },
		"restart of the group":      func(b *bench) { b.crash("z") },
		"after a stop of all": func(b *bench) {
			b.do(Input{Kind: Order, Command: CmdTerminate, Node: "root"})
			b.wantPhase("a", Idle)
			b.after(time.Hour)
			b.wantPhase("a", Idle)
			b.do(Input{Kind: Order, Command: CmdStart, Node: "root"})
		},
		"suspended": func(b *bench) {
			b.do(Input{Kind: Order, Command: CmdSuspend, Node: "s"})
			b.after(time.Hour)
			b.wantPhase("a", Isolated)
			b.do(Input{Kind: Order, Command: CmdResume, Node: "s"})
			b.after(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, specs...)
			b.crash("a")
			b.wantPhase("a", Isolated)
			do(b)
			b.wantPhase("a", Running)
		})
	}
}

// In shadow mode a child that fails too often is proposed to be set apart, twice
// as long the next time, and its supervisor is not concerned.
func TestIsolationIsProposed(t *testing.T) {
	t.Parallel()
	s := isolating("root", "", 1)
	s.Mode = &Rollout{Otherwise: Shadow}
	b := newBench(t, s, agent("a", "root"), agent("b", "root"))
	b.took()
	var got []string
	for range 4 {
		for _, e := range b.raw(Input{Kind: Exited, Node: "a", Reason: "crash"}) {
			got = append(got, fmt.Sprint(e.Kind, " ", e.Action, " ", e.Node, " ", time.Duration(max(0, e.Due-b.now))))
		}
		b.raw(Input{Kind: SeenAlive, Node: "a"})
	}
	want := []string{"propose restart a 0s", "propose isolate a 1m0s", "propose isolate a 2m0s", "propose isolate a 4m0s"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("proposed %q", got)
	}
}

// A snapshot carries isolation.
func TestIsolationIsStored(t *testing.T) {
	t.Parallel()
	b := newBench(t, isolating("root", "", 0), agent("a", "root"))
	b.crash("a")
	raw, err := json.Marshal(b.tree.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var s Snapshot
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if b.tree, err = Load(Options{}, s); err != nil {
		t.Fatal(err)
	}
	b.after(DefaultCoolOff)
	b.wantPhase("a", Running)
	b.crash("a")
	if got := time.Duration(b.state("a").Due - b.now); got != 2*DefaultCoolOff {
		t.Errorf("the second cool-off is %s", got)
	}
}

func TestGroupsCannotIsolate(t *testing.T) {
	t.Parallel()
	for _, s := range []Strategy{OneForAll, RestForOne, Escalate} {
		spec := sup("root", "", Supervisor{Strategy: s, Escalation: Isolate})
		if err := spec.Validate(); err == nil {
			t.Errorf("%s: accepted", s)
		}
	}
}

// TestFailuresStayWithTheirChild: whatever happens to a child of a supervisor that
// isolates, nothing is done, concluded or remembered about any other node.
func TestFailuresStayWithTheirChild(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		period := time.Duration(rapid.IntRange(1, 20).Draw(rt, "period")) * time.Second
		limit := rapid.IntRange(0, 3).Draw(rt, "limit")
		specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 1}), sup("s", "root", Supervisor{MaxRestarts: limit, Period: period, Escalation: Isolate, CoolOff: time.Second, MaxCoolOff: 8 * time.Second})}
		names := []string{"a", "b", "c"}
		for _, id := range names {
			a := agent(id, "s")
			a.Restart = rapid.SampledFrom([]Restart{Permanent, Transient, Temporary}).Draw(rt, id+" restart")
			a.Backoff = backoff.Delays{Delay: time.Duration(rapid.IntRange(0, 2).Draw(rt, id+" delay")) * time.Second}
			a.Agent.Verify, a.Agent.StartDeadline, a.Agent.Stabilisation = rapid.Bool().Draw(rt, id+" verify"), time.Second, time.Second
			specs = append(specs, a)
		}
		tr, now := New(Options{}), epoch
		tr.Step(&Input{Kind: Configure, Specs: specs, Boot: true}, now, nil)
		for _, id := range names {
			tr.Step(&Input{Kind: Started, Node: id, Incarnation: 1}, now, nil)
			tr.Step(&Input{Kind: Beat, Node: id, Incarnation: 1}, now, nil)
		}
		tr.Changes(nil)
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			id := rapid.SampledFrom(names).Draw(rt, "node")
			kind := rapid.SampledFrom([]InputKind{Started, Started, Beat, StartFailed, Stopped, Exited, Exited, Failed, Lost, Tick}).Draw(rt, "kind")
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "ms")) * time.Millisecond)
			in := Input{Kind: kind, Node: id, Reason: "x"}
			if n := tr.nodes[id]; n != nil {
				in.Incarnation = n.st.Incarnation
			}
			effects, changes := tr.Step(&in, now, nil), tr.Changes(nil)
			if kind == Tick {
				continue // time passes for all
			}
			for _, e := range effects {
				if e.Node != id {
					rt.Fatalf("%s of %s led to %s %s", kind, id, e.Kind, e.Node)
				}
			}
			for _, c := range changes {
				if c.ID != id {
					rt.Fatalf("%s of %s changed %s: %+v", kind, id, c.ID, c.State)
				}
			}
		}
		for _, id := range []string{"root", "s"} {
			if p := tr.nodes[id].st.Phase; p != Running {
				rt.Fatalf("%s is %s", id, p)
			}
		}
	})
}

// Isolation costs little where it is not needed, and is small where it is.
func TestIsolationIsSmall(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(Isolation{}); size > 64 {
		t.Errorf("%d bytes", size)
	}
	if size := unsafe.Sizeof(State{}.Isolation); size > 8 {
		t.Errorf("%d bytes in every state", size)
	}
}
