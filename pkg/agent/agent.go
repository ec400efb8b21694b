package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Why a Run ended or could not begin, beside failures of the agent's own code.
var (
	// ErrSuperseded: a newer incarnation of this agent lives.
	ErrSuperseded = errors.New("superseded by a newer incarnation")
	// ErrNameTaken: another process already runs as this agent.
	ErrNameTaken = errors.New("name is taken")
	// ErrUnreported: the agent had to end before the log had acknowledged the
	// results of all tasks. The router gives those tasks to another agent.
	ErrUnreported = errors.New("results not reported")

	errAborted = errors.New("agent was ordered to end at once")
	errDrain   = errors.New("agent is stopping and its drain timeout has passed")
)

// Agent is a running agent, as its own code sees it.
type Agent struct {
	o       Options
	link    *link
	log     *slog.Logger
	started time.Time

	progress atomic.Uint64
	kick     chan struct{} // asks for a beat now

	loop    piece         // Work
	isStuck atomic.Bool   // stuck is not empty
	look    chan struct{} // asks the watchdog to look now

	// The contexts of the agent's own code: work ends when the agent shall
	// stop, tasks and reports when it can wait no longer.
	work, tasks, reports context.Context
	endWork              context.CancelFunc
	endTasks, endReports context.CancelCauseFunc
	running              sync.WaitGroup // Work, handlers and reports
	handlers             atomic.Int64   // of these, what runs the user's code
	unreported           atomic.Int64
	stopOnce             sync.Once
	stopping             chan struct{} // closed when the agent shall stop

	mu       sync.Mutex
	status   contracts.AgentStatus // running, stopping or stopped
	unwell   string                // why the agent is degraded
	stuck    string                // what the watchdog says is stuck
	cause    error                 // why it stops, if for a failure
	drain    time.Duration
	inFlight int
	pieces   map[*piece]struct{}  // what runs
	busy     map[*piece]time.Time // until when it shows no progress
	attempts attempts
	warned   time.Time
	seq      uint64
}

// Run runs an agent until ctx ends, it is asked to stop over NATS, its Work
// returns, or a newer incarnation of it appears. It then takes no more tasks,
// lets those in flight end, and reports their results. It returns nil when all
// that went well, and never while code of the agent's still runs.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return err
	}
	l := o.link
	if l == nil {
		var err error
		if l, err = dial(ctx, "smith agent "+o.Agent, contracts.HeartbeatConnection(o.Agent, o.Incarnation), o); err != nil {
			return fmt.Errorf("agent %s: %w", o.Agent, err)
		}
		defer l.close()
	}
	a := newAgent(ctx, o, l)
	defer a.endWork()
	defer a.endTasks(nil)
	defer a.endReports(nil)
	if err := a.claimName(); err != nil {
		return fmt.Errorf("agent %s: %w", o.Agent, err)
	}
	if err := a.serve(ctx); err != nil {
		return fmt.Errorf("agent %s: %w", o.Agent, err)
	}
	return nil
}

func newAgent(ctx context.Context, o Options, l *link) *Agent {
	a := &Agent{
		o: o, link: l, started: time.Now(),
		log:      o.Log.With("agent", o.Agent, "incarnation", o.Incarnation),
		kick:     make(chan struct{}, 1),
		look:     make(chan struct{}, 1),
		stopping: make(chan struct{}),
		status:   contracts.StatusRunning,
		drain:    o.DrainTimeout,
		pieces:   make(map[*piece]struct{}),
		busy:     make(map[*piece]time.Time),
		attempts: newAttempts(max(rememberedAttempts, 2*o.Capacity)),
	}
	a.loop.name = "Work"
	lasting := context.WithoutCancel(ctx)
	a.work, a.endWork = context.WithCancel(lasting)
	a.tasks, a.endTasks = context.WithCancelCause(lasting)
	a.reports, a.endReports = context.WithCancelCause(lasting)
	return a
}

// serve subscribes, beats and waits for the end.
func (a *Agent) serve(ctx context.Context) error {
	unsubscribe, err := a.subscribe()
	if err != nil {
		return err
	}
	defer unsubscribe()

	var helpers sync.WaitGroup
	ended := make(chan struct{})
	helpers.Go(func() { a.beatUntil(ended) })
	if a.o.Health != nil {
		helpers.Go(func() { a.watchHealth() })
	}
	if a.o.Watchdog > 0 {
		helpers.Go(a.guard)
	}
	if a.o.Work != nil {
		a.runWork()
	}
	select {
	case <-ctx.Done():
		a.stop(nil, 0)
	case <-a.o.abort:
		a.stop(errAborted, 0)
	case <-a.stopping:
	}
	err = a.windDown()
	close(ended)
	helpers.Wait()
	a.sayStopped()
	return err
}

func (a *Agent) runWork() {
	a.mu.Lock()
	a.beginLocked()
	a.mu.Unlock()
	go a.do(a.work, &a.loop,
		func(ctx context.Context) error { return a.o.Work(ctx, a) },
		func(err error) {
			defer a.running.Done()
			a.handlers.Add(-1)
			if errors.Is(err, context.Canceled) && a.work.Err() != nil {
				err = nil // it was told to end, and says so
			}
			a.stop(err, 0)
		})
}

// beginLocked counts one more call of the user's code. It must be called while
// the agent is running, under the lock, so that windDown waits for it.
func (a *Agent) beginLocked() {
	a.running.Add(1)
	a.handlers.Add(1)
}

// stop begins the end of the agent; the first call decides why and how long
// tasks may take. A zero drain means the agent's own.
func (a *Agent) stop(cause error, drain time.Duration) {
	a.stopOnce.Do(func() {
		a.mu.Lock()
		a.status, a.cause = contracts.StatusStopping, cause
		if drain > 0 {
			a.drain = drain
		}
		a.mu.Unlock()
		a.log.Info("agent is stopping", "cause", cause)
		close(a.stopping)
		a.endWork()
		poke(a.kick)
	})
}

// windDown waits for everything in flight: for as long as the drain timeout
// politely, then with the contexts cancelled.
func (a *Agent) windDown() error {
	a.mu.Lock()
	cause, drain := a.cause, a.drain
	a.mu.Unlock()
	grace := min(stopGrace, drain/8)
	idle := make(chan struct{})
	go func() { a.running.Wait(); close(idle) }()

	if errors.Is(cause, ErrSuperseded) || errors.Is(cause, errAborted) {
		a.endReports(cause) // first: what is interrupted now has no result
		a.endTasks(cause)
	} else {
		select {
		case <-idle:
		case <-a.o.abort:
			a.endTasks(errAborted)
		case <-time.After(drain):
			a.endTasks(errDrain)
		}
		// What was cancelled just now still gets a moment to be reported.
		late := time.AfterFunc(grace, func() { a.endReports(errDrain) })
		defer late.Stop()
	}
	select {
	case <-idle:
	case <-time.After(grace):
		if n := a.handlers.Load(); n > 0 {
			err := fmt.Errorf("agent %s: %d handlers still run %s after their contexts ended", a.o.Agent, n, grace)
			a.log.Error("handlers do not end; waiting for them", "handlers", n)
			if a.o.stuck != nil {
				a.o.stuck(err)
			}
		}
		<-idle
	}
	if n := a.unreported.Load(); n > 0 && !errors.Is(cause, ErrSuperseded) {
		cause = errors.Join(cause, fmt.Errorf("%d %w", n, ErrUnreported))
	}
	return cause
}

// stopGrace is how long after the drain timeout, at most, code may take to
// notice that its context has ended, and results to be acknowledged.
const stopGrace = 500 * time.Millisecond

func (a *Agent) sayStopped() {
	a.mu.Lock()
	a.status = contracts.StatusStopped
	superseded := errors.Is(a.cause, ErrSuperseded)
	a.mu.Unlock()
	if !superseded {
		a.beat()
	}
}

// Name is the agent's id.
func (a *Agent) Name() string { return a.o.Agent }

// Incarnation is the number of this start; 0 when nobody supervises it.
func (a *Agent) Incarnation() uint64 { return a.o.Incarnation }

// Log writes with the agent's name and incarnation.
func (a *Agent) Log() *slog.Logger { return a.log }

// Conn is the connection for work, for the agent's own use. It must not be
// closed.
func (a *Agent) Conn() *nats.Conn { return a.link.work }

// StopWithin is how long what is in flight may still take once the agent is to stop:
// Options.DrainTimeout, or what the request that stops it says.
func (a *Agent) StopWithin() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.drain
}

// Progress says that Work got some real work done; it feeds the watchdog of Work.
// A handler calls [Task.Progress] instead.
func (a *Agent) Progress() { a.moved(&a.loop) }

// Event begins an event with the agent as its source.
func (a *Agent) Event(t contracts.EventType, entity string) *contracts.EventBuilder {
	return contracts.NewEvent("agent/"+a.o.Agent, t, entity, time.Now())
}

// Publish puts an event into the log. It tries until the log acknowledges it
// or ctx ends.
func (a *Agent) Publish(ctx context.Context, e contracts.Event) error {
	msg, err := eventMessage(e)
	if err != nil {
		return err
	}
	return publishEvent(ctx, a.link.js, a.log, msg)
}

func eventMessage(e contracts.Event) (*nats.Msg, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	body, err := e.Encode()
	if err != nil {
		return nil, err
	}
	msg := nats.NewMsg(e.Subject())
	msg.Data = body
	msg.Header.Set(nats.MsgIdHdr, e.ID)
	msg.Header.Set("Content-Type", contracts.ContentType)
	return msg, nil
}

// reply answers a request; a requester that is gone is no error.
func reply(msg *nats.Msg, log *slog.Logger, v any) {
	body, err := json.Marshal(v)
	if err == nil {
		err = msg.Respond(body)
	}
	if err != nil {
		log.Warn("cannot answer a request", "subject", msg.Subject, "error", err)
	}
}
