// Package guard protects a service from what it calls, and what it calls from
// the service. Every downstream call goes through four layers:
//
//	bulkhead → retry → breaker → timeout → the call
//
// The bulkhead bounds calls in flight and waiting. Retry repeats what failed
// in passing. The breaker stops calling what keeps failing and tries it again
// with few calls at a time. The timeout bounds each attempt; the nearest of
// operation, service and global wins.
//
// A call that was not made says so: [ErrQueueFull], [ErrQueueTimeout],
// [ErrClosed], [ErrOpen] and [ErrHalfOpenLimit] are told apart from each other
// and from the operation's own error by errors.Is. A panic or Goexit in a call
// counts as its failure and leaves every layer usable.
package guard

import (
	"context"
	"fmt"
	"time"
)

// Guard protects the calls to one downstream service. All methods are safe
// for concurrent use.
type Guard struct {
	name     string
	opts     Options
	bulkhead *bulkhead
	breaker  *breaker
	metrics  *metrics
}

// New makes the guard of the downstream service called name, which is also
// its name in timeouts ("name::operation"), metrics and transitions. It panics
// when the options are invalid, see [Options.Validate], or when the registerer
// holds other metrics of the same names.
func New(name string, opts Options) *Guard {
	opts = opts.withDefaults()
	if err := opts.Validate(); err != nil {
		panic("guard " + name + ": " + err.Error())
	}
	g := &Guard{
		name:     name,
		opts:     opts,
		bulkhead: newBulkhead(opts.Bulkhead),
		breaker:  newBreaker(name, opts.Breaker, opts.OnTransition),
	}
	g.metrics = registerMetrics(opts.Registerer, g)
	return g
}

// Name gives the downstream service's name.
func (g *Guard) Name() string { return g.name }

// State gives the breaker's state now.
func (g *Guard) State() State { return g.breaker.current() }

// Transitions lists the breaker's last state changes, oldest first, at most
// [MaxTransitions].
func (g *Guard) Transitions() []Transition { return g.breaker.transitions() }

// Available gives how many more calls could start now without waiting.
func (g *Guard) Available() int { return g.bulkhead.available() }

// Waiting gives how many calls wait for a free place.
func (g *Guard) Waiting() int { return int(g.bulkhead.waiting.Load()) }

// Close refuses new and waiting calls with [ErrClosed], then waits until the
// calls in flight have returned and every transition has been delivered, or
// until ctx ends, whose error it returns. Closing twice is harmless.
func (g *Guard) Close(ctx context.Context) error {
	if err := g.bulkhead.close(ctx); err != nil {
		return err
	}
	return g.breaker.flush(ctx)
}

// Forget takes the guard out of the metrics, for a downstream service that is
// gone for good. Calls that still end later are counted anew.
func (g *Guard) Forget() { g.metrics.forget(g) }

// Run is [Do] for calls without a result.
func (g *Guard) Run(ctx context.Context, op string, fn func(context.Context) error) error {
	_, err := Do(ctx, g, op, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

// Do makes the call fn as operation op of g's service: at most once at a time
// per free place of the bulkhead, up to Retry.MaxAttempts times, not while the
// breaker is open, each attempt with the context of its own timeout. So fn must
// heed its context, and bear being called again after an attempt whose outcome
// is unknown. op becomes a metric label: take it from a fixed set.
//
// Every error is an [*Error] that wraps what happened.
func Do[T any](ctx context.Context, g *Guard, op string, fn func(context.Context) (T, error)) (v T, err error) {
	c := g.metrics.begin(g.name, op)
	defer c.end()
	release, err := g.bulkhead.acquire(ctx)
	if err != nil {
		c.outcome = rejection(err)
		return v, &Error{Service: g.name, Operation: op, Err: err}
	}
	defer release()
	tries, admitted := 0, false
	attempt := func() (v T, err error) {
		var p *pass
		if p, err = g.breaker.admit(); err != nil {
			admitted = false
			return v, err
		}
		tries, admitted = tries+1, true
		return attempt(ctx, g, op, p, fn)
	}
	worth := func(err error) bool { return admitted && again(ctx, g.opts.Transient, err) }
	v, err = retry(ctx, g.opts.Retry, worth, c.retried, attempt)
	c.outcome = ending(err)
	if !admitted {
		c.outcome = rejection(err)
	}
	if err != nil {
		return v, &Error{Service: g.name, Operation: op, Attempts: tries, Err: err}
	}
	return v, nil
}

// attempt makes one admitted call within its timeout and tells the breaker how
// it ended.
func attempt[T any](ctx context.Context, g *Guard, op string, p *pass, fn func(context.Context) (T, error)) (v T, err error) {
	limit := g.opts.Timeouts.For(g.name, op)
	callCtx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	// A call that does not heed its context must not hold a half-open
	// breaker's place for ever: it has failed when its time is up.
	overdue := time.AfterFunc(limit, func() {
		if ctx.Err() == nil {
			p.done(failure, timeoutError(limit))
		}
	})
	defer overdue.Stop()
	err = errAborted // what remains when fn panics or calls Goexit
	defer func() { p.done(g.opts.judge(ctx, err), err) }()
	scoped, release := g.opts.Scope(callCtx)
	defer release()
	if cut := scoped.Err(); cut != nil {
		err = cut
	} else {
		v, err = fn(scoped)
	}
	if err != nil && scoped.Err() != nil && callCtx.Err() == nil {
		err = fmt.Errorf("%w: %w: %w", ErrInterrupted, context.Cause(scoped), err)
	}
	if err != nil && context.Cause(callCtx) == errLimit && ctx.Err() == nil {
		err = &limitError{limit: limit, err: err}
	}
	return v, err
}
