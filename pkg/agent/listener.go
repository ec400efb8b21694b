package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// EventHandler takes one event. Events come one at a time and in the order of
// the log. An error or a panic is reported, and the next event comes.
type EventHandler func(ctx context.Context, e contracts.Event) error

// HandlerError is how the failure of an event handler is reported.
type HandlerError struct {
	// Handler is the name it was added with.
	Handler string
	// Event is what it failed on; zero where the failure is not about one.
	Event contracts.Event
	Err   error
}

// Error implements error.
func (e *HandlerError) Error() string {
	if e.Event.ID == "" {
		return fmt.Sprintf("event handler %s: %v", e.Handler, e.Err)
	}
	return fmt.Sprintf("event handler %s: event %s of type %s: %v", e.Handler, e.Event.ID, e.Event.Type, e.Err)
}

// Unwrap gives the cause.
func (e *HandlerError) Unwrap() error { return e.Err }

// Listener hands the events of the log to handlers while they happen. Each
// handler reads the log at its own pace, so that neither a slow nor a failing
// one holds up the others, and nothing is missed while the connection is down.
// A handler whose filter says From begins with what is stored since then.
//
// A Listener remembers nothing across runs: whoever must see each event even
// after a restart gives From and drops what it has seen by the event's id.
type Listener struct {
	// Conn is the connection to listen on.
	Conn *nats.Conn
	// OnError is told of every failure, from several goroutines; by default
	// they are logged.
	OnError func(*HandlerError)
	// Ready, where set, is called once every event from then on will be seen.
	Ready func()
	// Log is slog.Default() by default.
	Log *slog.Logger

	handlers []eventHandler
}

type eventHandler struct {
	name   string
	filter contracts.EventFilter
	handle EventHandler
}

// Handle adds a handler, before Run. The name is for reports.
func (l *Listener) Handle(name string, f contracts.EventFilter, h EventHandler) {
	l.handlers = append(l.handlers, eventHandler{name, f, h})
}

// On adds a handler of events whose data is a T, such as
// contracts.AgentFailedData.
func On[T any](l *Listener, name string, f contracts.EventFilter, h func(ctx context.Context, e contracts.Event, data T) error) {
	l.Handle(name, f, func(ctx context.Context, e contracts.Event) error {
		data, err := contracts.DecodeData[T](e)
		if err != nil {
			return err
		}
		return h(ctx, e, data)
	})
}

// Run listens until ctx ends and then returns nil, when every handler has
// returned. While the log does not exist, it waits.
func (l *Listener) Run(ctx context.Context) error {
	if err := l.validate(); err != nil {
		return err
	}
	js, err := jetstream.New(l.Conn)
	if err != nil {
		return fmt.Errorf("listener: JetStream: %w", err)
	}
	from, ok := l.position(ctx, js)
	if !ok {
		return nil
	}
	var begun, ended sync.WaitGroup
	for _, h := range l.handlers {
		begun.Add(1)
		ended.Go(func() { l.follow(ctx, js, h, from, begun.Done) })
	}
	begun.Wait()
	if l.Ready != nil {
		l.Ready()
	}
	ended.Wait()
	return nil
}

func (l *Listener) validate() error {
	var errs []error
	if l.Conn == nil {
		errs = append(errs, errors.New("Conn: not set"))
	}
	if len(l.handlers) == 0 {
		errs = append(errs, errors.New("has no handlers; add some with Handle or On"))
	}
	for _, h := range l.handlers {
		if err := h.filter.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("handler %s: %w", h.name, err))
		}
		if h.handle == nil {
			errs = append(errs, fmt.Errorf("handler %s: has no function", h.name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	return nil
}

// position gives where the log ends now. It waits for the log to exist.
func (l *Listener) position(ctx context.Context, js jetstream.JetStream) (next uint64, ok bool) {
	ok = l.persist(ctx, "", func() error {
		stream, err := js.Stream(ctx, contracts.EventStream)
		if err == nil {
			next = stream.CachedInfo().State.LastSeq + 1
		}
		return err
	})
	return next, ok
}

// follow hands a handler its events until ctx ends.
func (l *Listener) follow(ctx context.Context, js jetstream.JetStream, h eventHandler, next uint64, begun func()) {
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects: h.filter.Subjects(), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: next,
	}
	if h.filter.From != nil {
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, h.filter.From
	}
	var reading jetstream.ConsumeContext
	ok := l.persist(ctx, h.name, func() error {
		consumer, err := js.OrderedConsumer(ctx, contracts.EventStream, config)
		if err != nil {
			return err
		}
		reading, err = consumer.Consume(
			func(msg jetstream.Msg) { l.take(ctx, h, msg) },
			jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
				l.log().Warn("reading the log was interrupted; going on", "handler", h.name, "error", err)
			}))
		return err
	})
	begun()
	if !ok {
		return
	}
	<-ctx.Done()
	reading.Stop()
	<-reading.Closed()
}

// take gives one message to a handler and reports what goes wrong.
func (l *Listener) take(ctx context.Context, h eventHandler, msg jetstream.Msg) {
	if ctx.Err() != nil {
		return
	}
	e, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
	if err != nil {
		l.report(&HandlerError{Handler: h.name, Err: err})
		return
	}
	if !h.filter.Matches(e) {
		return
	}
	done := make(chan struct{})
	go catch(func() error { return h.handle(ctx, e) }, func(err error) {
		defer close(done)
		if err != nil {
			l.report(&HandlerError{Handler: h.name, Event: e, Err: err})
		}
	})
	<-done
}

func (l *Listener) report(err *HandlerError) {
	if l.OnError == nil {
		l.log().Error("an event handler failed", "handler", err.Handler, "event", err.Event.ID, "type", err.Event.Type, "error", err.Err)
		return
	}
	l.OnError(err)
}

// persist tries until it works or ctx ends; it tells which.
func (l *Listener) persist(ctx context.Context, handler string, try func() error) bool {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := try()
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			l.log().Warn("waiting for the event log; the event store service creates it", "stream", contracts.EventStream, "handler", handler, "error", err)
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}

func (l *Listener) log() *slog.Logger {
	if l.Log == nil {
		return slog.Default()
	}
	return l.Log
}
