package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

func (b *bench) agent(id, kind string, capacity int, capabilities ...string) []Effect {
	return b.do(Beat{Agent: id, Type: kind, Capacity: capacity, Capabilities: capabilities, Incarnation: 1})
}

func (b *bench) task(id, kind string) []Effect {
	b.seq++
	return b.do(TaskArrived{Task{ID: id, Type: kind, Sequence: b.seq, Submitted: b.now}})
}
