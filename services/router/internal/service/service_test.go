package service

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// idle makes a router whose loop runs and that nothing feeds.
func idle(t *testing.T, instance string) *router {
	t.Helper()
	nc := natstest.Start(t).Connect(t)
	return idleOn(t, instance, nc, natstest.JetStream(t, nc))
}

func idleOn(t *testing.T, instance string, nc *nats.Conn, js jetstream.JetStream) *router {
	t.Helper()
	env := shell.Env{
		Service: contracts.ServiceRouter, Instance: instance, NC: nc, JS: js,
		Log: slog.New(slog.DiscardHandler), Health: shell.NewHealth(),
	}
	natstest.Streams(t, env.JS)
	p, err := prepare(t.Context(), env, Config{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &router{
		premises: p, lease: &lease{}, ctx: ctx, fail: cancel,
		mailbox: make(chan func(), 1024), dead: make(chan struct{}),
		held: map[uint64]*message{}, lines: map[string]*line{},
		unserved:  map[string]time.Time{},
		sched:     scheduler.New(scheduler.Config{}, time.Now()),
		appending: semaphore.NewWeighted(1), dispatching: semaphore.NewWeighted(1), settling: semaphore.NewWeighted(1),
	}
	go r.loop()
	t.Cleanup(func() {
		cancel(nil)
		r.jobs.Wait()
		close(r.dead)
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Two routers may believe to lead; the log takes only the first assignment of
// an attempt, and the other router goes on with that one.
func TestOnlyOneRouterGivesOutAnAttempt(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		r := idle(t, "late")
		a := scheduler.Attempt{Task: "t1", Type: "code", Sequence: 7, Agent: "theirs", Incarnation: 1, Number: 1}
		first, err := r.assignedEvent(a, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		seq, err := shell.PublishEvent(t.Context(), r.env.JS, first)
		if err != nil {
			t.Fatal(err)
		}
		a.Agent = "mine"
		r.assign(scheduler.Assign{Attempt: a})
		v, err := ask(t.Context(), r, func() scheduler.TaskView {
			v, _ := r.sched.Task("t1")
			return v
		})
		if err != nil || v.Agent != "theirs" || v.Attempt != 1 {
			t.Fatalf("going on with %+v (%v)", v, err)
		}
		info, err := r.events.Info(t.Context())
		if err != nil || info.State.LastSeq != seq {
			t.Fatalf("the log ends at %d, want %d (%v)", info.State.LastSeq, seq, err)
		}
	})
}

func TestOwnAppendWhoseAckWasLostIsGoneOnWith(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		r := idle(t, "only")
		if _, err := r.env.NC.Subscribe(contracts.AgentTaskSubject("a"), func(m *nats.Msg) { _ = m.Respond([]byte(`{"accepted":true}`)) }); err != nil {
			t.Fatal(err)
		}
		var assign scheduler.Assign
		if _, err := ask(t.Context(), r, func() struct{} {
			r.sched.Step(time.Now(), scheduler.Beat{Agent: "a", Type: "coder"})
			for _, e := range r.sched.Step(time.Now(), scheduler.TaskArrived{Task: scheduler.Task{ID: "t1", Type: "code", Sequence: 1}}) {
				assign = e.(scheduler.Assign)
			}
			r.held[1] = &message{task: contracts.Task{ID: "t1", Type: "code"}}
			return struct{}{}
		}); err != nil {
			t.Fatal(err)
		}
		ev, err := r.assignedEvent(assign.Attempt, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.store(ev); err != nil {
			t.Fatal(err)
		}
		r.assign(assign)
		<-time.After(time.Second)
		current, err := ask(t.Context(), r, func() scheduler.Snapshot {
			delete(r.held, 1) // it is no real message that could be given back
			return r.sched.Snapshot()
		})
		if err != nil || len(current.Tasks) != 1 || !current.Tasks[0].Accepted {
			t.Fatalf("state %+v (%v)", current.Tasks, err)
		}
	})
}

func TestSnapshotSurvivesItsParts(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		r := idle(t, "r")
		snap := scheduler.Snapshot{Counts: scheduler.Counts{Completed: 5}}
		for i := range 30_000 { // ids do not compress well: more than one part
			snap.Done = append(snap.Done, scheduler.DoneRecord{ID: contracts.DerivedID(fmt.Sprint(i)), Done: scheduler.Done{Type: "code"}})
		}
		if err := r.keep(t.Context(), snap, 42); err != nil {
			t.Fatal(err)
		}
		if r.lease.head.Parts < 2 || r.lease.head.Cursor != 42 {
			t.Fatalf("head %+v", r.lease.head)
		}
		got, err := r.load(t.Context())
		if err != nil || len(got.Done) != 30_000 || got.Counts.Completed != 5 {
			t.Fatalf("%d done, %+v, %v", len(got.Done), got.Counts, err)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{AckWait: -1, MaxTypes: -1, Scheduling: scheduler.Config{MaxAttempts: -1}}.Validate()
	for _, want := range []string{"ack_wait", "max_types", "max_attempts"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// FuzzLog: whatever is in the log, reading it neither panics nor loses what is
// open, and the state can still be kept.
func FuzzLog(f *testing.F) {
	for _, seed := range []struct {
		t    contracts.EventType
		data any
	}{
		{contracts.AgentStarted, contracts.AgentStartedData{Agent: "x", Incarnation: 2, Type: "coder", Capacity: 3}},
		{contracts.AgentFailed, contracts.AgentFailedData{Agent: "x", Incarnation: 1, Reason: contracts.ReasonExited}},
		{contracts.AgentStopped, contracts.AgentStoppedData{Agent: "x", Incarnation: 9}},
		{contracts.AgentStateChanged, contracts.AgentStateChangedData{Agent: "x", To: contracts.HealthDegraded}},
		{contracts.TaskAssigned, contracts.TaskAssignedData{Task: "t", Agent: "x", Attempt: 1, Sequence: 1}},
		{contracts.TaskReassigned, contracts.TaskAssignedData{Task: "open", Agent: "y", Attempt: 2, Reason: "agent_failed"}},
		{contracts.TaskFailed, contracts.TaskResultData{Task: "open", Agent: "a", Attempt: 1, Error: "no", Retry: true}},
		{contracts.TaskSubmitted, contracts.TaskSubmittedData{Task: "t", Type: "code", Sequence: 3}},
	} {
		raw, err := json.Marshal(seed.data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(seed.t), "x", raw)
	}
	f.Add(string(contracts.TaskCompleted), "code", []byte("{"))
	f.Fuzz(func(t *testing.T, kind, entity string, data []byte) {
		now := time.Unix(1e9, 0)
		s := scheduler.New(scheduler.Config{}, now)
		s.Step(now, scheduler.Beat{Agent: "a", Type: "coder"})
		s.Step(now, scheduler.TaskArrived{Task: scheduler.Task{ID: "open", Type: "code", Sequence: 1}})
		ev, err := contracts.NewEvent("x", contracts.EventType(kind), entity, now).Build()
		if err != nil {
			return
		}
		ev.Data = data
		in, err := toInput(ev, 10, now)
		if err != nil || in == nil {
			return
		}
		s.Step(now, in)
		if _, known := s.Task("open"); !known {
			t.Fatalf("%s %s lost the open task", kind, data)
		}
		if _, err := json.Marshal(s.Snapshot()); err != nil {
			t.Fatal(err)
		}
		scheduler.Restore(scheduler.Config{}, s.Snapshot(), now)
	})
}
