package router_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// world is a nats-server with the streams, and everything that happened.
type world struct {
	t   *testing.T
	srv *natstest.Server
	nc  *nats.Conn
	js  jetstream.JetStream
}

func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		srv := natstest.Start(t)
		nc := srv.Connect(t)
		w := &world{t: t, srv: srv, nc: nc, js: natstest.JetStream(t, nc)}
		natstest.Streams(t, w.js)
		f(t, w)
	})
}

// instance is a running router.
type instance struct {
	nc      *nats.Conn
	cancel  context.CancelFunc
	done    chan error
	metrics *prometheus.Registry
	health  *shell.Health
}

// route starts a router; it serves, or stands by, when this returns.
func (w *world) route(name string, cfg router.Config) *instance {
	w.t.Helper()
	i := w.boot(name, cfg)
	for {
		ready, changed := i.health.IsReady(contracts.ServiceRouter)
		if ready {
			return i
		}
		select {
		case <-changed:
		case err := <-i.done:
			w.t.Fatalf("router ended: %v", err)
		case <-time.After(time.Minute):
			w.t.Fatal("router not ready after a minute")
		}
	}
}

func (w *world) boot(name string, cfg router.Config) *instance {
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{
		nc: w.srv.Connect(w.t), cancel: cancel, done: make(chan error, 1),
		metrics: prometheus.NewRegistry(), health: shell.NewHealth(contracts.ServiceRouter),
	}
	level := slog.LevelError
	if os.Getenv("ROUTER_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	env := shell.Env{
		Service: contracts.ServiceRouter, Instance: name, NC: i.nc, JS: natstest.JetStream(w.t, i.nc),
		Log: slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: level})), Metrics: i.metrics, Health: i.health,
	}
	go func() { i.done <- router.Run(ctx, env, cfg) }()
	w.t.Cleanup(func() {
		cancel()
		<-i.done
	})
	return i
}

// stop ends the router in order.
func (w *world) stop(i *instance) {
	w.t.Helper()
	i.cancel()
	if err := <-i.done; err != nil {
		w.t.Errorf("router stopped with: %v", err)
	}
	i.done <- nil
}

// kill ends the router as a crash would: nothing leaves it any more.
func (w *world) kill(i *instance) {
	i.nc.Close()
	i.cancel()
	<-i.done
	i.done <- nil
}

func (w *world) event(t contracts.EventType, entity string, data any) {
	w.t.Helper()
	ev, err := contracts.NewEvent("test/1", t, entity, time.Now()).Data(data).Build()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := shell.PublishEvent(context.Background(), w.js, ev); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) submit(t contracts.Task) contracts.SubmitReply {
	w.t.Helper()
	reply, err := call[contracts.SubmitReply](w, "submit", t)
	if err != nil {
		w.t.Fatalf("submit %s: %v", t.ID, err)
	}
	return reply
}

// submitMany submits n tasks of a type, t0 and so on.
func (w *world) submitMany(n int, kind string) {
	w.t.Helper()
	for i := range n {
		w.submit(contracts.Task{ID: fmt.Sprintf("t%d", i), Type: kind})
	}
}

// coders runs n agents of type coder, a0 and so on.
func (w *world) coders(n, capacity int, takes time.Duration) []*agent {
	var all []*agent
	for i := range n {
		all = append(all, w.agent(fmt.Sprintf("a%d", i), "coder", capacity, takes))
	}
	return all
}

func call[Resp any](w *world, verb string, req any) (Resp, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return shell.Call[Resp](ctx, w.nc, contracts.ServiceSubject(contracts.ServiceRouter, verb), req)
}

func (w *world) view() contracts.RouterView {
	w.t.Helper()
	v, err := call[contracts.RouterView](w, "agents", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) task(id string) contracts.TaskView {
	w.t.Helper()
	v, err := call[contracts.TaskView](w, "status", contracts.TaskRequest{Task: id})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// until waits until ok holds, for at most so long.
func (w *world) until(what string, limit time.Duration, ok func() bool) {
	w.t.Helper()
	end := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(end) {
			v, err := call[contracts.RouterView](w, "agents", nil)
			w.t.Fatalf("not within %s: %s; %+v %v", limit, what, v, err)
		}
		pass(250 * time.Millisecond)
	}
}

func pass(d time.Duration) { <-time.After(d) }

// log gives every event of the types, oldest first.
func (w *world) log(types ...contracts.EventType) []contracts.Event {
	w.t.Helper()
	var subjects []string
	for _, t := range types {
		subjects = append(subjects, contracts.EventTypeWildcard(t))
	}
	return decode(w, contracts.EventStream, subjects, contracts.DecodeEvent)
}

// dead gives what was set aside under a subject.
func (w *world) dead(subject string) []*nats.Msg {
	w.t.Helper()
	return decode(w, contracts.DeadStream, []string{subject}, func(s string, b []byte) (*nats.Msg, error) {
		return &nats.Msg{Subject: s, Data: b}, nil
	})
}

func decode[T any](w *world, stream string, subjects []string, read func(string, []byte) (T, error)) (all []T) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := w.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: subjects})
	if err != nil {
		w.t.Fatal(err)
	}
	for n := c.CachedInfo().NumPending; n > 0; {
		batch, err := c.Fetch(int(n), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			w.t.Fatal(err)
		}
		for m := range batch.Messages() {
			v, err := read(m.Subject(), m.Data())
			if err != nil {
				w.t.Fatalf("%s: %v", m.Subject(), err)
			}
			all = append(all, v)
			n--
		}
	}
	return all
}

// waiting is how many messages the task queue has.
func (w *world) waiting() uint64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := w.js.Stream(ctx, contracts.TaskStream)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// completions counts the valid ends in the log by task.
func (w *world) completions() map[string]int {
	w.t.Helper()
	n := map[string]int{}
	for _, ev := range w.log(contracts.TaskCompleted) {
		n[ev.CorrelationID]++
	}
	return n
}
