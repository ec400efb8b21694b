package eventstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// world is a server, and an event store that can be stopped and started.
type world struct {
	t       *testing.T
	server  *natstest.Server
	env     shell.Env
	cfg     eventstore.Config
	metrics *prometheus.Registry
	stop    func()
}

// inWorld runs a test with a running event store in virtual time.
func inWorld(t *testing.T, cfg eventstore.Config, test func(w *world)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		// Past the real date, which the server's clock for ages goes by: in a
		// bubble's own year 2000 every message would be too old at once.
		<-time.After(time.Until(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)))
		w := &world{t: t, server: natstest.Start(t), cfg: cfg}
		w.start()
		test(w)
		w.stop()
	})
}

func logger() *slog.Logger {
	if os.Getenv("SMITH_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start runs the service, as its main would, until stop.
func (w *world) start() {
	w.t.Helper()
	w.metrics = prometheus.NewRegistry()
	health := shell.NewHealth("eventstore")
	env, err := shell.NewEnv(w.t.Context(), contracts.ServiceEventStore, "es-1", w.server.Connect(w.t), logger(), w.metrics, health)
	if err != nil {
		w.t.Fatal(err)
	}
	w.env = env
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- eventstore.Run(ctx, env, w.cfg) }()
	w.stop = func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the service ended with: %v", err)
		}
		env.NC.Close()
		w.stop = func() {}
	}
	for {
		ready, changed := health.IsReady("eventstore")
		if ready {
			return
		}
		select {
		case <-changed:
		case err := <-done:
			w.t.Fatalf("the service ended before it was ready: %v", err)
		}
	}
}

// settle waits until nothing happens any more at this instant.
func (w *world) settle() {
	for range 3 {
		_ = w.env.NC.Flush()
		synctest.Wait()
	}
}

type option func(*contracts.EventBuilder)

func story(id string) option { return func(b *contracts.EventBuilder) { b.Correlation(id) } }
func causedBy(id string) option {
	return func(b *contracts.EventBuilder) { b.Causation(id) }
}
func data(v any) option { return func(b *contracts.EventBuilder) { b.Data(v) } }

// event makes an event that happens now.
func (w *world) event(source string, t contracts.EventType, entity string, opts ...option) contracts.Event {
	w.t.Helper()
	return w.eventAt(time.Now(), source, t, entity, opts...)
}

func (w *world) eventAt(at time.Time, source string, t contracts.EventType, entity string, opts ...option) contracts.Event {
	w.t.Helper()
	b := contracts.NewEvent(source, t, entity, at)
	for _, o := range opts {
		o(b)
	}
	e, err := b.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// store stores events.
func (w *world) store(events ...contracts.Event) {
	w.t.Helper()
	for _, e := range events {
		if _, err := shell.PublishEvent(w.t.Context(), w.env.JS, e); err != nil {
			w.t.Fatal(err)
		}
	}
}

// custom stores n custom events about an entity and gives them.
func (w *world) custom(n int, entity string, opts ...option) []contracts.Event {
	w.t.Helper()
	var events []contracts.Event
	for range n {
		events = append(events, w.event("test/t", contracts.CustomEventType("x"), entity, opts...))
	}
	w.store(events...)
	return events
}

// raw stores a message as it is.
func (w *world) raw(subject, body string) uint64 {
	w.t.Helper()
	ack, err := w.env.JS.Publish(w.t.Context(), subject, []byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return ack.Sequence
}

// call asks the service; a refusal is the error.
func call[Resp any](w *world, verb string, req any) (Resp, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 40*time.Second)
	defer cancel()
	return shell.Call[Resp](ctx, w.env.NC, contracts.ServiceSubject(contracts.ServiceEventStore, verb), req)
}

// query asks for events and gives their ids.
func (w *world) query(req contracts.QueryRequest) []string {
	w.t.Helper()
	r, err := call[contracts.EventsReply](w, "query", req)
	if err != nil {
		w.t.Fatalf("query %+v: %v", req, err)
	}
	return repliedIDs(r)
}

func repliedIDs(r contracts.EventsReply) []string {
	got := []string{}
	for _, e := range r.Events {
		got = append(got, e.Event.ID)
	}
	return got
}

func ids(events ...contracts.Event) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, e.ID)
	}
	return out
}

// recreate deletes the event stream behind the service's back and makes it
// anew, as somebody who restores a server would.
func (w *world) recreate() {
	w.t.Helper()
	ctx := w.t.Context()
	if err := w.env.JS.DeleteStream(ctx, contracts.EventStream); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.env.JS.CreateStream(ctx, contracts.EventStreamConfig(contracts.StreamOptions{})); err != nil {
		w.t.Fatal(err)
	}
}

// value gives a metric's value, summed over its labels.
func (w *world) value(name string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// dead lists the subjects and headers of the messages set aside.
func (w *world) dead() []*jetstream.RawStreamMsg {
	w.t.Helper()
	return natstest.Messages(w.t, w.env.JS, contracts.DeadStream)
}

func code(err error) string {
	var e *shell.APIError
	if err == nil {
		return "ok"
	}
	if ok := asAPI(err, &e); ok {
		return e.Code
	}
	return fmt.Sprintf("not an answer: %v", err)
}

// pass lets virtual time pass.
func (w *world) pass(d time.Duration) { <-time.After(d) }
