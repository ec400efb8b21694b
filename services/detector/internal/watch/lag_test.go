package watch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// tired is a detector on a real server whose reading of each heartbeat takes
// some time, in virtual time.
type tired struct {
	t       *testing.T
	s       *natstest.Server
	w       *Watcher
	takes   atomic.Int64 // nanoseconds for each heartbeat
	canary  bool
	publish *nats.Conn
}

// runTired runs f with a detector and, when its time is up, lets it end.
func runTired(t *testing.T, canary bool, f func(d *tired)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		d := &tired{t: t, s: natstest.Start(t), canary: canary}
		d.publish = d.s.Connect(t)
		natstest.Streams(t, natstest.JetStream(t, d.publish))
		var out io.Writer = io.Discard
		if testing.Verbose() {
			out = t.Output()
		}
		log := slog.New(slog.NewTextHandler(out, nil))
		env, err := shell.NewEnv(t.Context(), "detector", "detector-1", d.s.Connect(t), log, prometheus.NewRegistry(), shell.NewHealth("detector"))
		if err != nil {
			t.Fatal(err)
		}
		store := guard.New("event_stream", guard.Options{})
		if d.w, err = New(env, Config{}, store, guard.New("state_store", guard.Options{})); err != nil {
			t.Fatal(err)
		}
		hear := d.w.heard[contracts.HeartbeatAll]
		d.w.heard[contracts.HeartbeatAll] = func(m *nats.Msg) {
			if takes := d.takes.Load(); takes > 0 {
				<-time.After(time.Duration(takes))
			}
			if d.canary || !strings.HasPrefix(m.Subject, contracts.CanaryPrefix) {
				hear(m)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- d.w.Run(ctx, func() error { close(ready); return nil }) }()
		<-ready
		f(d)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = store.Close(t.Context())
	})
}

// beat lets agents beat until the bubble ends or stop is called.
func (d *tired) beat(name string, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		next := time.NewTicker(every)
		defer next.Stop()
		for n := 1; ; n++ {
			_ = d.publish.Publish(contracts.HeartbeatSubject(name), fmt.Appendf(nil, `{"interval":"%s","seq":%d}`, every, n))
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
		}
	}()
	stop = func() { cancel(); <-over }
	d.t.Cleanup(stop)
	return stop
}

// told lists what the detector published of some types.
func (d *tired) told(types ...contracts.EventType) (lines []string) {
	d.t.Helper()
	for _, ev := range natstest.Events(d.t, natstest.JetStream(d.t, d.publish)) {
		if !slices.Contains(types, ev.Type) {
			continue
		}
		if ev.Type == contracts.AgentFailed {
			lines = append(lines, "failed "+ev.Entity)
			continue
		}
		data, err := contracts.DecodeData[contracts.SystemHealthData](ev)
		if err != nil {
			d.t.Fatal(err)
		}
		lines = append(lines, ev.Type.Name()+" "+data.Check)
	}
	return lines
}

// When heartbeats are read more slowly than they come, the queue grows, and all
// agents look the more silent: nobody is accused, at any rate of heartbeats,
// and with and without a canary. Who dies meanwhile is found when all is read.
func TestLagOfTheIntakeIsNobodysSilence(t *testing.T) {
	for _, tt := range []struct {
		name   string
		canary bool
		agents int
		every  time.Duration
	}{
		{"500 per second", true, 50, 100 * time.Millisecond},
		{"10 per second", true, 4, 400 * time.Millisecond},
		{"500 per second, no canary", false, 50, 100 * time.Millisecond},
		{"10 per second, no canary", false, 4, 400 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runTired(t, tt.canary, func(d *tired) {
				var dies func()
				for i := range tt.agents {
					dies = d.beat(fmt.Sprintf("a%d", i), tt.every)
				}
				<-time.After(30 * time.Second)
				for _, lasts := range []time.Duration{150 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second, 10 * time.Second} {
					// Reading one takes as long as three need to come.
					d.takes.Store(int64(3 * tt.every / time.Duration(tt.agents)))
					<-time.After(lasts)
					if lasts >= 3*time.Second && !d.suspended() {
						t.Errorf("verdicts go on after %s of falling behind", lasts)
					}
					d.takes.Store(0)
					<-time.After(15 * time.Second)
					if d.suspended() {
						t.Error("verdicts are still suspended")
					}
				}
				if got := d.told(contracts.AgentFailed); len(got) > 0 {
					t.Fatalf("accused %q", got)
				}
				checks := d.told(contracts.SystemHealthCheckFailed, contracts.SystemHealthCheckPassed)
				if len(checks) < 2 || checks[0] != "health_check_failed lag" || checks[1] != "health_check_passed lag" {
					t.Errorf("it said %q", checks)
				}
				d.takes.Store(int64(3 * tt.every / time.Duration(tt.agents)))
				<-time.After(time.Second)
				dies()
				<-time.After(time.Second)
				d.takes.Store(0)
				<-time.After(5 * time.Second)
				if got := d.told(contracts.AgentFailed); len(got) != 1 || got[0] != fmt.Sprint("failed a", tt.agents-1) {
					t.Errorf("one died, it told of %q", got)
				}
			})
		})
	}
}

func (d *tired) suspended() bool {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return d.w.fleet.Suspended()
}

func TestWaiting(t *testing.T) {
	const tick = 20 * time.Millisecond
	var q waiting
	look := func(now time.Duration, arrived, read int64, want time.Duration) {
		t.Helper()
		if got := q.look(now, arrived, read); got != want {
			t.Errorf("at %s with %d of %d read: %s, not %s", now, read, arrived, got, want)
		}
	}
	look(tick, 0, 0, 0)
	look(2*tick, 5, 5, 0)
	look(3*tick, 7, 5, 0)
	look(4*tick, 7, 5, tick)
	look(5*tick, 9, 6, 2*tick)   // the 7th came by 3
	look(6*tick, 9, 7, tick)     // the 8th by 5
	look(7*tick, 9, 9, 0)        // none
	look(9000*tick, 10, 9, 0)    // one, after long
	look(9001*tick, 10, 9, tick) // which is stuck
	look(9001*tick, 9, 9, 0)     // it was counted too early
	look(9999*tick, 10, 9, 0)    // so that this is news

	// However long and however many, it takes little memory and stays about
	// right: here one of two is read.
	q = waiting{}
	for n := int64(1); n <= 100_000; n++ {
		got := q.look(time.Duration(n)*tick, 2*n, n)
		if want := time.Duration(n-(n+2)/2) * tick; got > want || want-got > max(tick, want/100) {
			t.Fatalf("after %d: %s, not %s", n, got, want)
		}
	}
	for n := int64(100_000); n <= 280_000; n++ { // for an hour, nothing is read
		q.look(time.Duration(n)*tick, 2*n, 100_000)
	}
	if len(q.marks) > 1200 {
		t.Errorf("%d marks", len(q.marks))
	}
}

// It is told of a real subscription, in virtual time.
func TestBehind(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		w := &Watcher{env: shell.Env{NC: s.Connect(t)}, cfg: Config{MaxUnread: 100}}
		gate := make(chan struct{})
		if err := w.take("beat", func(*nats.Msg) { <-gate }); err != nil {
			t.Fatal(err)
		}
		defer w.deafen()
		now := time.Duration(0)
		behind := func(want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := w.behind(now); got != want {
				t.Errorf("at %s: %s, not %s", now, got, want)
			}
		}
		say := func() {
			_ = nc.Publish("beat", nil)
			_ = nc.Flush()
		}
		behind(0)
		say()
		behind(0)
		now = time.Second
		behind(time.Second)
		say()
		say()
		behind(time.Second)
		now = 3 * time.Second
		gate <- struct{}{}
		behind(2 * time.Second)
		close(gate)
		behind(0)
		if _, dropped := w.backlog(); dropped != 0 {
			t.Errorf("%d dropped", dropped)
		}
	})
}

// A canary that came through confirms no verdict while heartbeats were dropped
// that the clock makes no allowance for yet: the agent's may be among them.
func TestNothingIsConfirmedAmidDrops(t *testing.T) {
	runTired(t, true, func(d *tired) {
		d.beat("a", time.Second)
		<-time.After(10 * time.Second)
		w := d.w
		w.mu.Lock()
		defer w.mu.Unlock()
		now := w.now()
		w.await(now, fleet.Finding{Agent: "a"})
		w.reckoned = -1 // one drop more than is known of
		w.confirm(now, func(unconfirmed) bool { return true })
		if len(w.awaiting) != 1 {
			t.Error("confirmed amid drops")
		}
		w.reckoned = 0
		w.confirm(now, func(unconfirmed) bool { return true })
		if len(w.awaiting) != 0 {
			t.Error("not confirmed without drops")
		}
	})
}
