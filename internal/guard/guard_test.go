package guard

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

func TestDoGivesTheResult(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", Options{})
		got, err := Do(t.Context(), g, "op", func(context.Context) (int, error) { return 42, nil })
		if got != 42 || err != nil {
			t.Fatalf("got %d, %v", got, err)
		}
	})
}

func TestErrorSaysWhatFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("store", Options{Retry: config.Retry{MaxAttempts: 2, Base: 1}})
		err := g.Run(t.Context(), "query", fails)
		var e *Error
		if !errors.As(err, &e) || e.Service != "store" || e.Operation != "query" || e.Attempts != 2 {
			t.Fatalf("got %#v", err)
		}
		if got := err.Error(); got != "store::query failed 2 times: down" {
			t.Fatalf("got %q", got)
		}
	})
}

func TestNearestTimeoutWins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", Options{Retry: once, Timeouts: config.Timeouts{
			Global:     8 * second,
			Services:   map[string]time.Duration{"svc": 4 * second, "query": second},
			Operations: map[string]map[string]time.Duration{"svc": {"query": 2 * second}},
		}})
		other := New("other", Options{Retry: once, Timeouts: g.opts.Timeouts})
		for _, c := range []struct {
			g    *Guard
			op   string
			want time.Duration
		}{{g, "query", 2 * second}, {g, "else", 4 * second}, {other, "query", 8 * second}} {
			started := time.Now()
			err := c.g.Run(t.Context(), c.op, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			wantErr(t, err, ErrTimeout)
			wantErr(t, err, context.DeadlineExceeded)
			if took := time.Since(started); took != c.want {
				t.Errorf("%s::%s took %v, not %v", c.g.Name(), c.op, took, c.want)
			}
			if !strings.Contains(err.Error(), "no answer within its timeout of "+c.want.String()) {
				t.Errorf("unclear: %v", err)
			}
		}
	})
}

// The caller's own deadline is not the service's failure.
func TestCallersEndCountsNeitherWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1}))
		ctx, cancel := context.WithTimeout(t.Context(), second)
		defer cancel()
		err := g.Run(ctx, "op", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		wantErr(t, err, context.DeadlineExceeded)
		if errors.Is(err, ErrTimeout) {
			t.Errorf("the caller's deadline is taken for the call's: %v", err)
		}
		wantState(t, g, Closed)
		wantErr(t, g.Run(ctx, "op", fails), context.DeadlineExceeded) // not even tried
		wantState(t, g, Closed)
	})
}

// What the scope cuts off is tried again and counts neither way; what it
// forbids from the start is not even called.
func TestScope(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lost := errors.New("connection lost")
		begin, calls := time.Now(), 0
		opts := breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1})
		opts.Retry = config.Retry{MaxAttempts: 3, InitialDelay: second, MaxDelay: second, Base: 1}
		opts.Scope = func(ctx context.Context) (context.Context, context.CancelFunc) {
			scoped, end := context.WithCancelCause(ctx)
			cut := time.AfterFunc(time.Until(begin.Add(1500*time.Millisecond)), func() { end(lost) })
			if time.Since(begin) > 1500*time.Millisecond {
				end(lost)
			}
			return scoped, func() { cut.Stop(); end(nil) }
		}
		g := New("svc", opts)
		err := g.Run(t.Context(), "op", func(ctx context.Context) error {
			if calls++; calls == 1 {
				return ErrInterrupted // after which there is another attempt, at 1 s
			}
			<-ctx.Done() // at 1.5 s
			return ctx.Err()
		})
		wantErr(t, err, ErrInterrupted)
		wantErr(t, err, lost)
		if errors.Is(err, ErrTimeout) || calls != 2 || time.Since(begin) != 2500*time.Millisecond {
			t.Errorf("%d calls within %v: %v", calls, time.Since(begin), err)
		}
		wantState(t, g, Closed)
	})
}

func TestRetryDelays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", Options{Retry: config.Retry{MaxAttempts: 5, InitialDelay: second, MaxDelay: 3 * second, Base: 2}})
		started := time.Now()
		var at []time.Duration
		err := g.Run(t.Context(), "op", func(context.Context) error {
			at = append(at, time.Since(started))
			return errDown
		})
		wantErr(t, err, errDown)
		want := []time.Duration{0, 1 * second, 3 * second, 6 * second, 9 * second}
		for i := range want {
			if len(at) != len(want) || at[i] != want[i] {
				t.Fatalf("attempts at %v, not %v", at, want)
			}
		}
	})
}

func TestRetryEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		count := 0
		attempts := func(g *Guard, ctx context.Context, fn func() error) (int, error) {
			count = 0
			err := g.Run(ctx, "op", func(context.Context) error { count++; return fn() })
			return count, err
		}
		retry := config.Retry{MaxAttempts: 4, InitialDelay: second, MaxDelay: second, Base: 1}
		g := New("svc", Options{Retry: retry, Transient: func(err error) bool { return err.Error() == "in passing" }})

		if n, err := attempts(g, t.Context(), func() error {
			if count < 3 {
				return errors.New("in passing")
			}
			return nil
		}); n != 3 || err != nil {
			t.Errorf("a passing error: %d attempts, %v", n, err)
		}
		if n, err := attempts(g, t.Context(), func() error { return errDown }); n != 1 || !errors.Is(err, errDown) {
			t.Errorf("an error that is not transient: %d attempts, %v", n, err)
		}
		plain := New("svc", Options{Retry: retry})
		if n, err := attempts(plain, t.Context(), func() error { return Permanent(errDown) }); n != 1 || !errors.Is(err, errDown) || !IsPermanent(err) {
			t.Errorf("a permanent error: %d attempts, %v", n, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		n, err := attempts(plain, ctx, func() error { return errDown })
		if n != 2 || !errors.Is(err, errDown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's end in a wait: %d attempts, %v", n, err)
		}
	})
}

// While the breaker is open, nothing is called and nothing retried.
func TestOpenIsNotRetried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", Options{
			Retry:   config.Retry{MaxAttempts: 10, InitialDelay: time.Millisecond, MaxDelay: time.Millisecond, Base: 1},
			Breaker: config.CircuitBreaker{FailureThreshold: 3, SuccessThreshold: 1, Timeout: time.Minute, HalfOpenMaxCalls: 1},
		})
		calls := 0
		fn := func(context.Context) error { calls++; return errDown }
		var e *Error
		err := g.Run(t.Context(), "op", fn)
		wantErr(t, err, ErrOpen)
		if !errors.As(err, &e) || e.Attempts != 3 || calls != 3 {
			t.Errorf("%d calls; %v", calls, err)
		}
		err = g.Run(t.Context(), "op", fn)
		wantErr(t, err, ErrOpen)
		if !errors.As(err, &e) || e.Attempts != 0 || calls != 3 || !Rejected(err) {
			t.Errorf("%d calls; %v", calls, err)
		}
	})
}

func TestAnswersDoNotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1}
		g := New("svc", breakerOptions(c))
		wantErr(t, g.Run(t.Context(), "op", func(context.Context) error { return Permanent(errDown) }), errDown)
		wantState(t, g, Closed)

		o := breakerOptions(c)
		o.Counts = func(err error) bool { return !errors.Is(err, errDown) }
		g = New("svc", o)
		wantErr(t, g.Run(t.Context(), "op", fails), errDown)
		wantState(t, g, Closed)
		_ = g.Run(t.Context(), "op", func(context.Context) error { return errors.New("other") })
		wantState(t, g, Open)
	})
}

// A panic passes through, counts as failure whatever the classifier says, and
// frees its place.
func TestPanicCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1})
		o.Counts = func(error) bool { return false }
		g := New("svc", o)
		panicking := func() (got any) {
			defer func() { got = recover() }()
			_ = g.Run(t.Context(), "op", func(context.Context) error { panic("boom") })
			return nil
		}
		if got := panicking(); got != "boom" {
			t.Fatalf("recovered %v", got)
		}
		wantState(t, g, Open)
		if g.Available() != g.opts.Bulkhead.MaxConcurrentCalls {
			t.Errorf("%d places are free", g.Available())
		}
		time.Sleep(second)
		if got := panicking(); got != "boom" {
			t.Fatalf("recovered %v", got)
		}
		wantState(t, g, Open)
	})
}

// A call that leaves its goroutine in half-open neither closes the breaker nor
// holds its place.
func TestGoexitDoesNotWedge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1}))
		trip(t, g)
		for range 3 {
			time.Sleep(second)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = g.Run(context.Background(), "op", func(context.Context) error { runtime.Goexit(); return nil })
			}()
			<-done
			wantState(t, g, Open)
		}
		time.Sleep(second)
		if err := g.Run(t.Context(), "op", succeeds); err != nil {
			t.Fatal(err)
		}
		wantState(t, g, Closed)
	})
}

// A trial call that ignores its context has failed when its time is up.
func TestDeafTrialCallDoesNotWedge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: 10 * second, HalfOpenMaxCalls: 1})
		o.Timeouts.Global = 5 * second
		g := New("svc", o)
		trip(t, g)
		time.Sleep(10 * second)
		end := hanging(t, g)
		wantErr(t, g.Run(t.Context(), "op", succeeds), ErrHalfOpenLimit)
		time.Sleep(5 * second)
		synctest.Wait()
		wantState(t, g, Open)
		time.Sleep(10 * second)
		if err := g.Run(t.Context(), "op", succeeds); err != nil {
			t.Fatal(err)
		}
		wantState(t, g, Closed)
		if err := end(nil); err != nil { // the late answer is still the caller's
			t.Fatal(err)
		}
		wantState(t, g, Closed)
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := (Options{}).Validate(); err != nil {
		t.Fatal(err)
	}
	bad := Options{
		Bulkhead: config.Bulkhead{MaxConcurrentCalls: -1, MaxWaitDuration: -1, MaxWaiting: -1},
		Retry:    config.Retry{InitialDelay: 2, MaxDelay: 1, Jitter: 2},
		Breaker:  config.CircuitBreaker{FailureThreshold: -1},
		Timeouts: config.Timeouts{Global: -1, Services: map[string]time.Duration{"a": 0}},
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("taken")
	}
	if n := len(strings.Split(err.Error(), "\n")); n != 13 {
		t.Errorf("%d problems:\n%v", n, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("New took invalid options")
		}
	}()
	New("svc", bad)
}

// The requirement's file makes valid options for any name.
func TestFromFile(t *testing.T) {
	t.Parallel()
	f, err := config.Load("../config/testdata/good/requirements.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o := FromFile(f, "external_api")
	if o.Breaker.HalfOpenMaxCalls != 1 || o.Bulkhead.MaxConcurrentCalls != 50 || o.Timeouts.For("database_service", "query") != 2*second {
		t.Errorf("got %+v", o)
	}
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}
