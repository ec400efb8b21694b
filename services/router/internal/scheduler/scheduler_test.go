package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// bench drives a scheduler by hand.
type bench struct {
	t   *testing.T
	now time.Time
	s   *Scheduler
	seq uint64
}

func newBench(t *testing.T, cfg Config) *bench {
	b := &bench{t: t, now: time.Unix(1e9, 0)}
	b.s = New(cfg, b.now)
	return b
}

func (b *bench) do(in Input) []Effect { return slices.Clone(b.s.Step(b.now, in)) }

func (b *bench) pass(d time.Duration) []Effect {
	b.now = b.now.Add(d)
	return b.do(Tick{})
}

func (b *bench) agent(id, kind string, capacity int, capabilities ...string) []Effect {
	return b.do(Beat{Agent: id, Type: kind, Capacity: capacity, Capabilities: capabilities, Incarnation: 1})
}

func (b *bench) task(id, kind string) []Effect {
	b.seq++
	return b.do(TaskArrived{Task{ID: id, Type: kind, Sequence: b.seq, Submitted: b.now}})
}

// assigned gives whom the effects assign tasks to, as "task/attempt>agent".
func assignedIn(effects []Effect) []string {
	var got []string
	for _, e := range effects {
		if a, ok := e.(Assign); ok {
			got = append(got, fmt.Sprintf("%s/%d>%s", a.Task, a.Number, a.Agent))
		}
	}
	return got
}

func (b *bench) wantAssigned(effects []Effect, want ...string) {
	b.t.Helper()
	if d := cmp.Diff(want, assignedIn(effects)); d != "" {
		b.t.Fatalf("assigned (-want +got):\n%s", d)
	}
}

// run lets the current attempt of a task be stored and accepted.
func (b *bench) run(id string) {
	b.t.Helper()
	t := b.s.tasks[id]
	b.seq++
	b.do(Appended{Task: id, Number: t.attempt, Logged: b.seq})
	b.do(Accepted{Task: id, Number: t.attempt})
}

func (b *bench) result(id string, failed, retry bool) []Effect {
	t := b.s.tasks[id]
	b.seq++
	return b.do(TaskResult{
		Task: id, Agent: t.agent.id, Incarnation: t.incarnation, Number: t.attempt,
		Failed: failed, Retry: retry, Error: "no", Logged: b.seq,
	})
}

func find[E Effect](effects []Effect) (e E, ok bool) {
	for _, x := range effects {
		if e, ok = x.(E); ok {
			return e, true
		}
	}
	return e, false
}

func TestWhoGetsWhat(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, taskType, want string
		cfg                  Config
	}{
		{name: "research", taskType: "research", want: "ann"},
		{name: "code", taskType: "code", want: "bob"},
		{name: "analysis", taskType: "analysis", want: "cid"},
		{name: "custom by type", taskType: "translator", want: "dan"},
		{name: "custom by capability", taskType: "web", want: "ann"},
		{name: "nobody", taskType: "paint"},
		{name: "runners do not work", taskType: "runner"},
		{name: "default agent", taskType: "paint", want: "dan", cfg: Config{DefaultAgent: "dan", DefaultAfter: 1}},
		{name: "own route", taskType: "paint", want: "bob", cfg: Config{Routes: map[string]Route{"paint": {Types: []string{"x", "coder"}}}}},
		{name: "route needs all", taskType: "paint", want: "ann", cfg: Config{Routes: map[string]Route{
			"paint": {Types: []string{"coder", "researcher"}, Capabilities: []string{"web", "art"}},
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tc.cfg)
			b.agent("ann", "researcher", 1, "web", "art")
			b.agent("bob", "coder", 1)
			b.agent("cid", "analyst", 1)
			b.agent("dan", "translator", 1)
			b.agent("host", contracts.TypeRunner, 100, "web")
			b.pass(time.Second)
			var want []string
			if tc.want != "" {
				want = []string{"t/1>" + tc.want}
			}
			b.wantAssigned(b.task("t", tc.taskType), want...)
		})
	}
}

func TestOnlyThoseWhoCan(t *testing.T) {
	t.Parallel()
	for name, unfit := range map[string]func(b *bench){
		"failed":   func(b *bench) { b.do(AgentDown{Agent: "a", Incarnation: 1}) },
		"stopped":  func(b *bench) { b.do(AgentDown{Agent: "a", Incarnation: 1, Stopped: true, Exited: true}) },
		"degraded": func(b *bench) { b.do(HealthChanged{Agent: "a", Incarnation: 1, Health: contracts.HealthDegraded}) },
		"stopping": func(b *bench) { b.do(Beat{Agent: "a", Status: contracts.StatusStopping}) },
		"ill by its own word": func(b *bench) {
			b.do(Beat{Agent: "a", Status: contracts.StatusDegraded})
		},
		"not yet heard of": func(b *bench) { b.do(AgentUp{Agent: "a", Incarnation: 2, Type: "coder"}) },
		"full":             func(b *bench) { b.task("other", "code") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Config{})
			b.agent("a", "coder", 1)
			unfit(b)
			b.wantAssigned(b.task("t", "code"))
			if got := b.s.Room("code", b.now); got != 0 {
				t.Fatalf("room %d, want none", got)
			}
			b.wantAssigned(b.do(Beat{Agent: "b", Type: "coder"}), "t/1>b")
		})
	}
}

func TestRecoveredAgentWorksAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.agent("a", "coder", 1)
	b.do(AgentDown{Agent: "a", Incarnation: 1})
	b.agent("a", "coder", 1) // a heartbeat alone does not undo a verdict
	b.wantAssigned(b.task("t", "code"))
	b.wantAssigned(b.do(AgentRecovered{Agent: "a", Incarnation: 1}), "t/1>a")
	b.do(AgentDown{Agent: "a", Incarnation: 1, Exited: true})
	b.wantAssigned(b.do(AgentRecovered{Agent: "a", Incarnation: 1}))
	b.do(AgentUp{Agent: "a", Incarnation: 2})
	b.wantAssigned(b.do(Beat{Agent: "a", Incarnation: 2}), "t/2>a")
}

func TestLeastExpectedWait(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.agent("slow", "coder", 2)
	b.agent("fast", "coder", 2)
	b.task("t1", "code")
	b.task("t2", "code")
	for id, took := range map[string]time.Duration{"t1": 100 * time.Millisecond, "t2": 9 * time.Second} {
		// Whoever has t1 becomes the fast one.
		b.run(id)
		b.s.tasks[id].since = b.now.Add(-took)
	}
	fast := b.s.tasks["t1"].agent.id
	b.result("t1", false, false)
	b.result("t2", false, false)
	for i := range 2 {
		id := fmt.Sprintf("n%d", i)
		b.wantAssigned(b.task(id, "code"), fmt.Sprintf("%s/1>%s", id, fast))
	}
	if got := b.task("n3", "code"); assignedIn(got)[0] == "n3/1>"+fast {
		t.Fatalf("the fast agent is full and got %v", got)
	}
}

func TestSpreadsOverEquals(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	for i := range 4 {
		b.agent(fmt.Sprintf("a%d", i), "coder", 3)
	}
	for i := range 12 {
		b.task(fmt.Sprintf("t%d", i), "code")
		if n := len(b.s.agents[fmt.Sprintf("a%d", i%4)].tasks); n != i/4+1 {
			t.Fatalf("after %d tasks a%d has %d", i+1, i%4, n)
		}
	}
	b.wantAssigned(b.task("one too many", "code"))
}

func TestReassignment(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]Input{
		"failed":          AgentDown{Agent: "a", Incarnation: 1},
		"stopped":         AgentDown{Agent: "a", Incarnation: 1, Stopped: true, Exited: true},
		"new incarnation": AgentUp{Agent: "a", Incarnation: 2},
		"later failure":   AgentDown{Agent: "a", Incarnation: 5},
		"no responders":   Unreached{Task: "t", Number: 1, NoResponders: true},
		"no reply":        Unreached{Task: "t", Number: 1},
		"refused":         Rejected{Task: "t", Number: 1, Reason: "full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Config{})
			b.agent("a", "coder", 1)
			b.task("t", "code")
			b.seq++
			b.do(Appended{Task: "t", Number: 1, Logged: b.seq})
			b.agent("b", "coder", 1)
			effects := b.do(lose)
			b.wantAssigned(effects, "t/2>b")
			a, _ := find[Assign](effects)
			if a.PreviousAgent != "a" || a.Reason == "" {
				t.Fatalf("no word of whom it was taken from: %+v", a)
			}
		})
	}
}

func TestOlderThanKnownIsDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.do(AgentUp{Agent: "a", Incarnation: 7, Type: "coder"})
	b.do(Beat{Agent: "a", Incarnation: 7})
	b.task("t", "code")
	b.run("t")
	for _, in := range []Input{
		Beat{Agent: "a", Incarnation: 6, Status: contracts.StatusStopping},
		AgentUp{Agent: "a", Incarnation: 6},
		AgentDown{Agent: "a", Incarnation: 6},
		AgentRecovered{Agent: "a", Incarnation: 6},
		HealthChanged{Agent: "a", Incarnation: 6, Health: contracts.HealthUnhealthy},
		TaskResult{Task: "t", Agent: "a", Incarnation: 6, Number: 1},
		TaskResult{Task: "t", Agent: "a", Incarnation: 7, Number: 2},
		TaskResult{Task: "t", Agent: "x", Incarnation: 7, Number: 1},
		TaskResult{Task: "u", Agent: "a", Incarnation: 7, Number: 1},
	} {
		effects := b.do(in)
		if _, ok := find[Stale](effects); !ok || len(effects) != 1 {
			t.Fatalf("%#v led to %#v", in, effects)
		}
	}
	if _, ok := find[Complete](b.result("t", false, false)); !ok {
		t.Fatal("the valid result did not complete the task")
	}
}

func TestFirstValidResultWins(t *testing.T) {
	t.Parallel()
	result := func(agent string, incarnation uint64, n int, logged uint64) TaskResult {
		return TaskResult{Task: "t", Agent: agent, Incarnation: incarnation, Number: n, Logged: logged}
	}
	for _, tc := range []struct {
		name string
		in   TaskResult
		done bool
	}{
		{"the current attempt", result("b", 1, 2, 30), true},
		{"the lapsed one, logged before the next assignment", result("a", 1, 1, 19), true},
		{"the lapsed one, logged after it", result("a", 1, 1, 21), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Config{})
			b.agent("a", "coder", 1)
			b.task("t", "code")
			b.do(Appended{Task: "t", Number: 1, Logged: 10})
			b.do(Accepted{Task: "t", Number: 1})
			b.agent("b", "coder", 1)
			b.do(AgentDown{Agent: "a", Incarnation: 1})
			b.do(Appended{Task: "t", Number: 2, Logged: 20})
			if _, ok := find[Complete](b.do(tc.in)); ok != tc.done {
				t.Fatalf("completed: %t, want %t", ok, tc.done)
			}
		})
	}
	t.Run("nobody else had it yet", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Config{})
		b.agent("a", "coder", 1)
		b.task("t", "code")
		b.run("t")
		b.do(AgentDown{Agent: "a", Incarnation: 1})
		if _, ok := find[Complete](b.do(result("a", 1, 1, 99))); !ok {
			t.Fatal("a result that came after a false alarm was thrown away")
		}
		b.wantAssigned(b.do(AgentRecovered{Agent: "a", Incarnation: 1}))
	})
	t.Run("its incarnation has a successor", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Config{})
		b.agent("a", "coder", 1)
		b.task("t", "code")
		b.run("t")
		b.do(AgentUp{Agent: "a", Incarnation: 2})
		if _, ok := find[Complete](b.do(result("a", 1, 1, 99))); ok {
			t.Fatal("the result of an older incarnation was taken")
		}
	})
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	t.Run("too many failures", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Config{MaxAttempts: 3, RetryDelay: time.Second})
		b.agent("a", "coder", 1)
		b.task("t", "code")
		for n := 1; ; n++ {
			b.run("t")
			effects := b.result("t", true, true)
			if n == 3 {
				dead, ok := find[DeadLetter](effects)
				if !ok || len(dead.History) != 3 || dead.History[2].Detail != "no" || dead.Sequence != 1 {
					t.Fatalf("after 3 failures: %+v", effects)
				}
				break
			}
			b.wantAssigned(effects)
			b.wantAssigned(b.pass(time.Second*time.Duration(n)), fmt.Sprintf("t/%d>a", n+1))
		}
		if v, _ := b.s.Task("t"); v.Status != "dead_lettered" {
			t.Fatalf("remembered as %+v", v)
		}
	})
	t.Run("no use in trying again", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Config{})
		b.agent("a", "coder", 1)
		b.task("t", "code")
		b.run("t")
		if _, ok := find[DeadLetter](b.result("t", true, false)); !ok {
			t.Fatal("not dead-lettered")
		}
	})
	t.Run("it kills agents", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Config{MaxAttempts: 2})
		b.agent("a", "coder", 1)
		b.agent("b", "coder", 1)
		b.task("t", "code")
		b.run("t")
		b.wantAssigned(b.do(AgentDown{Agent: "a", Incarnation: 1, Exited: true}), "t/2>b")
		if _, ok := find[DeadLetter](b.do(AgentDown{Agent: "b", Incarnation: 1, Exited: true})); !ok {
			t.Fatal("not dead-lettered")
		}
	})
	t.Run("refusals and stops do not count", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Config{MaxAttempts: 1, Cooldown: time.Second, MaxCooldown: time.Second})
		b.agent("a", "coder", 1)
		b.task("t", "code")
		for n := range 10 {
			b.seq++
			b.do(Appended{Task: "t", Number: n + 1, Logged: b.seq})
			b.wantAssigned(b.do(Rejected{Task: "t", Number: n + 1, Reason: "full"}))
			b.wantAssigned(b.pass(time.Second), fmt.Sprintf("t/%d>a", n+2))
		}
		b.do(AgentDown{Agent: "a", Incarnation: 1, Stopped: true})
		if v, _ := b.s.Task("t"); v.Status != "queued" {
			t.Fatalf("task is %+v", v)
		}
	})
	t.Run("waited too long", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Config{MaxQueueAge: time.Minute})
		b.task("t", "code")
		if at, ok := b.s.NextWake(); !ok || !at.Equal(b.now.Add(time.Minute)) {
			t.Fatalf("next wake %v %v", at, ok)
		}
		if _, ok := find[DeadLetter](b.pass(time.Minute)); !ok {
			t.Fatal("not dead-lettered")
		}
	})
}

func TestAttemptTimeout(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{TaskTimeout: time.Minute})
	b.agent("a", "coder", 1)
	b.task("t", "code")
	effects := b.do(Appended{Task: "t", Number: 1, Logged: 5})
	if d, ok := find[Dispatch](effects); !ok || d.Timeout != time.Minute {
		t.Fatalf("dispatch %+v", effects)
	}
	b.agent("b", "coder", 1)
	b.pass(time.Minute)
	b.wantAssigned(b.pass(time.Second), "t/2>b")
}

func TestUnheardAgentWaitsForItsHeartbeat(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{Cooldown: time.Second})
	b.agent("a", "coder", 1)
	b.task("t", "code")
	b.do(Unreached{Task: "t", Number: 1, NoResponders: true})
	b.wantAssigned(b.pass(time.Minute))
	b.wantAssigned(b.agent("a", "coder", 1), "t/2>a")
}

func TestUnknownTypeIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.agent("a", "coder", 1)
	b.task("t", "code")
	b.do(Rejected{Task: "t", Number: 1, UnknownType: true})
	b.wantAssigned(b.pass(time.Hour))
	if n := b.s.Able("code", b.now); n != 0 {
		t.Fatalf("%d able, want none", n)
	}
	b.do(AgentUp{Agent: "a", Incarnation: 2})
	b.wantAssigned(b.do(Beat{Agent: "a", Incarnation: 2}), "t/2>a")
}

func TestUnsupervisedAgentReborn(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.do(Beat{Agent: "a", Type: "coder", Seq: 40})
	b.task("t", "code")
	b.run("t")
	b.wantAssigned(b.do(Beat{Agent: "a", Type: "coder", Seq: 41}))
	b.wantAssigned(b.do(Beat{Agent: "a", Type: "coder", Seq: 1}), "t/2>a")
}

func TestHeartbeatAheadOfTheLogWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.agent("a", "coder", 1)
	b.task("t", "code")
	b.run("t")
	b.agent("b", "coder", 1)
	next := Beat{Agent: "a", Incarnation: 2}
	b.wantAssigned(b.do(next))
	b.wantAssigned(b.pass(logGrace))
	b.wantAssigned(b.do(next), "t/2>b")
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.agent("a", "coder", 1)
	b.wantAssigned(b.task("t", "code"), "t/1>a")
	again := TaskArrived{Task{ID: "t", Type: "code", Sequence: 1}}
	if effects := b.do(again); len(effects) != 0 {
		t.Fatalf("a redelivered message led to %v", effects)
	}
	if d, ok := find[Discard](b.task("t", "code")); !ok || d.Sequence != 2 {
		t.Fatal("the same id again was not discarded")
	}
	b.run("t")
	b.result("t", false, false)
	if _, ok := find[Discard](b.do(again)); !ok {
		t.Fatal("a redelivered done task was not discarded")
	}
}

func TestDefaultAgentStandsInAfterAWhile(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{DefaultAgent: "d", DefaultAfter: 10 * time.Second})
	b.agent("d", "generalist", 5)
	b.agent("a", "coder", 1)
	b.pass(time.Minute)
	b.do(AgentDown{Agent: "a", Incarnation: 1})
	b.wantAssigned(b.task("t", "code"))
	b.wantAssigned(b.pass(9 * time.Second))
	b.wantAssigned(b.pass(time.Second), "t/1>d")
}

func TestForgetsTheDead(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.agent("a", "coder", 1)
	b.s.Room("code", b.now)
	b.do(AgentDown{Agent: "a", Incarnation: 1, Stopped: true})
	b.pass(time.Hour)
	if n := len(b.s.Agents()); n != 0 {
		t.Fatalf("%d agents are known, want none", n)
	}
	if len(b.s.types["code"].agents) != 0 {
		t.Fatal("the type still names it")
	}
}

func TestMemoryForgetsTheOldestButWhatIsPinned(t *testing.T) {
	t.Parallel()
	m := newMemory[int](3)
	m.put("pinned", 0, true)
	for i := range 2 {
		m.put(fmt.Sprint(i), i, false)
	}
	m.put("3", 3, false)
	if _, ok := m.get("pinned"); !ok {
		t.Fatal("forgot what was pinned")
	}
	m.unpin("pinned")
	m.put("4", 4, false)
	if _, ok := m.get("pinned"); ok || m.order.Len() != 3 {
		t.Fatalf("remembers %d values", m.order.Len())
	}
}

func TestValidateNamesTheField(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{RetryDelay: -1, Routes: map[string]Route{"x": {}}}.Validate()
	if err == nil || !strings.Contains(err.Error(), "retry_delay: -1ns") || !strings.Contains(err.Error(), "routes.x") {
		t.Fatal(err)
	}
}
