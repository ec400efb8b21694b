package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

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

func TestServiceTimeOfWhatEndedWhileNobodyRead(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.agent("a", "coder", 1)
	b.task("t", "code")
	b.run("t")
	ended := b.now.Add(3 * time.Second)
	b.now = b.now.Add(time.Hour)
	done, _ := find[Complete](b.do(TaskResult{Task: "t", Agent: "a", Incarnation: 1, Number: 1, Logged: 99, At: ended}))
	if done.Took != 3*time.Second {
		t.Fatalf("took %s", done.Took)
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
