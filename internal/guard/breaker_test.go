package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/property"
)

func TestBreakerCycle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var told []Transition
		o := breakerOptions(config.CircuitBreaker{FailureThreshold: 3, SuccessThreshold: 2, Timeout: 30 * second, HalfOpenMaxCalls: 1})
		o.OnTransition = func(tr Transition) { told = append(told, tr) }
		g := New("svc", o)
		// A success in between: the failures must be in a row.
		for _, fn := range []func(context.Context) error{fails, fails, succeeds, fails, fails} {
			_ = g.Run(t.Context(), "op", fn)
		}
		wantState(t, g, Closed)
		_ = g.Run(t.Context(), "op", fails)
		wantState(t, g, Open)
		time.Sleep(30*second - 1)
		wantErr(t, g.Run(t.Context(), "op", succeeds), ErrOpen)
		time.Sleep(time.Nanosecond)
		wantState(t, g, HalfOpen)
		if err := g.Run(t.Context(), "op", succeeds); err != nil {
			t.Fatal(err)
		}
		wantErr(t, g.Run(t.Context(), "op", fails), errDown) // one failure opens it again
		wantState(t, g, Open)
		time.Sleep(30 * second)
		for range 2 { // one in flight at a time, two to close
			wantState(t, g, HalfOpen)
			if err := g.Run(t.Context(), "op", succeeds); err != nil {
				t.Fatal(err)
			}
		}
		wantState(t, g, Closed)

		var got []string
		for _, tr := range g.Transitions() {
			got = append(got, fmt.Sprintf("%s: %s -> %s: %s", tr.Guard, tr.From, tr.To, tr.Reason))
		}
		want := []string{
			"svc: closed -> open: 3 failures in a row, the last: down",
			"svc: open -> half_open: open for 30s",
			"svc: half_open -> open: a trial call failed: down",
			"svc: open -> half_open: open for 30s",
			"svc: half_open -> closed: 2 successes in a row",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(g.Transitions(), told); diff != "" {
			t.Errorf("told otherwise: %s", diff)
		}
	})
}

// The limit is on calls in flight: a second one is told apart, and let in when
// the first is back.
func TestHalfOpenLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 3, Timeout: second, HalfOpenMaxCalls: 2}))
		trip(t, g)
		time.Sleep(second)
		first, second := hanging(t, g), hanging(t, g)
		err := g.Run(t.Context(), "op", succeeds)
		wantErr(t, err, ErrHalfOpenLimit)
		if errors.Is(err, ErrOpen) {
			t.Error("not told apart from open")
		}
		if err := first(nil); err != nil {
			t.Fatal(err)
		}
		third := hanging(t, g)
		for _, end := range []func(error) error{second, third} {
			wantState(t, g, HalfOpen)
			if err := end(nil); err != nil {
				t.Fatal(err)
			}
		}
		wantState(t, g, Closed)
	})
}

// Whoever is told of a transition may call through the guard, and slowly.
func TestOnTransitionMayUseTheGuard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var seen []string
		var g *Guard
		o := breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1})
		o.OnTransition = func(tr Transition) {
			time.Sleep(10 * second)
			err := g.Run(context.Background(), "publish", succeeds)
			seen = append(seen, fmt.Sprint(tr.To, " ", err == nil))
		}
		g = New("svc", o)
		trip(t, g)
		time.Sleep(time.Minute)
		synctest.Wait()
		// Ten seconds after opening, the publishing call itself was the trial
		// that closed the breaker.
		if diff := cmp.Diff([]string{"open true", "half_open true", "closed true"}, seen); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTransitionsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		block := make(chan struct{})
		told := 0
		o := breakerOptions(config.CircuitBreaker{FailureThreshold: 1, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1})
		o.OnTransition = func(Transition) { <-block; told++ }
		g := New("svc", o)
		for range 500 {
			_ = g.Run(t.Context(), "op", fails)
			time.Sleep(second)
		}
		past := g.Transitions()
		if len(past) != MaxTransitions || past[len(past)-1].To != Open {
			t.Errorf("%d remembered, the last %+v", len(past), past[len(past)-1])
		}
		for i := 1; i < len(past); i++ {
			if past[i].From != past[i-1].To || past[i].At.Before(past[i-1].At) {
				t.Fatalf("%+v after %+v", past[i], past[i-1])
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), second)
		defer cancel()
		if err := g.Close(ctx); err == nil || !strings.Contains(err.Error(), "delivered") {
			t.Errorf("closed although transitions wait: %v", err)
		}
		close(block)
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told != MaxTransitions+1 { // those waiting, and the one that blocked
			t.Errorf("told of %d", told)
		}
	})
}

// table is the requirement, written down plainly: closed, open, half-open, by
// consecutive failures, the time, and calls in flight.
type table struct {
	opts     config.CircuitBreaker
	state    State
	round    int // grows with each state change; older calls say nothing
	failures int
	passed   int // successes of this half-open period
	let      int // calls let into it, less those that counted neither way
	inFlight int // trial calls, of whatever period
	opened   time.Time
}

type tableCall struct {
	round int
	probe bool
}

func (m *table) enter(s State, now time.Time) {
	m.state, m.failures, m.passed, m.let = s, 0, 0, 0
	m.round++
	if s == Open {
		m.opened = now
	}
}

func (m *table) tick(now time.Time) {
	if m.state == Open && !now.Before(m.opened.Add(m.opts.Timeout)) {
		m.enter(HalfOpen, now)
	}
}

func (m *table) admit(now time.Time) (tableCall, error) {
	m.tick(now)
	switch m.state {
	case Open:
		return tableCall{}, ErrOpen
	case HalfOpen:
		if m.inFlight >= m.opts.HalfOpenMaxCalls || m.let >= m.opts.SuccessThreshold {
			return tableCall{}, ErrHalfOpenLimit
		}
		m.inFlight++
		m.let++
		return tableCall{m.round, true}, nil
	}
	return tableCall{round: m.round}, nil
}

func (m *table) done(c tableCall, v verdict, now time.Time) {
	m.tick(now)
	if c.probe {
		m.inFlight--
	}
	switch {
	case c.round != m.round:
	case v == neither && m.state == HalfOpen:
		m.let--
	case v == neither:
	case m.state == Closed && v == success:
		m.failures = 0
	case m.state == Closed:
		if m.failures++; m.failures >= m.opts.FailureThreshold {
			m.enter(Open, now)
		}
	case v == success:
		if m.passed++; m.passed >= m.opts.SuccessThreshold {
			m.enter(Closed, now)
		}
	default:
		m.enter(Open, now)
	}
}

// undated hides a test's deadline, which is no virtual time.
type undated struct{ testing.TB }

// Through any run of calls, ends and waits the breaker does what the table
// says, never has more trial calls in flight than allowed, and with none in
// flight always lets one in once its timeout has passed.
func TestBreakerAgainstTable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		property.Check(undated{t}, func(t *rapid.T) {
			opts := config.CircuitBreaker{
				FailureThreshold: rapid.IntRange(1, 4).Draw(t, "failure_threshold"),
				SuccessThreshold: rapid.IntRange(1, 4).Draw(t, "success_threshold"),
				HalfOpenMaxCalls: rapid.IntRange(1, 4).Draw(t, "half_open_max_calls"),
				Timeout:          10 * second,
			}
			b := newBreaker("svc", opts, nil)
			m := &table{opts: opts, state: Closed}
			type call struct {
				real  *pass
				model tableCall
			}
			var calls []call
			finish := func(v verdict) {
				i := rapid.IntRange(0, len(calls)-1).Draw(t, "which")
				calls[i].real.done(v, errDown)
				calls[i].real.done(failure, errDown) // only the first counts
				m.done(calls[i].model, v, time.Now())
				calls = append(calls[:i], calls[i+1:]...)
			}
			for range rapid.IntRange(1, 80).Draw(t, "steps") {
				switch op := rapid.SampledFrom([]string{"call", "call", "success", "success", "failure", "neither", "wait"}).Draw(t, "op"); {
				case op == "wait":
					time.Sleep(time.Duration(rapid.IntRange(1, 12).Draw(t, "seconds")) * second)
				case op == "call":
					real, err := b.admit()
					model, want := m.admit(time.Now())
					if !errors.Is(err, want) || (err == nil) != (want == nil) {
						t.Fatalf("admission: %v, not %v", err, want)
					}
					if err == nil {
						calls = append(calls, call{real, model})
					}
				case len(calls) == 0:
				case op == "success":
					finish(success)
				case op == "failure":
					finish(failure)
				default:
					finish(neither)
				}
				m.tick(time.Now())
				if got := b.current(); got != m.state {
					t.Fatalf("%s, not %s", got, m.state)
				}
				if b.probes > opts.HalfOpenMaxCalls || b.probes != m.inFlight {
					t.Fatalf("%d trial calls in flight, %d by the table, %d allowed", b.probes, m.inFlight, opts.HalfOpenMaxCalls)
				}
			}
			for len(calls) > 0 {
				finish(neither)
			}
			time.Sleep(opts.Timeout)
			if _, err := b.admit(); err != nil {
				t.Fatalf("wedged: %v", err)
			}
		})
	})
}
