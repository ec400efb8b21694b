package agent_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// world is a server with all streams, and the test's own connection to it.
type world struct {
	t      *testing.T
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := natstest.Start(t)
	w := &world{t: t, server: s, nc: s.Connect(t)}
	w.js = natstest.JetStream(t, w.nc)
	natstest.Streams(t, w.js)
	return w
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// options are those of a supervised agent that beats every second.
func (w *world) options(name string) agent.Options {
	return agent.Options{
		Agent: name, Incarnation: 3, Type: "tester", HeartbeatInterval: time.Second,
		URL: w.server.URL(), NATS: []nats.Option{nats.InProcessServer(w.server)}, Log: quiet(),
	}
}

// run runs an agent; the returned function ends it and gives Run's error.
func (w *world) run(o agent.Options) (end func() error) {
	w.t.Helper()
	beats := w.subscribe(contracts.HeartbeatSubject(o.Agent))
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx, o) }()
	beats.next(w.t)
	_ = beats.Unsubscribe()
	w.t.Cleanup(cancel)
	return func() error {
		cancel()
		return <-ended
	}
}

// soon is a context of a minute.
func (w *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

type inbox struct {
	*nats.Subscription
	w *world
}

func (w *world) subscribe(subject string) inbox {
	w.t.Helper()
	s, err := w.nc.SubscribeSync(subject)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.nc.FlushWithContext(w.soon()); err != nil {
		w.t.Fatal(err)
	}
	return inbox{s, w}
}

func (s inbox) next(t *testing.T) *nats.Msg {
	t.Helper()
	msg, err := s.NextMsgWithContext(s.w.soon())
	if err != nil {
		t.Fatalf("nothing came on %s: %v", s.Subject, err)
	}
	return msg
}

func (s inbox) beat(t *testing.T) contracts.Heartbeat {
	t.Helper()
	h, err := contracts.DecodeHeartbeat(s.next(t).Data)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// beatWhere gives the next beat that fits.
func (s inbox) beatWhere(t *testing.T, fits func(contracts.Heartbeat) bool) contracts.Heartbeat {
	t.Helper()
	for range 100 {
		if h := s.beat(t); fits(h) {
			return h
		}
	}
	t.Fatal("100 beats, and none as expected")
	return contracts.Heartbeat{}
}

// ask sends a request and reads the answer as a T.
func ask[T any](w *world, subject string, v any) T {
	w.t.Helper()
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			w.t.Fatal(err)
		}
	}
	msg, err := w.nc.RequestWithContext(w.soon(), subject, body)
	if err != nil {
		w.t.Fatalf("request on %s: %v", subject, err)
	}
	var answer T
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		w.t.Fatalf("answer on %s: %v: %s", subject, err, msg.Data)
	}
	return answer
}

// dispatch sends one attempt at a task to an agent.
func (w *world) dispatch(name string, d contracts.TaskDispatch) contracts.TaskReply {
	w.t.Helper()
	d.Agent = name
	return ask[contracts.TaskReply](w, contracts.AgentTaskSubject(name), d)
}

// log reads all events of a subject from the stream, once there are n.
func (w *world) log(subject string, n int) []contracts.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	consumer, err := w.js.OrderedConsumer(ctx, contracts.EventStream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		w.t.Fatal(err)
	}
	var events []contracts.Event
	for len(events) < n {
		msg, err := consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
		if err != nil {
			w.t.Fatalf("%d of %d events on %s: %v", len(events), n, subject, err)
		}
		e, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
		if err != nil {
			w.t.Fatal(err)
		}
		if msg.Headers().Get(nats.MsgIdHdr) != e.ID || msg.Headers().Get("Content-Type") != contracts.ContentType {
			w.t.Errorf("headers of event %s: %v", e.ID, msg.Headers())
		}
		events = append(events, e)
	}
	return events
}

// count gives how many events the stream holds on a subject.
func (w *world) count(subject string) int {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), contracts.EventStream)
	if err != nil {
		w.t.Fatal(err)
	}
	info, err := stream.Info(w.t.Context(), jetstream.WithSubjectFilter(subject))
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, c := range info.State.Subjects {
		n += int(c)
	}
	return n
}

func data[T any](t *testing.T, e contracts.Event) T {
	t.Helper()
	v, err := contracts.DecodeData[T](e)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
