package guard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/mistersmith/mistersmith/internal/config"
)

// State of a breaker.
type State string

// The states.
const (
	Closed   State = "closed"
	Open     State = "open"
	HalfOpen State = "half_open"
)

// Transition is one state change of a breaker.
type Transition struct {
	// Guard is the name of the guard, so of the service that is guarded.
	Guard    string
	From, To State
	// Reason says in words what led to it.
	Reason string
	At     time.Time
}

// MaxTransitions is how many transitions a guard remembers.
const MaxTransitions = 100

// breaker adds to gobreaker what it lacks: a limit on half-open calls in
// flight, results that cannot get lost, reasons, and notices outside its lock.
//
// In one half-open period no more calls are let in than it takes to close, so
// fewer than HalfOpenMaxCalls may be in flight at once, never more.
//
// Every use of the library's breaker happens under mu. So its state changes
// only there, and its OnStateChange, which runs under the library's own lock,
// may touch the fields mu guards.
type breaker struct {
	name   string
	opts   config.CircuitBreaker
	notify func(Transition)

	mu     sync.Mutex
	lib    *gobreaker.TwoStepCircuitBreaker[struct{}]
	probes int   // half-open calls in flight
	cause  error // of the failure being recorded
	past   []Transition
	count  map[State]uint64 // transitions ever made, by the state they led to
	queue  []Transition     // not yet delivered
	idle   chan struct{}    // closed when nothing is being delivered
}

var errNeither = errors.New("says nothing about the service")

func newBreaker(name string, opts config.CircuitBreaker, notify func(Transition)) *breaker {
	b := &breaker{name: name, opts: opts, notify: notify, idle: make(chan struct{}), count: map[State]uint64{}}
	close(b.idle)
	b.lib = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name,
		// The library closes after MaxRequests successes in a row, and lets
		// no more than that many calls into one half-open period: never
		// fewer than it takes to close.
		MaxRequests: uint32(opts.SuccessThreshold),
		// It leaves the open state strictly after its timeout; ours has
		// passed when it has passed.
		Timeout:       max(opts.Timeout-1, 1),
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(opts.FailureThreshold) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNeither) },
		OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(states[from], states[to]) },
	})
	return b
}

var states = map[gobreaker.State]State{
	gobreaker.StateClosed:   Closed,
	gobreaker.StateOpen:     Open,
	gobreaker.StateHalfOpen: HalfOpen,
}

// pass is the leave to make one call. done must be called; only the first
// call of it counts.
type pass struct {
	b     *breaker
	once  sync.Once
	probe bool
	lib   func(error)
}

// admit gives leave to make a call, or [ErrOpen] or [ErrHalfOpenLimit].
func (b *breaker) admit() (*pass, error) {
	b.mu.Lock()
	defer b.unlock()
	state := states[b.lib.State()]
	if state == HalfOpen && b.probes >= b.opts.HalfOpenMaxCalls {
		return nil, fmt.Errorf("%w (%d)", ErrHalfOpenLimit, b.probes)
	}
	done, err := b.lib.Allow()
	switch {
	case errors.Is(err, gobreaker.ErrOpenState):
		return nil, ErrOpen
	case errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil, fmt.Errorf("%w (%d)", ErrHalfOpenLimit, b.probes)
	case err != nil:
		return nil, err
	}
	p := &pass{b: b, lib: done, probe: states[b.lib.State()] == HalfOpen}
	if p.probe {
		b.probes++
	}
	return p, nil
}

// done records how the call ended.
func (p *pass) done(v verdict, err error) {
	p.once.Do(func() {
		b := p.b
		b.mu.Lock()
		defer b.unlock()
		if p.probe {
			b.probes--
		}
		b.cause = err
		switch v {
		case success:
			p.lib(nil)
		case neither:
			p.lib(errNeither)
		default:
			p.lib(errors.New("failure"))
		}
		b.cause = nil
	})
}

func (b *breaker) current() State {
	b.mu.Lock()
	defer b.unlock()
	return states[b.lib.State()]
}

func (b *breaker) transitions() []Transition {
	b.mu.Lock()
	defer b.unlock()
	return append([]Transition(nil), b.past...)
}

// totals counts the transitions ever made by the state they led to.
func (b *breaker) totals() map[State]uint64 {
	b.mu.Lock()
	defer b.unlock()
	return maps.Clone(b.count)
}

// changed records a transition; b.mu is held.
func (b *breaker) changed(from, to State) {
	t := Transition{Guard: b.name, From: from, To: to, Reason: reason(from, to, b.opts, b.cause), At: time.Now()}
	b.past = appendBounded(b.past, t)
	b.count[to]++
	if b.notify != nil {
		b.queue = appendBounded(b.queue, t)
	}
}

// reason says why a breaker changed its state.
func reason(from, to State, opts config.CircuitBreaker, cause error) string {
	switch {
	case to == Closed:
		return fmt.Sprintf("%d successes in a row", opts.SuccessThreshold)
	case to == HalfOpen:
		return fmt.Sprintf("open for %v", opts.Timeout)
	case from == HalfOpen:
		return fmt.Sprintf("a trial call failed: %v", cause)
	}
	return fmt.Sprintf("%d failures in a row, the last: %v", opts.FailureThreshold, cause)
}

// appendBounded appends t and drops the oldest beyond [MaxTransitions].
func appendBounded(ts []Transition, t Transition) []Transition {
	if len(ts) >= MaxTransitions {
		ts = append(ts[:0:0], ts[len(ts)-MaxTransitions+1:]...)
	}
	return append(ts, t)
}

// unlock gives up mu and, when there is something to deliver and nobody is at
// it, starts a goroutine that delivers until nothing is left.
func (b *breaker) unlock() {
	start := false
	if len(b.queue) > 0 {
		select {
		case <-b.idle:
			b.idle, start = make(chan struct{}), true
		default:
		}
	}
	b.mu.Unlock()
	if start {
		go b.deliver()
	}
}

func (b *breaker) deliver() {
	for {
		b.mu.Lock()
		if len(b.queue) == 0 {
			close(b.idle)
			b.mu.Unlock()
			return
		}
		t := b.queue[0]
		b.queue = b.queue[1:]
		b.mu.Unlock()
		b.notify(t)
	}
}

// flush waits until every transition so far has been delivered.
func (b *breaker) flush(ctx context.Context) error {
	b.mu.Lock()
	idle := b.idle
	b.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("breaker transitions still being delivered: %w", context.Cause(ctx))
	}
}
