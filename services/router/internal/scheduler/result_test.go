package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

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
