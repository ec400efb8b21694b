package eventstore

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// metrics are the service's own; what was rejected is counted where it is set
// aside.
type metrics struct {
	indexed    *prometheus.CounterVec
	duplicates prometheus.Counter
	rebuilds   prometheus.Counter
	reached    prometheus.Gauge
	last       prometheus.Gauge
	lag        prometheus.Gauge
	requests   *prometheus.HistogramVec
	replays    prometheus.Gauge
	replayed   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return shell.Counter(r, prometheus.CounterOpts{Name: "smith_eventstore_" + name, Help: help}).WithLabelValues()
	}
	gauge := func(name, help string) prometheus.Gauge {
		return shell.Gauge(r, prometheus.GaugeOpts{Name: "smith_eventstore_" + name, Help: help}).WithLabelValues()
	}
	return &metrics{
		indexed: shell.Counter(r, prometheus.CounterOpts{
			Name: "smith_eventstore_indexed_total", Help: "Events indexed since the process started, by family.",
		}, "family"),
		duplicates: counter("duplicates_total", "Events found stored more than once; only the first counts."),
		rebuilds:   counter("index_rebuilds_total", "How often the index was started afresh."),
		reached:    gauge("indexed_sequence", "The stream sequence that the index has reached."),
		last:       gauge("stored_sequence", "The last stream sequence, when it was last looked at."),
		lag:        gauge("index_lag_messages", "Stored messages that the index has not reached."),
		requests: shell.Histogram(r, prometheus.HistogramOpts{
			Name: "smith_eventstore_request_duration_seconds", Help: "Time to answer a request, by verb and outcome (ok or its code).",
			Buckets: prometheus.ExponentialBuckets(0.0005, 3, 10),
		}, "verb", "outcome"),
		replays:  gauge("replays", "Replays running."),
		replayed: counter("replayed_total", "Events sent by replays."),
	}
}

// Stored implements indexer.Observer.
func (m *metrics) Stored(t contracts.EventType) { m.indexed.WithLabelValues(t.Family()).Inc() }

// Duplicates implements indexer.Observer.
func (m *metrics) Duplicates(n int) { m.duplicates.Add(float64(n)) }

// Rebuilt implements indexer.Observer.
func (m *metrics) Rebuilt() { m.rebuilds.Inc() }

// At implements indexer.Observer.
func (m *metrics) At(reached, last uint64) {
	m.reached.Set(float64(reached))
	m.last.Set(float64(last))
	m.lag.Set(float64(last) - float64(min(reached, last)))
}

// Replaying implements replay.Observer.
func (m *metrics) Replaying(change int) { m.replays.Add(float64(change)) }

// Replayed implements replay.Observer.
func (m *metrics) Replayed() { m.replayed.Inc() }

func (m *metrics) request(verb, outcome string, took time.Duration) {
	m.requests.WithLabelValues(verb, outcome).Observe(took.Seconds())
}
