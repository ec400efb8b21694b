package agent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestBeats(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Capabilities, o.Capacity = []string{"web"}, 4
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		end := w.run(o)
		first, begin := beats.beat(t), time.Now()
		want := contracts.Heartbeat{
			Incarnation: 3, Seq: 1, Interval: contracts.Duration(time.Second), Type: "tester",
			Capabilities: []string{"web"}, Status: contracts.StatusRunning, Capacity: 4,
		}
		if g, w := first, want; g.Incarnation != w.Incarnation || g.Seq != w.Seq || g.Interval != w.Interval || g.Type != w.Type ||
			len(g.Capabilities) != 1 || g.Status != w.Status || g.Capacity != w.Capacity || g.InFlight != 0 || g.BusyUntil != nil {
			t.Errorf("first beat %+v, want %+v", first, want)
		}
		for seq := uint64(2); seq < 5; seq++ {
			if h := beats.beat(t); h.Seq != seq {
				t.Errorf("seq %d, want %d", h.Seq, seq)
			}
		}
		if got := time.Since(begin).Round(100 * time.Millisecond); got != 3*time.Second {
			t.Errorf("three more beats took %s", got)
		}
		if err := end(); err != nil {
			t.Errorf("end: %v", err)
		}
		beats.beatWhere(t, func(h contracts.Heartbeat) bool { return h.Status == contracts.StatusStopping })
		if h := beats.beat(t); h.Status != contracts.StatusStopped {
			t.Errorf("last beat says %s", h.Status)
		}
	})
}

// No beat from before an outage may arrive after it, and the first after it
// comes as soon as the connection is back.
func TestOutageSendsNoStaleBeats(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.run(w.options("w1"))
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		before := beats.beat(t)
		w.server.Down()
		<-time.After(time.Minute)
		w.server.Up(t)
		after, at := beats.beat(t), time.Now()
		if after.Seq < before.Seq+50 {
			t.Errorf("beat %d came after the outage, %d before it", after.Seq, before.Seq)
		}
		beats.beat(t)
		beats.beat(t)
		if got := time.Since(at); got < time.Second {
			t.Errorf("three beats within %s of the outage's end", got)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestBeatsAsSoonAsItIsBack(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.HeartbeatInterval = time.Hour
		// It is back at second 63, when the test's own connection is.
		o.NATS = append(o.NATS, nats.CustomReconnectDelay(func(int) time.Duration { return 7 * time.Second }))
		end := w.run(o)
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		w.server.Down()
		<-time.After(time.Minute)
		w.server.Up(t)
		up := time.Now()
		beats.beat(t)
		if got := time.Since(up); got > 5*time.Second {
			t.Errorf("the first beat came %s after the server", got)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestPing(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Health = func(context.Context) error { return errors.New("disk is full") }
		w.run(o)
		synctest.Wait()
		got := ask[contracts.PingReply](w, contracts.AgentPingSubject("w1"), nil)
		want := contracts.PingReply{Incarnation: 3, Status: contracts.StatusDegraded, Detail: "disk is full"}
		if got != want {
			t.Errorf("ping: %+v, want %+v", got, want)
		}
	})
}

func TestStopRequest(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		ended := make(chan error, 1)
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		go func() { ended <- agent.Run(t.Context(), o) }()
		beats.beat(t)
		stop := func(v any) contracts.OK { return ask[contracts.OK](w, contracts.AgentStopSubject("w1"), v) }
		if r := stop("gibberish"); r.OK || !strings.Contains(r.Warning, "not understood") {
			t.Errorf("gibberish: %+v", r)
		}
		if r := stop(contracts.AgentStopRequest{Incarnation: 2}); r.OK || !strings.Contains(r.Warning, "stale") {
			t.Errorf("older incarnation: %+v", r)
		}
		select {
		case err := <-ended:
			t.Fatalf("ended by requests it must refuse: %v", err)
		case <-time.After(time.Minute):
		}
		if r := stop(nil); !r.OK {
			t.Errorf("stop: %+v", r)
		}
		if err := <-ended; err != nil {
			t.Errorf("after stop: %v", err)
		}
	})
}

func TestNewerIncarnationEndsTheOlder(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		aborted := make(chan error, 1)
		o.Handle = func(ctx context.Context, _ *agent.Task) (any, error) {
			<-ctx.Done()
			aborted <- context.Cause(ctx)
			return "late", nil
		}
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		older := make(chan error, 1)
		go func() { older <- agent.Run(t.Context(), o) }()
		beats.beat(t)
		w.dispatch("w1", contracts.TaskDispatch{Task: "t1", Type: "x", Attempt: 1, Incarnation: 3})
		for _, body := range []string{"", `{"incarnation":2}`, `{"incarnation":3}`, "{"} {
			if err := w.nc.Publish(contracts.HeartbeatSubject("w1"), []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-older:
			t.Fatalf("ended by a beat that is not newer: %v", err)
		case <-time.After(time.Minute):
		}

		o.Incarnation = 4
		end := w.run(o)
		if err := <-older; !errors.Is(err, agent.ErrSuperseded) {
			t.Errorf("the older incarnation ended with %v", err)
		}
		if err := <-aborted; !errors.Is(err, agent.ErrSuperseded) {
			t.Errorf("its handler was told %v", err)
		}
		if n := w.count("smith.event.task.*.x"); n != 0 {
			t.Errorf("the older incarnation reported %d results", n)
		}
		if err := end(); err != nil {
			t.Errorf("the newer incarnation: %v", err)
		}
	})
}

func TestNameTaken(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.run(w.options("w1"))
		if err := agent.Run(t.Context(), w.options("w1")); !errors.Is(err, agent.ErrNameTaken) {
			t.Errorf("the same incarnation twice: %v", err)
		}
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		o := w.options("w1")
		o.Incarnation = 2
		if err := agent.Run(t.Context(), o); !errors.Is(err, agent.ErrSuperseded) {
			t.Errorf("an older incarnation: %v", err)
		}
		for range 3 {
			if h := beats.beat(t); h.Incarnation != 3 {
				t.Errorf("it beat before it ended: %+v", h)
			}
		}
		if err := end(); err != nil {
			t.Errorf("the first one was disturbed: %v", err)
		}
	})
}

func TestHealth(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		answers := make(chan func() error, 1)
		o.Health = func(context.Context) error { return (<-answers)() }
		beats := w.subscribe(contracts.HeartbeatSubject("w1"))
		end := w.run(o)
		beats.beatWhere(t, is(contracts.StatusRunning))
		beats.beatWhere(t, is(contracts.StatusDegraded)) // it has not returned
		answers <- func() error { return nil }
		beats.beatWhere(t, is(contracts.StatusRunning))
		answers <- func() error { panic("health") }
		beats.beatWhere(t, is(contracts.StatusDegraded))
		close(answers)
		_ = end
	})
}

func TestWork(t *testing.T) {
	boom := errors.New("boom")
	tests := map[string]struct {
		work  func(context.Context, *agent.Agent) error
		check func(error) bool
	}{
		"returns":  {func(context.Context, *agent.Agent) error { return nil }, func(err error) bool { return err == nil }},
		"fails":    {func(context.Context, *agent.Agent) error { return boom }, func(err error) bool { return errors.Is(err, boom) }},
		"panics":   {func(context.Context, *agent.Agent) error { panic(boom) }, func(err error) bool { p := new(agent.PanicError); return errors.As(err, &p) && errors.Is(err, boom) }},
		"obeys":    {func(ctx context.Context, _ *agent.Agent) error { <-ctx.Done(); return ctx.Err() }, func(err error) bool { return err == nil }},
		"progress": {func(ctx context.Context, a *agent.Agent) error { a.Progress(); <-ctx.Done(); return nil }, func(err error) bool { return err == nil }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.options("w1")
				o.Work = tt.work
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := agent.Run(ctx, o); !tt.check(err) {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

func TestPublish(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options("w1")
		o.Work = func(ctx context.Context, a *agent.Agent) error {
			e, err := a.Event(contracts.CustomEventType("page_read"), "w1").Data(map[string]int{"bytes": 7}).Build()
			if err != nil {
				return err
			}
			return a.Publish(ctx, e)
		}
		if err := agent.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		e := w.log("smith.event.custom.page_read.w1", 1)[0]
		if e.Source != "agent/w1" || string(e.Data) != `{"bytes":7}` {
			t.Errorf("event %+v", e)
		}
	})
}

func TestCannotConnect(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		s := natstest.Listen(t)
		url := s.URL()
		s.Down()
		err := agent.Run(t.Context(), agent.Options{Agent: "w1", URL: url, ConnectTimeout: 100 * time.Millisecond, Log: quiet()})
		if !errors.Is(err, agent.ErrConnect) || !strings.Contains(err.Error(), url) || !strings.Contains(err.Error(), "smith up") {
			t.Errorf("got: %v", err)
		}
	})
	t.Run("wrong credentials", func(t *testing.T) {
		s := natstest.Listen(t, func(o *server.Options) { o.Authorization = "right" })
		begin := time.Now()
		err := agent.Run(t.Context(), agent.Options{Agent: "w1", URL: s.URL(), NATS: []nats.Option{nats.Token("wrong")}, Log: quiet()})
		if !errors.Is(err, agent.ErrConnect) || !strings.Contains(err.Error(), "credentials") {
			t.Errorf("got: %v", err)
		}
		if time.Since(begin) > 5*time.Second {
			t.Error("kept trying with credentials that were refused")
		}
	})
	t.Run("secrets stay secret", func(t *testing.T) {
		for _, url := range []string{
			"nats://me:hunter2@127.0.0.1:1,nats://hunter2@127.0.0.1:2", "me:hunter2@127.0.0.1:1", "nats://me:x@hunter2@127.0.0.1:1",
			"nats://me:x%40hunter2@127.0.0.1:1", "nats://me:%hunter2@127.0.0.1:1", "nats://me:1/hunter2@127.0.0.1:1",
		} {
			var logged bytes.Buffer
			err := agent.Run(t.Context(), agent.Options{
				Agent: "w1", URL: url, ConnectTimeout: 100 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&logged, nil)),
			})
			if !errors.Is(err, agent.ErrConnect) || strings.Contains(err.Error(), "hunter2") || strings.Contains(logged.String(), "hunter2") {
				t.Errorf("%s: %v\n%s", url, err, logged.String())
			}
		}
	})
}
