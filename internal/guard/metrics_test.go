package guard

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/internal/config"
)

func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"service": "router"}, reg)
		o := Options{
			Retry:      config.Retry{MaxAttempts: 2, Base: 1},
			Breaker:    config.CircuitBreaker{FailureThreshold: 4, SuccessThreshold: 1, Timeout: second, HalfOpenMaxCalls: 1},
			Bulkhead:   config.Bulkhead{MaxConcurrentCalls: 5},
			Registerer: wrapped,
		}
		a, b := New("a", o), New("b", o)
		if err := a.Run(t.Context(), "get", succeeds); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_ = a.Run(t.Context(), "get", fails)
		}
		func() {
			defer func() { _ = recover() }()
			_ = b.Run(t.Context(), "put", func(context.Context) error { panic("boom") })
		}()
		expect(t, reg, `
			# HELP smith_guard_breaker_state State of the breaker: 0 closed, 1 half-open, 2 open.
			# TYPE smith_guard_breaker_state gauge
			smith_guard_breaker_state{guard="a",service="router"} 2
			smith_guard_breaker_state{guard="b",service="router"} 0
			# HELP smith_guard_breaker_transitions_total State changes of the breaker.
			# TYPE smith_guard_breaker_transitions_total counter
			smith_guard_breaker_transitions_total{guard="a",service="router",to="open"} 1
			# HELP smith_guard_bulkhead_available Calls that could start now without waiting.
			# TYPE smith_guard_bulkhead_available gauge
			smith_guard_bulkhead_available{guard="a",service="router"} 5
			smith_guard_bulkhead_available{guard="b",service="router"} 5
			# HELP smith_guard_calls_total Guarded calls by outcome: ok, error, timeout, cancelled, aborted, open, half_open_limit, queue_full, queue_timeout, closed.
			# TYPE smith_guard_calls_total counter
			smith_guard_calls_total{guard="a",operation="get",outcome="error",service="router"} 2
			smith_guard_calls_total{guard="a",operation="get",outcome="ok",service="router"} 1
			smith_guard_calls_total{guard="a",operation="get",outcome="open",service="router"} 1
			smith_guard_calls_total{guard="b",operation="put",outcome="aborted",service="router"} 1
			# HELP smith_guard_retries_total Attempts after the first.
			# TYPE smith_guard_retries_total counter
			smith_guard_retries_total{guard="a",operation="get",service="router"} 2
		`)
		// The open state ends by time alone, seen without a call.
		time.Sleep(second)
		if n := testutil.CollectAndCount(a.metrics, "smith_guard_breaker_state"); n != 2 {
			t.Errorf("%d states", n)
		}
		if got := a.State(); got != HalfOpen {
			t.Errorf("state %s", got)
		}
		New("b", o)
		b.Forget() // which does nothing to the later one of its name
		if n := testutil.CollectAndCount(a.metrics, "smith_guard_bulkhead_available"); n != 2 {
			t.Errorf("%d guards", n)
		}
		a.Forget()
		expect(t, reg, `
			# HELP smith_guard_breaker_state State of the breaker: 0 closed, 1 half-open, 2 open.
			# TYPE smith_guard_breaker_state gauge
			smith_guard_breaker_state{guard="b",service="router"} 0
			# HELP smith_guard_bulkhead_available Calls that could start now without waiting.
			# TYPE smith_guard_bulkhead_available gauge
			smith_guard_bulkhead_available{guard="b",service="router"} 5
			# HELP smith_guard_calls_total Guarded calls by outcome: ok, error, timeout, cancelled, aborted, open, half_open_limit, queue_full, queue_timeout, closed.
			# TYPE smith_guard_calls_total counter
			smith_guard_calls_total{guard="b",operation="put",outcome="aborted",service="router"} 1
		`)
	})
}

func expect(t *testing.T, g prometheus.Gatherer, want string) {
	t.Helper()
	names := []string{
		"smith_guard_breaker_state", "smith_guard_breaker_transitions_total", "smith_guard_bulkhead_available",
		"smith_guard_calls_total", "smith_guard_retries_total",
	}
	if err := testutil.GatherAndCompare(g, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}
