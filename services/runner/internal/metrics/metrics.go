// Package metrics counts what a runner does.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Metrics implements fleet.Observer.
type Metrics struct {
	starts, stops, exits, adopted, retries *prometheus.CounterVec
	forwarded, notForwarded                *prometheus.CounterVec
	running, waiting                       *prometheus.GaugeVec
	startSeconds, stopSeconds              *prometheus.HistogramVec
	runner                                 string
}

// New registers a runner's metrics.
func New(r prometheus.Registerer, runner string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return shell.Counter(r, prometheus.CounterOpts{Name: "smith_runner_" + name, Help: help}, append([]string{"runner"}, labels...)...)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return shell.Gauge(r, prometheus.GaugeOpts{Name: "smith_runner_" + name, Help: help}, "runner")
	}
	seconds := func(name, help string) *prometheus.HistogramVec {
		return shell.Histogram(r, prometheus.HistogramOpts{
			Name: "smith_runner_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, "runner")
	}
	return &Metrics{
		runner:       runner,
		starts:       counter("starts_total", "Start commands by answer.", "code"),
		stops:        counter("stops_total", "Stop commands by answer.", "code"),
		exits:        counter("exits_total", "Ends of agents: failed, lost with the host, requested or completed.", "kind"),
		adopted:      counter("adopted_total", "Processes taken over from an earlier runner."),
		retries:      counter("event_retries_total", "Attempts to store an event that failed and are repeated."),
		forwarded:    counter("forwarded_lines_total", "Lines of output that were forwarded to the log of the host."),
		notForwarded: counter("not_forwarded_lines_total", "Lines of output that were not forwarded, because the log was read too slowly or not at all."),
		running:      gauge("agents", "Agents that run."),
		waiting:      gauge("outbox_agents", "Agents with events that are not stored yet."),
		startSeconds: seconds("start_seconds", "Time to carry out a start command."),
		stopSeconds:  seconds("stop_seconds", "Time from a stop command to the confirmed end."),
	}
}

// Start counts the answer to a start command.
func (m *Metrics) Start(code contracts.RunnerCode, took time.Duration) {
	m.starts.WithLabelValues(m.runner, string(code)).Inc()
	m.startSeconds.WithLabelValues(m.runner).Observe(took.Seconds())
}

// Stop counts the answer to a stop command.
func (m *Metrics) Stop(code contracts.RunnerCode, took time.Duration) {
	m.stops.WithLabelValues(m.runner, string(code)).Inc()
	m.stopSeconds.WithLabelValues(m.runner).Observe(took.Seconds())
}

// Exit counts an end.
func (m *Metrics) Exit(o contracts.Outcome) { m.exits.WithLabelValues(m.runner, string(o)).Inc() }

// Adopted counts a process taken over.
func (m *Metrics) Adopted() { m.adopted.WithLabelValues(m.runner).Inc() }

// Running sets how many agents run.
func (m *Metrics) Running(n int) { m.running.WithLabelValues(m.runner).Set(float64(n)) }

// Waiting sets how many agents have unpublished events.
func (m *Metrics) Waiting(n int) { m.waiting.WithLabelValues(m.runner).Set(float64(n)) }

// Retry counts an event that has to be published again.
func (m *Metrics) Retry() { m.retries.WithLabelValues(m.runner).Inc() }

// Forwarded counts lines of output that were forwarded.
func (m *Metrics) Forwarded(lines int) { m.forwarded.WithLabelValues(m.runner).Add(float64(lines)) }

// NotForwarded counts lines of output that were not.
func (m *Metrics) NotForwarded(lines int) {
	m.notForwarded.WithLabelValues(m.runner).Add(float64(lines))
}
