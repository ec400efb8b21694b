// Package outbox publishes what a runner has to tell, for as long as it takes.
//
// The events themselves wait elsewhere, on disk; here is only the work of
// getting each one acknowledged. The events of one agent go out in order, those
// of different agents at once.
package outbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Source is where unacknowledged events wait.
type Source interface {
	// Pending gives an agent's oldest such event.
	Pending(agent string) (contracts.Event, bool)
	// Acknowledge removes it.
	Acknowledge(agent, id string)
}

const (
	atOnce               = 16 // publishing at the same time
	firstWait, mostWait  = 50 * time.Millisecond, time.Second
	silentFailuresPerLog = 30
)

// Outbox publishes the events of agents that it is notified of.
type Outbox struct {
	source  Source
	publish func(context.Context, contracts.Event) error
	log     *slog.Logger
	failed  func()

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	slots  chan struct{}

	mu     sync.Mutex
	begun  bool
	closed bool
	busy   map[string]bool // agents being delivered; true: look again
	idle   chan struct{}   // closed when nothing is being delivered
}

// New makes an outbox. Nothing is published before Begin. publish returns when
// the event is acknowledged; failed, if not nil, is told of each attempt that
// was not.
func New(source Source, publish func(context.Context, contracts.Event) error, log *slog.Logger, failed func()) *Outbox {
	ctx, cancel := context.WithCancel(context.Background())
	idle := make(chan struct{})
	close(idle)
	return &Outbox{
		source: source, publish: publish, log: log, failed: failed,
		ctx: ctx, cancel: cancel, slots: make(chan struct{}, atOnce), busy: map[string]bool{}, idle: idle,
	}
}

// Begin starts to publish, also what was notified before.
func (o *Outbox) Begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun || o.closed {
		return
	}
	o.begun = true
	for agent := range o.busy {
		o.wg.Go(func() { o.deliver(agent) })
	}
}

// Notify says that an agent has events. It never blocks.
func (o *Outbox) Notify(agent string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if _, busy := o.busy[agent]; busy {
		o.busy[agent] = true
		return
	}
	if len(o.busy) == 0 {
		o.idle = make(chan struct{})
	}
	o.busy[agent] = false
	if o.begun {
		o.wg.Go(func() { o.deliver(agent) })
	}
}

// Waiting is how many agents have events that are not acknowledged.
func (o *Outbox) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.busy)
}

// Flush waits until everything is acknowledged or ctx is done.
func (o *Outbox) Flush(ctx context.Context) error {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops publishing; what is not acknowledged keeps waiting in the source.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.cancel()
	o.wg.Wait()
}

// deliver publishes an agent's events until there are none.
func (o *Outbox) deliver(agent string) {
	for failures := 0; ; {
		ev, ok := o.source.Pending(agent)
		if !ok {
			if o.leave(agent) {
				return
			}
			continue
		}
		err := o.try(ev)
		if err == nil {
			failures = 0
			o.source.Acknowledge(agent, ev.ID)
			continue
		}
		if o.ctx.Err() != nil {
			return
		}
		if failures%silentFailuresPerLog == 0 {
			o.log.Warn("event not stored yet; trying on", "agent", agent, "event", ev.ID, "type", string(ev.Type), "error", err)
		}
		if o.failed != nil {
			o.failed()
		}
		o.pause(failures)
		failures++
	}
}

func (o *Outbox) try(ev contracts.Event) error {
	select {
	case o.slots <- struct{}{}:
	case <-o.ctx.Done():
		return o.ctx.Err()
	}
	defer func() { <-o.slots }()
	return o.publish(o.ctx, ev)
}

// leave ends the delivery for an agent, unless it was notified meanwhile.
func (o *Outbox) leave(agent string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy[agent] {
		o.busy[agent] = false
		return false
	}
	delete(o.busy, agent)
	if len(o.busy) == 0 {
		close(o.idle)
	}
	return true
}

// pause waits longer from failure to failure, and never the same for all.
func (o *Outbox) pause(failures int) {
	wait := min(firstWait<<min(failures, 10), mostWait)
	timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.ctx.Done():
	}
}
