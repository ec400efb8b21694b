package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func dispatchOf(task string, number int) contracts.TaskDispatch {
	return contracts.TaskDispatch{
		Task: task, Type: "code", Attempt: number, Incarnation: 3,
		Payload: []byte(`{"n":1}`), CausationID: contracts.DerivedID("cause", task),
	}
}

func TestTaskIsReported(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Handle = func(_ context.Context, task *agent.Task) (any, error) {
			var in struct{ N int }
			if err := task.Decode(&in); err != nil {
				return nil, err
			}
			<-time.After(2 * time.Second)
			return in.N + 1, nil
		}
		end := w.run(o)
		if r := w.dispatch("w1", dispatchOf("t1", 2)); !r.Accepted {
			t.Fatalf("rejected: %+v", r)
		}
		e := w.log("smith.event.task.completed.code", 1)[0]
		if e.Source != "agent/w1" || e.CorrelationID != "t1" || e.CausationID != contracts.DerivedID("cause", "t1") {
			t.Errorf("event %+v", e)
		}
		got := data[contracts.TaskResultData](t, e)
		if got.Task != "t1" || got.Type != "code" || got.Agent != "w1" || got.Incarnation != 3 || got.Attempt != 2 ||
			string(got.Result) != "2" || got.Error != "" || got.Took.D() != 2*time.Second {
			t.Errorf("result %+v", got)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestFailures(t *testing.T) {
	tests := map[string]struct {
		handle agent.Handler
		retry  bool
		says   string
	}{
		"error":        {func(context.Context, *agent.Task) (any, error) { return nil, errors.New("no luck") }, true, "no luck"},
		"error unsaid": {func(context.Context, *agent.Task) (any, error) { return nil, errors.New("") }, true, "without saying why"},
		"permanent": {func(context.Context, *agent.Task) (any, error) {
			return nil, fmt.Errorf("so: %w", agent.Permanent(errors.New("never")))
		}, false, "never"},
		"bad payload": {func(_ context.Context, t *agent.Task) (any, error) { return nil, t.Decode(new(int)) }, false, "payload of task t1"},
		"panic":       {func(context.Context, *agent.Task) (any, error) { panic("oh no") }, true, "panicked: oh no"},
		"goexit":      {func(context.Context, *agent.Task) (any, error) { runtime.Goexit(); return nil, nil }, true, "Goexit"},
		"too large": {func(context.Context, *agent.Task) (any, error) {
			return strings.Repeat("x", contracts.MaxResultBytes), nil
		}, false, "at most"},
		"not JSON":        {func(context.Context, *agent.Task) (any, error) { return make(chan int), nil }, false, "not JSON"},
		"huge error text": {func(context.Context, *agent.Task) (any, error) { return nil, errors.New(strings.Repeat("é", 1<<20)) }, true, "…"},
		"past deadline":   {func(ctx context.Context, _ *agent.Task) (any, error) { <-ctx.Done(); return nil, ctx.Err() }, true, "deadline exceeded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.options("w1")
				o.Handle = tt.handle
				end := w.run(o)
				d, deadline := dispatchOf("t1", 1), time.Now().Add(5*time.Second)
				d.Deadline = &deadline
				w.dispatch("w1", d)
				got := data[contracts.TaskResultData](t, w.log("smith.event.task.failed.code", 1)[0])
				if got.Retry != tt.retry || !strings.Contains(got.Error, tt.says) || len(got.Error) > contracts.MaxOutputTail {
					t.Errorf("retry %v, error %.100q; want retry %v, error with %q", got.Retry, got.Error, tt.retry, tt.says)
				}
				synctest.Wait()
				if r := w.dispatch("w1", dispatchOf("t2", 1)); !r.Accepted {
					t.Errorf("the agent takes no more tasks: %+v", r)
				}
				_ = end()
			})
		})
	}
}

func TestSameAttemptRunsOnce(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Capacity = 2
		var runs atomic.Int32
		o.Handle = func(context.Context, *agent.Task) (any, error) {
			runs.Add(1)
			<-time.After(time.Second)
			return nil, nil
		}
		end := w.run(o)
		for range 3 { // while it runs
			if r := w.dispatch("w1", dispatchOf("t1", 1)); !r.Accepted {
				t.Errorf("rejected: %+v", r)
			}
		}
		w.log("smith.event.task.completed.code", 1)
		w.dispatch("w1", dispatchOf("t1", 1)) // when it is done
		w.dispatch("w1", dispatchOf("t1", 2)) // this is another attempt
		w.log("smith.event.task.completed.code", 2)
		if err := end(); err != nil {
			t.Error(err)
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs, want 2", n)
		}
		if n := w.count("smith.event.task.*.code"); n != 2 {
			t.Errorf("%d results, want 2", n)
		}
	})
}

func TestRejections(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		idle := w.run(w.options("idle"))
		o := w.options("w1")
		release := make(chan struct{})
		o.Handle = func(context.Context, *agent.Task) (any, error) { <-release; return nil, nil }
		ended := make(chan error, 1)
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		go func() { ended <- agent.Run(t.Context(), o) }()
		beats.beat(t)

		stale := dispatchOf("t0", 1)
		stale.Incarnation = 2
		dots := dispatchOf("a.b", 1)
		unnumbered := dispatchOf("t0", 0)
		badCause := dispatchOf("t0", 1)
		badCause.CausationID = strings.Repeat("x", 200)
		steps := []struct {
			name, to string
			d        contracts.TaskDispatch
			want     string
		}{
			{"no handler", "idle", dispatchOf("t0", 1), "unknown_type"},
			{"older incarnation", "w1", stale, "stale_incarnation"},
			{"id with a dot", "w1", dots, "invalid"},
			{"no attempt", "w1", unnumbered, "invalid"},
			{"huge causation id", "w1", badCause, "invalid"},
			{"fits", "w1", dispatchOf("t1", 1), ""},
			{"full", "w1", dispatchOf("t2", 1), "full"},
		}
		for _, s := range steps {
			if r := w.dispatch(s.to, s.d); r.Reason != s.want || r.Accepted != (s.want == "") {
				t.Errorf("%s: %+v, want %q", s.name, r, s.want)
			}
		}
		if r := ask[contracts.TaskReply](w, contracts.AgentTaskSubject("w1"), "gibberish"); r.Reason != "invalid" {
			t.Errorf("gibberish: %+v", r)
		}
		huge := dispatchOf("t3", 1)
		huge.Payload = append(append([]byte{'"'}, bytes.Repeat([]byte("x"), contracts.MaxTaskBytes+8<<10)...), '"')
		if r := w.dispatch("w1", huge); r.Reason != "invalid" {
			t.Errorf("huge: %+v", r)
		}
		beats.beatWhere(t, func(h contracts.Heartbeat) bool { return h.Status == contracts.StatusBusy && h.InFlight == 1 })
		ask[contracts.OK](w, contracts.AgentStopSubject("w1"), nil)
		beats.beatWhere(t, is(contracts.StatusStopping)) // it answers before it begins to stop
		if r := w.dispatch("w1", dispatchOf("t4", 1)); r.Reason != "stopping" {
			t.Errorf("while stopping: %+v", r)
		}
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = idle()
	})
}

// The router hears of a result before the agent hears that the log has it; it
// may give the place away at once.
func TestPlaceIsFreeWhenTheResultIsKnown(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Handle = func(context.Context, *agent.Task) (any, error) { return nil, nil }
		end := w.run(o)
		results := w.subscribe("smith.event.task.completed.code")
		for i := range 50 {
			if r := w.dispatch("w1", dispatchOf(fmt.Sprint("t", i), 1)); !r.Accepted {
				t.Fatalf("task %d rejected: %+v", i, r)
			}
			results.next(t)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestResultSurvivesAnOutage(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Handle = func(context.Context, *agent.Task) (any, error) {
			<-time.After(5 * time.Second)
			return "kept", nil
		}
		end := w.run(o)
		w.dispatch("w1", dispatchOf("t1", 1))
		w.server.Down()
		<-time.After(90 * time.Second)
		w.server.Up(t)
		got := data[contracts.TaskResultData](t, w.log("smith.event.task.completed.code", 1)[0])
		if string(got.Result) != `"kept"` {
			t.Errorf("result %+v", got)
		}
		<-time.After(time.Minute)
		if n := w.count("smith.event.task.*.code"); n != 1 {
			t.Errorf("reported %d times", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestDrain(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Capacity, o.DrainTimeout = 2, 10*time.Second
		o.Handle = func(ctx context.Context, task *agent.Task) (any, error) {
			if task.ID == "short" {
				<-time.After(8 * time.Second)
				return nil, ctx.Err()
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		end := w.run(o)
		w.dispatch("w1", dispatchOf("short", 1))
		w.dispatch("w1", dispatchOf("endless", 1))
		begin := time.Now()
		if err := end(); err != nil {
			t.Errorf("end: %v", err)
		}
		if got := time.Since(begin).Round(time.Second); got != 10*time.Second {
			t.Errorf("drained in %s", got)
		}
		if got := data[contracts.TaskResultData](t, w.log("smith.event.task.completed.code", 1)[0]); got.Task != "short" {
			t.Errorf("completed %+v", got)
		}
		if got := data[contracts.TaskResultData](t, w.log("smith.event.task.failed.code", 1)[0]); got.Task != "endless" || !got.Retry || !strings.Contains(got.Error, "drain") {
			t.Errorf("failed %+v", got)
		}
	})
}

func TestDrainWhileNATSIsAway(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Handle = func(context.Context, *agent.Task) (any, error) { <-time.After(time.Second); return nil, nil }
		end := w.run(o)
		w.dispatch("w1", dispatchOf("t1", 1))
		w.server.Down()
		if err := end(); !errors.Is(err, agent.ErrUnreported) {
			t.Errorf("end: %v", err)
		}
	})
}

func TestBusyUntilAndProgress(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		then := time.Now().Add(time.Hour).UTC()
		o.Handle = func(_ context.Context, task *agent.Task) (any, error) {
			task.BusyUntil(then)
			task.Progress()
			<-time.After(10 * time.Second)
			return nil, nil
		}
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		end := w.run(o)
		w.dispatch("w1", dispatchOf("t1", 1))
		h := beats.beatWhere(t, func(h contracts.Heartbeat) bool { return h.BusyUntil != nil })
		if !h.BusyUntil.Equal(then) || h.Progress != 1 || h.InFlight != 1 {
			t.Errorf("in work: %+v", h)
		}
		h = beats.beatWhere(t, func(h contracts.Heartbeat) bool { return h.InFlight == 0 })
		if h.BusyUntil != nil || h.Progress != 2 {
			t.Errorf("after it: %+v", h)
		}
		_ = end()
	})
}
