package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Why a call was not made, or was cut off.
var (
	// ErrQueueFull: as many calls as may wait are waiting already.
	ErrQueueFull = errors.New("bulkhead full and its queue too")
	// ErrQueueTimeout: no place became free within the bulkhead's
	// max_wait_duration.
	ErrQueueTimeout = errors.New("bulkhead full")
	// ErrClosed: the guard has been closed.
	ErrClosed = errors.New("guard closed")
	// ErrOpen: the breaker is open, the service is left alone.
	ErrOpen = errors.New("circuit breaker open")
	// ErrHalfOpenLimit: the breaker is trying the service out and has enough
	// calls under way.
	ErrHalfOpenLimit = errors.New("circuit breaker half-open and at its limit of calls")
	// ErrTimeout: the call was made and did not end in time.
	ErrTimeout = errors.New("timeout")
	// ErrInterrupted: the attempt was cut off by its scope, see [Options.Scope].
	ErrInterrupted = errors.New("interrupted")
)

var (
	errLimit   = errors.New("guard: attempt's time is up")
	errAborted = errors.New("the call panicked or left its goroutine")
)

// Error is every failure of a guarded call.
type Error struct {
	// Service and Operation are what was called.
	Service, Operation string
	// Attempts is how often the call was tried; 0 when it never was.
	Attempts int
	// Err is the last attempt's error or the rejection.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s::%s", e.Service, e.Operation)
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " failed %d times", e.Attempts)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Rejected reports whether err means that a call was not made because the
// guard refused it.
func Rejected(err error) bool {
	return errors.Is(err, ErrQueueFull) || errors.Is(err, ErrQueueTimeout) || errors.Is(err, ErrClosed) ||
		errors.Is(err, ErrOpen) || errors.Is(err, ErrHalfOpenLimit)
}

// limitError is an attempt that its own timeout ended. It is an [ErrTimeout]
// and still whatever the call returned, usually context.DeadlineExceeded.
type limitError struct {
	limit time.Duration
	err   error
}

func (e *limitError) Error() string {
	return fmt.Sprintf("no answer within its timeout of %v: %v", e.limit, e.err)
}

func (e *limitError) Unwrap() []error { return []error{ErrTimeout, e.err} }

func timeoutError(limit time.Duration) error {
	return &limitError{limit: limit, err: context.DeadlineExceeded}
}

// Permanent marks err as the service's final answer: it is not tried again,
// and it speaks for the service's health, not against it. Nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err was marked by [Permanent].
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }
