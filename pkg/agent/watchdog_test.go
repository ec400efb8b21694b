package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// within returns how many heartbeats come within d.
func (s inbox) within(t *testing.T, d time.Duration) (beats int) {
	t.Helper()
	<-time.After(d)
	synctest.Wait()
	n, _, err := s.Pending()
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		s.beat(t)
	}
	return n
}

func is(s contracts.AgentStatus) func(contracts.Heartbeat) bool {
	return func(h contracts.Heartbeat) bool { return h.Status == s }
}

// waitForStep is where a loop is stuck: logs must say so.
//
//go:noinline
func waitForStep(ctx context.Context, steps <-chan struct{}) bool {
	select {
	case <-steps:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestWatchdogOfWork(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var logged bytes.Buffer
		steps := make(chan struct{})
		o := w.options("w1")
		o.Watchdog, o.Log = 5*time.Second, slog.New(slog.NewJSONHandler(&logged, nil))
		o.Work = func(ctx context.Context, a *agent.Agent) error {
			for waitForStep(ctx, steps) {
				a.Progress()
			}
			return nil
		}
		end := w.run(o)
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		for range 10 {
			steps <- struct{}{}
			if n := beats.within(t, 3*time.Second); n != 3 {
				t.Errorf("%d heartbeats in 3s of progress, want 3", n)
			}
		}
		h := beats.beatWhere(t, is(contracts.StatusStuck))
		if h.Detail != "Work has made no progress for 5s" {
			t.Errorf("detail %q", h.Detail)
		}
		for range 2 {
			if again := beats.beat(t); again.Status != contracts.StatusStuck || again.Detail != h.Detail {
				t.Errorf("says %+v, too", again)
			}
		}
		if n := beats.within(t, time.Minute); n != 0 {
			t.Errorf("%d heartbeats while stuck", n)
		}
		if ping := ask[contracts.PingReply](w, contracts.AgentPingSubject("w1"), nil); ping.Status != contracts.StatusStuck || ping.Detail != h.Detail {
			t.Errorf("ping: %+v", ping)
		}
		var said struct{ Msg, Detail, Stack, Agent string }
		if err := json.NewDecoder(&logged).Decode(&said); err != nil || said.Agent != "w1" || said.Detail != h.Detail ||
			!strings.HasPrefix(said.Msg, "watchdog ran out") || !strings.Contains(said.Stack, "waitForStep") || strings.Contains(said.Stack, "guard") {
			t.Errorf("logged %+v, %v", said, err)
		}

		steps <- struct{}{}
		synctest.Wait()
		if now := beats.beat(t); now.Status != contracts.StatusRunning || now.Detail != "" || now.Seq != h.Seq+3 || now.Progress != h.Progress+1 {
			t.Errorf("after progress: %+v, after %+v", now, h)
		}
		beats.beatWhere(t, is(contracts.StatusStuck))
		if err := end(); err != nil {
			t.Error(err)
		}
		beats.beatWhere(t, is(contracts.StatusStopping)) // and no longer stuck
	})
}

func TestWatchdogOfTasks(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Watchdog, o.Capacity = 5*time.Second, 4
		release := make(chan struct{})
		o.Handle = func(ctx context.Context, t *agent.Task) (any, error) {
			switch t.ID {
			case "busy": // it says that it takes long
				deadline, _ := ctx.Deadline()
				t.BusyUntil(deadline)
			case "diligent":
				for range 20 {
					<-time.After(4 * time.Second)
					t.Progress()
				}
				return nil, nil
			}
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, ctx.Err()
		}
		end := w.run(o)
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		if n := beats.within(t, time.Hour); n != 3600 {
			t.Errorf("an idle agent sent %d heartbeats in an hour", n)
		}
		deadline := time.Now().Add(time.Minute)
		for _, id := range []string{"busy", "diligent"} {
			d := dispatchOf(id, 1)
			d.Deadline = &deadline
			w.dispatch("w1", d)
		}
		if n := beats.within(t, 30*time.Second); n < 30 {
			t.Errorf("%d heartbeats in 30s", n)
		}
		w.dispatch("w1", dispatchOf("hung", 1))
		begin := time.Now()
		if h := beats.beatWhere(t, is(contracts.StatusStuck)); h.Detail != "task hung has made no progress for 5s" || h.InFlight != 3 {
			t.Errorf("stuck: %+v", h)
		}
		if took := time.Since(begin).Round(time.Second); took != 5*time.Second {
			t.Errorf("found stuck after %s", took)
		}
		if n := beats.within(t, 20*time.Second); n != 2 {
			t.Errorf("%d more heartbeats while a task hangs, though another moves", n)
		}
		close(release)
		beats.beatWhere(t, is(contracts.StatusRunning))
		if n := beats.within(t, time.Minute); n != 60 {
			t.Errorf("%d heartbeats in a minute after that", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// A stuck agent that was cut off when its watchdog ran out says so when it is back.
func TestWatchdogTellsAfterAnOutage(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Watchdog = 5 * time.Second
		o.Work = func(ctx context.Context, _ *agent.Agent) error { <-ctx.Done(); return nil }
		end := w.run(o)
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		w.server.Down()
		<-time.After(time.Minute)
		w.server.Up(t)
		if h := beats.beat(t); h.Status != contracts.StatusStuck {
			t.Errorf("back with %+v", h)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// Work that announces that it takes long may, and no longer.
func TestWatchdogAndBusyUntil(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Watchdog = 5 * time.Second
		o.Work = func(ctx context.Context, a *agent.Agent) error {
			a.BusyUntil(time.Now().Add(time.Minute))
			<-time.After(30 * time.Second)
			a.BusyUntil(time.Time{})
			<-ctx.Done()
			return nil
		}
		end := w.run(o)
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		if n := beats.within(t, 29*time.Second); n != 29 {
			t.Errorf("%d heartbeats in 29s", n)
		}
		if h := beats.beatWhere(t, is(contracts.StatusStuck)); h.Detail != "Work has made no progress for 30s" {
			t.Errorf("%+v", h)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
