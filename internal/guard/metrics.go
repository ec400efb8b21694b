package guard

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics holds the metrics of all guards of one registry. Calls are counted
// as they end; what has a present value is read when it is asked for, since a
// breaker leaves the open state by time alone.
type metrics struct {
	calls       *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	retries     *prometheus.CounterVec
	transitions *prometheus.Desc
	state       *prometheus.Desc
	available   *prometheus.Desc
	waiting     *prometheus.Desc

	mu     sync.Mutex
	guards map[string]*Guard
}

func newMetrics() *metrics {
	byCall := []string{"guard", "operation"}
	byGuard := []string{"guard"}
	return &metrics{
		guards: map[string]*Guard{},
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "smith_guard_calls_total",
			Help: "Guarded calls by outcome: ok, error, timeout, cancelled, aborted, open, half_open_limit, queue_full, queue_timeout, closed.",
		}, append(byCall, "outcome")),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "smith_guard_call_seconds",
			Help:    "Duration of guarded calls, waiting and retries included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, byCall),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "smith_guard_retries_total",
			Help: "Attempts after the first.",
		}, byCall),
		transitions: prometheus.NewDesc("smith_guard_breaker_transitions_total", "State changes of the breaker.", []string{"guard", "to"}, nil),
		state:       prometheus.NewDesc("smith_guard_breaker_state", "State of the breaker: 0 closed, 1 half-open, 2 open.", byGuard, nil),
		available:   prometheus.NewDesc("smith_guard_bulkhead_available", "Calls that could start now without waiting.", byGuard, nil),
		waiting:     prometheus.NewDesc("smith_guard_bulkhead_waiting", "Calls waiting for a free place.", byGuard, nil),
	}
}

// registerMetrics adds g to the metrics of its registry. Guards of one
// registry share them; of two with one name the later one's state shows.
func registerMetrics(reg prometheus.Registerer, g *Guard) *metrics {
	m := newMetrics()
	if reg != nil {
		if err := reg.Register(m); err != nil {
			var already prometheus.AlreadyRegisteredError
			if !errors.As(err, &already) {
				panic("guard " + g.name + ": cannot register metrics: " + err.Error())
			}
			m = already.ExistingCollector.(*metrics)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guards[g.name] = g
	return m
}

func (m *metrics) forget(g *Guard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.guards[g.name] != g {
		return // another has its name by now
	}
	delete(m.guards, g.name)
	name := prometheus.Labels{"guard": g.name}
	m.calls.DeletePartialMatch(name)
	m.seconds.DeletePartialMatch(name)
	m.retries.DeletePartialMatch(name)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.calls.Describe(ch)
	m.seconds.Describe(ch)
	m.retries.Describe(ch)
	for _, d := range []*prometheus.Desc{m.transitions, m.state, m.available, m.waiting} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.calls.Collect(ch)
	m.seconds.Collect(ch)
	m.retries.Collect(ch)
	m.mu.Lock()
	guards := slices.Collect(maps.Values(m.guards))
	m.mu.Unlock()
	for _, g := range guards {
		state := map[State]float64{Closed: 0, HalfOpen: 1, Open: 2}[g.State()]
		ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, state, g.name)
		for to, n := range g.breaker.totals() {
			ch <- prometheus.MustNewConstMetric(m.transitions, prometheus.CounterValue, float64(n), g.name, string(to))
		}
		ch <- prometheus.MustNewConstMetric(m.available, prometheus.GaugeValue, float64(g.Available()), g.name)
		ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(g.Waiting()), g.name)
	}
}

// call measures one guarded call.
type call struct {
	m         *metrics
	guard, op string
	started   time.Time
	outcome   string
}

func (m *metrics) begin(guard, op string) *call {
	// What remains when the call panics.
	return &call{m: m, guard: guard, op: op, started: time.Now(), outcome: "aborted"}
}

func (c *call) retried() { c.m.retries.WithLabelValues(c.guard, c.op).Inc() }

func (c *call) end() {
	c.m.calls.WithLabelValues(c.guard, c.op, c.outcome).Inc()
	c.m.seconds.WithLabelValues(c.guard, c.op).Observe(time.Since(c.started).Seconds())
}

// ending names the end of a call that was made.
func ending(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	case isContextError(err):
		return "cancelled"
	}
	return "error"
}

// rejection names why a call was not made.
func rejection(err error) string {
	for _, r := range []struct {
		err  error
		name string
	}{
		{ErrOpen, "open"},
		{ErrHalfOpenLimit, "half_open_limit"},
		{ErrQueueFull, "queue_full"},
		{ErrQueueTimeout, "queue_timeout"},
		{ErrClosed, "closed"},
	} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "cancelled"
}
