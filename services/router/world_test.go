package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
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

// agent speaks the protocol by hand.
type agent struct {
	w           *world
	nc          *nats.Conn
	id, kind    string
	incarnation uint64
	capacity    int
	takes       time.Duration

	mu      sync.Mutex
	alive   bool
	stop    chan struct{}
	seen    map[string]int
	running map[string]int
	runs    []string // "task/attempt" in the order begun
	most    int      // the most it ever worked on at once
	answer  func(d contracts.TaskDispatch) (reply []byte, silent bool)
	result  func(d contracts.TaskDispatch) contracts.TaskResultData
	begins  func(task string)
}

func (w *world) agent(id, kind string, capacity int, takes time.Duration) *agent {
	a := &agent{
		w: w, nc: w.srv.Connect(w.t), id: id, kind: kind, capacity: capacity, takes: takes,
	}
	a.start()
	w.t.Cleanup(a.halt)
	return a
}

func (a *agent) start() {
	a.mu.Lock()
	a.incarnation++
	a.alive, a.stop = true, make(chan struct{})
	a.seen, a.running = map[string]int{}, map[string]int{}
	incarnation, stop := a.incarnation, a.stop
	a.mu.Unlock()
	a.w.event(contracts.AgentStarted, a.id, contracts.AgentStartedData{
		Agent: a.id, Incarnation: incarnation, Runner: "r", Type: a.kind, Capacity: a.capacity,
	})
	sub, err := a.nc.Subscribe(contracts.AgentTaskSubject(a.id), func(m *nats.Msg) { a.onTask(m, incarnation) })
	if err != nil {
		a.w.t.Fatal(err)
	}
	if err := a.nc.Flush(); err != nil {
		a.w.t.Fatal(err)
	}
	go func() {
		for {
			a.beat(incarnation)
			select {
			case <-stop:
				_ = sub.Unsubscribe()
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

func (a *agent) beat(incarnation uint64) {
	body, err := json.Marshal(contracts.Heartbeat{Incarnation: incarnation, Type: a.kind, Capacity: a.capacity})
	if err == nil {
		err = a.nc.Publish(contracts.HeartbeatSubject(a.id), body)
	}
	if err != nil {
		a.w.t.Logf("%s: heartbeat: %v", a.id, err)
	}
}

func (a *agent) onTask(m *nats.Msg, incarnation uint64) {
	var d contracts.TaskDispatch
	if err := json.Unmarshal(m.Data, &d); err != nil {
		a.w.t.Errorf("%s got %s: %v", a.id, m.Data, err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.alive || incarnation != a.incarnation {
		return
	}
	if a.answer != nil {
		if reply, silent := a.answer(d); reply != nil || silent {
			if !silent {
				_ = m.Respond(reply)
			}
			return
		}
	}
	reply := contracts.TaskReply{Accepted: true}
	switch {
	case d.Incarnation != incarnation:
		reply = contracts.TaskReply{Reason: "stale_incarnation"}
	case a.seen[d.Task] >= d.Attempt: // it has that one already
	case len(a.running) >= a.capacity:
		reply = contracts.TaskReply{Reason: "full"}
	default:
		a.seen[d.Task], a.running[d.Task] = d.Attempt, d.Attempt
		a.most = max(a.most, len(a.running))
		a.runs = append(a.runs, fmt.Sprintf("%s/%d", d.Task, d.Attempt))
		if a.begins != nil {
			a.begins(d.Task)
		}
		go a.work(d, a.stop)
	}
	body, _ := json.Marshal(reply)
	_ = m.Respond(body)
}

func (a *agent) work(d contracts.TaskDispatch, stop chan struct{}) {
	select {
	case <-stop:
		return
	case <-time.After(a.takes):
	}
	a.mu.Lock()
	delete(a.running, d.Task)
	a.mu.Unlock()
	res := contracts.TaskResultData{Result: json.RawMessage(`"done"`)}
	if a.result != nil {
		res = a.result(d)
	}
	res.Task, res.Type, res.Agent, res.Incarnation, res.Attempt = d.Task, d.Type, d.Agent, d.Incarnation, d.Attempt
	kind := contracts.TaskCompleted
	if res.Error != "" {
		kind = contracts.TaskFailed
	}
	ev, err := contracts.NewEvent("agent/"+a.id, kind, d.Type, time.Now()).Correlation(d.Task).Causation(d.CausationID).Data(res).Build()
	if err != nil {
		a.w.t.Errorf("result: %v", err)
		return
	}
	for { // until it is stored, as the protocol asks
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err = shell.PublishEvent(ctx, a.w.js, ev)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// halt stops the agent dead and says nothing.
func (a *agent) halt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.alive {
		a.alive = false
		close(a.stop)
	}
}

// die is a crash that its runner reports.
func (a *agent) die() {
	a.halt()
	synctest.Wait()
	a.w.event(contracts.AgentFailed, a.id, contracts.AgentFailedData{
		Agent: a.id, Incarnation: a.incarnation, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: -1, Signal: "SIGKILL"},
	})
}

func (a *agent) load() (running, most int, runs []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.running), a.most, append([]string(nil), a.runs...)
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
