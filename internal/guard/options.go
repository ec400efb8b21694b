package guard

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
)

// Options of a guard. Each zero part takes the defaults of
// [config.Default]; a part that is set is taken whole.
type Options struct {
	Bulkhead config.Bulkhead
	Retry    config.Retry
	Breaker  config.CircuitBreaker
	Timeouts config.Timeouts

	// Transient says which errors are worth another attempt. Nil: all but
	// those marked [Permanent]. Timeouts always are; what the guard itself
	// refused, what the caller cancelled, and panics never are.
	Transient func(error) bool
	// Counts says which errors count as failures of the service. Nil: all but
	// those marked [Permanent], which are answers. Timeouts and panics always
	// count. The end of the caller's own context counts neither way.
	Counts func(error) bool
	// Scope narrows the context of each attempt by what may cut it off that is
	// neither the caller's doing nor the service's, such as the loss of a
	// connection; it gives the reason as the context's cause. What was cut off
	// is [ErrInterrupted]: worth another attempt, and counted neither way.
	Scope func(context.Context) (context.Context, context.CancelFunc)
	// OnTransition is told each breaker state change, one at a time and in
	// order, from a goroutine of its own; it may call through this guard. At
	// most [MaxTransitions] wait for it, then the oldest are skipped.
	OnTransition func(Transition)
	// Registerer takes the metrics. Nil: none.
	Registerer prometheus.Registerer
}

// FromFile gives the options for calls to the service called name: the
// breaker, bulkhead and retry of that name in the file, else its defaults, and
// the file's timeouts.
func FromFile(f *config.File, name string) Options {
	return Options{
		Bulkhead: f.Bulkhead(name),
		Retry:    f.Retry(name),
		Breaker:  f.Breaker(name),
		Timeouts: f.Timeouts,
	}
}

func (o Options) withDefaults() Options {
	d := FromFile(config.Default(), config.DefaultName)
	if o.Scope == nil {
		o.Scope = func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }
	}
	if o.Bulkhead == (config.Bulkhead{}) {
		o.Bulkhead = d.Bulkhead
	}
	if o.Retry == (config.Retry{}) {
		o.Retry = d.Retry
	}
	if o.Breaker == (config.CircuitBreaker{}) {
		o.Breaker = d.Breaker
	}
	if o.Timeouts.Global == 0 {
		o.Timeouts.Global = d.Timeouts.Global
	}
	return o
}

// Validate reports every option that cannot be meant, or nil.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	b, r, c := o.Bulkhead, o.Retry, o.Breaker
	check(b.MaxConcurrentCalls >= 1, "bulkhead: MaxConcurrentCalls is %d; at least 1 is needed", b.MaxConcurrentCalls)
	check(b.MaxWaitDuration >= 0, "bulkhead: MaxWaitDuration is %v; use 0 for no waiting", b.MaxWaitDuration)
	check(b.MaxWaiting >= 0, "bulkhead: MaxWaiting is %d; use 0 for no waiting", b.MaxWaiting)
	check(r.MaxAttempts >= 1, "retry: MaxAttempts is %d; use 1 for no retry", r.MaxAttempts)
	check(r.InitialDelay >= 0 && r.MaxDelay >= r.InitialDelay, "retry: delays %v to %v; both positive, the maximum not below the initial", r.InitialDelay, r.MaxDelay)
	check(r.Base >= 1, "retry: Base is %v; at least 1 is needed", r.Base)
	check(r.Jitter >= 0 && r.Jitter <= 1, "retry: Jitter is %v; use a share from 0 to 1", r.Jitter)
	check(c.FailureThreshold >= 1, "breaker: FailureThreshold is %d; at least 1 is needed", c.FailureThreshold)
	check(c.SuccessThreshold >= 1, "breaker: SuccessThreshold is %d; at least 1 is needed", c.SuccessThreshold)
	check(c.Timeout > 0, "breaker: Timeout is %v; it must be positive", c.Timeout)
	check(c.HalfOpenMaxCalls >= 1, "breaker: HalfOpenMaxCalls is %d; at least 1 is needed", c.HalfOpenMaxCalls)
	check(o.Timeouts.Global > 0, "timeouts: Global is %v; it must be positive", o.Timeouts.Global)
	check(positive(o.Timeouts), "timeouts: every one must be positive")
	return errors.Join(errs...)
}

func positive(t config.Timeouts) bool {
	for _, d := range t.Services {
		if d <= 0 {
			return false
		}
	}
	for _, ops := range t.Operations {
		for _, d := range ops {
			if d <= 0 {
				return false
			}
		}
	}
	return true
}

// verdict is what a call's end means to the breaker.
type verdict int

const (
	success verdict = iota
	failure
	neither
)

// judge decides what err, the result of a call made under the caller's ctx,
// says about the service.
func (o Options) judge(ctx context.Context, err error) verdict {
	switch {
	case err == nil:
		return success
	case errors.Is(err, errAborted), errors.Is(err, ErrTimeout):
		return failure
	case ctx.Err() != nil && isContextError(err), errors.Is(err, ErrInterrupted):
		return neither
	case o.Counts != nil:
		if o.Counts(err) {
			return failure
		}
		return success
	case IsPermanent(err):
		return success
	}
	return failure
}

// again decides whether err, the result of an attempt, deserves another one.
func again(ctx context.Context, transient func(error) bool, err error) bool {
	switch {
	case ctx.Err() != nil, IsPermanent(err):
		return false
	case errors.Is(err, ErrTimeout), errors.Is(err, ErrInterrupted):
		return true
	case transient != nil:
		return transient(err)
	}
	return true
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
