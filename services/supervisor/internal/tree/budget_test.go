package tree

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/internal/property"
)

func budgeted(b Budget) *Spec {
	s := sup("root", "", Supervisor{MaxRestarts: 1_000_000})
	s.Supervisor.Budget = &b
	return s
}

func onAny(s *Spec) { s.Agent.Runner = AnyRunner }

func TestFleetBudget(t *testing.T) {
	t.Parallel()
	b := newBench(t, budgeted(Budget{Fleet: Allowance{2, time.Minute}}),
		agent("a", "root"), agent("b", "root"), agent("c", "root"), agent("d", "root"))
	b.took()
	b.crash("b")
	b.wantPhase("b", Running)
	b.after(time.Second)
	b.crash("d")
	b.wantPhase("d", Running)
	b.after(time.Second)
	b.crash("c")
	b.crash("a")
	for id, want := range map[string]int{"c": 1, "a": 2} {
		place, at := b.tree.Throttled(id)
		if st := b.state(id); st.Phase != Throttled || place != want || at != epoch.Add(time.Minute) {
			t.Errorf("%s: %s %s, place %d until %v", id, st.Phase, st.Why, place, at.Time())
		}
	}
	if due, ok := b.tree.Next(); !ok || due != epoch.Add(time.Minute) {
		t.Errorf("next %v %v", due.Time(), ok)
	}
	b.tree = roundTrip(t, b.tree, Options{})
	if due, ok := b.tree.Next(); !ok || due != epoch.Add(time.Minute) {
		t.Errorf("loaded: next %v %v", due.Time(), ok)
	}
	b.after(57 * time.Second)
	b.wantPhase("c", Throttled)
	b.after(time.Second)
	b.wantPhase("c", Running)
	b.wantPhase("a", Throttled)
	b.after(time.Second)
	b.wantPhase("a", Running)
}

// What one host uses up is no other's concern.
func TestRunnerBudget(t *testing.T) {
	t.Parallel()
	b := newBench(t, budgeted(Budget{Runner: Allowance{1, time.Minute}}),
		agent("a", "root", pinned("r1")), agent("b", "root", pinned("r1")), agent("c", "root", pinned("r2")))
	b.runners("r1", "r2")
	b.crash("a")
	b.crash("b")
	b.crash("c")
	b.wantPhase("a", Running)
	b.wantPhase("b", Throttled)
	b.wantPhase("c", Running)
	// An operator's restart does not wait.
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "b"})
	b.wantPhase("b", Running)
	// Nor does anything once there is no budget any more.
	b.crash("a")
	b.wantPhase("a", Throttled)
	b.do(Input{Kind: Configure, Specs: []*Spec{
		sup("root", "", Supervisor{MaxRestarts: 9}),
		agent("a", "root", pinned("r1")), agent("b", "root", pinned("r1")), agent("c", "root", pinned("r2")),
	}})
	b.wantPhase("a", Running)
}

// TestSameBudget: a configuration that leaves the budget as it is lets nobody
// begin; that is for the tick, which may be a little late.
func TestSameBudget(t *testing.T) {
	t.Parallel()
	specs := func(restarts int) []*Spec {
		return []*Spec{budgeted(Budget{Fleet: Allowance{restarts, time.Minute}}), agent("a", "root"), agent("b", "root")}
	}
	for name, load := range map[string]bool{"same tree": false, "loaded tree": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, specs(1)...)
			b.crash("a")
			b.crash("b")
			if load {
				b.tree = roundTrip(t, b.tree, Options{})
			}
			b.now = epoch.Add(time.Minute)
			b.do(Input{Kind: Configure, Specs: specs(1), Boot: true})
			b.wantPhase("b", Throttled)
			if due, ok := b.tree.Next(); !ok || due != b.now {
				t.Errorf("next %v %v", due.Time(), ok)
			}
			b.after(0)
			b.wantPhase("b", Running)
			b.crash("b")
			b.wantPhase("b", Throttled)
			b.do(Input{Kind: Configure, Specs: specs(2)})
			b.wantPhase("b", Running)
		})
	}
}

// The first start of a tree, and of what is added to it, is no restart.
func TestFirstStartsAreFree(t *testing.T) {
	t.Parallel()
	b := newBench(t, budgeted(Budget{Fleet: Allowance{1, time.Hour}}), agent("a", "root"), agent("b", "root"), agent("c", "root"))
	for _, id := range []string{"a", "b", "c"} {
		b.wantPhase(id, Running)
	}
	b.crash("a")
	b.crash("b")
	b.wantPhase("b", Throttled)
	b.do(Input{Kind: Order, Command: CmdAdd, Node: "d", Spec: agent("d", "root")})
	b.wantPhase("d", Running)
	// What waits can be stopped, and then waits no more.
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "b"})
	b.wantPhase("b", Idle)
	b.after(2 * time.Hour)
	b.wantPhase("b", Idle)
	if n := b.tree.Waiting(); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// storm is a fleet whose agents crash at random, with a record of restarts.
type storm struct {
	*bench
	fleet  []Instant
	runner map[string][]Instant
	// on is where each agent ran before.
	on map[string]string
}

func (s *storm) feed(in Input) {
	queue := []Input{in}
	for len(queue) > 0 {
		in, queue = queue[0], queue[1:]
		for _, e := range s.raw(in) {
			switch e.Kind {
			case DoStart:
				if e.Incarnation > 1 {
					s.fleet = append(s.fleet, s.now)
					s.runner[s.on[e.Node]] = append(s.runner[s.on[e.Node]], s.now)
				}
				s.on[e.Node] = e.Runner
				queue = append(queue, Input{Kind: Started, Node: e.Node, Incarnation: e.Incarnation})
			case DoStop:
				queue = append(queue, Input{Kind: Stopped, Node: e.Node, Incarnation: e.Incarnation})
			}
		}
	}
}

func within(t *rapid.T, what string, log []Instant, a Allowance) {
	if a.unlimited() {
		return
	}
	for i := a.Restarts; i < len(log); i++ {
		if first := log[i-a.Restarts]; log[i]-first < Instant(a.Per) {
			t.Fatalf("%s: %d restarts within %s; %d are allowed in %s", what, a.Restarts+1, time.Duration(log[i]-first), a.Restarts, a.Per)
		}
	}
}

func drawAllowance(t *rapid.T, what string) Allowance {
	return Allowance{rapid.IntRange(0, 5).Draw(t, what+" restarts"), time.Duration(rapid.IntRange(1, 60).Draw(t, what+" seconds")) * time.Second}
}

// TestBudgetHolds: whatever crashes when, in no stretch of time are there more
// restarts than the budget allows; none waits while there is budget for it; and
// when nothing crashes any more, all run.
func TestBudgetHolds(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		budget := Budget{Fleet: drawAllowance(rt, "fleet"), Runner: drawAllowance(rt, "runner")}
		specs := []*Spec{budgeted(budget)}
		var agents []string
		for g := range rapid.IntRange(1, 3).Draw(rt, "groups") {
			group := fmt.Sprintf("g%d", g)
			specs = append(specs, sup(group, "root", Supervisor{
				MaxRestarts: rapid.SampledFrom([]int{0, 2, 1000}).Draw(rt, group), Escalation: CoolOff, CoolOff: time.Second,
				Strategy: rapid.SampledFrom([]Strategy{OneForOne, OneForAll, RestForOne}).Draw(rt, group+" strategy"),
			}))
			for i := range rapid.IntRange(1, 6).Draw(rt, group+" agents") {
				id := fmt.Sprintf("%s-%d", group, i)
				agents = append(agents, id)
				specs = append(specs, agent(id, group, onAny, func(s *Spec) {
					s.Backoff = backoff.Delays{Type: backoff.Fixed, Delay: time.Duration(rapid.SampledFrom([]int{0, 0, 3}).Draw(rt, id)) * time.Second}
				}))
			}
		}
		s := &storm{bench: &bench{t: t, tree: New(Options{}), now: epoch}, runner: map[string][]Instant{}, on: map[string]string{}}
		s.feed(Input{Kind: Configure, Specs: specs, Boot: true})
		s.feed(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}, {Name: "r2"}, {Name: "r3"}}})
		for range rapid.IntRange(0, 100).Draw(rt, "steps") {
			switch k := rapid.IntRange(0, 9).Draw(rt, "what"); {
			case k < 6:
				id := rapid.SampledFrom(agents).Draw(rt, "crashes")
				if st := s.state(id); st.Phase == Running {
					s.feed(Input{Kind: Exited, Node: id, Incarnation: st.Incarnation, Reason: "crash"})
				}
			case k == 6:
				id := rapid.SampledFrom(agents).Draw(rt, "lost")
				if st := s.state(id); st.Phase == Running {
					s.on[id] = "" // this restart is not for that runner's budget
					s.feed(Input{Kind: Lost, Node: id, Incarnation: st.Incarnation, Reason: "host_lost"})
				}
			case k == 7:
				s.tree = roundTrip(t, s.tree, Options{})
			default:
				s.now = s.now.Add(time.Duration(rapid.IntRange(1, 20_000).Draw(rt, "ms")) * time.Millisecond)
				s.feed(Input{Kind: Tick})
			}
			for _, id := range agents {
				if place, at := s.tree.Throttled(id); place > 0 && at <= s.now {
					if due, _ := s.tree.Next(); due > s.now {
						rt.Fatalf("%s waits though there is budget, and nobody looks before %v", id, due.Time())
					}
				}
			}
		}
		for range 10_000 {
			due, ok := s.tree.Next()
			if !ok {
				break
			}
			s.now = max(s.now, due)
			s.feed(Input{Kind: Tick})
		}
		for _, id := range agents {
			if st := s.state(id); st.Phase != Running {
				rt.Fatalf("%s is %s (%s) in the end", id, st.Phase, st.Why)
			}
		}
		within(rt, "fleet", s.fleet, budget.Fleet)
		for r, log := range s.runner {
			if r != "" {
				within(rt, r, log, budget.Runner)
			}
		}
	})
}

// An operator's restart of a member of a group that waits for budget starts it at once,
// once, and the group goes on from there.
func TestRestartOfAGroupMemberThatWaitsForBudget(t *testing.T) {
	t.Parallel()
	root := budgeted(Budget{Fleet: Allowance{1, time.Minute}})
	b := newBench(t, root, agent("x", "root"), sup("g", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("a", "g"), agent("b", "g"))
	b.crash("x")
	b.crash("a")
	b.wantPhase("a", Throttled)
	b.took()
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "a", Token: "t"})
	b.wantPhase("a", Running)
	if a, _ := b.tree.Answered("t"); a.Result != OK {
		t.Errorf("answered %+v", a)
	}
	b.wantPhase("b", Throttled)
	b.after(time.Minute)
	b.wantPhase("b", Running)
	b.equal("a", b.state("a").Incarnation, uint64(3))
	if got := b.took(); strings.Count(got, "start a") != 1 || strings.Contains(got, "stop a") {
		t.Errorf("done: %s", got)
	}
}
