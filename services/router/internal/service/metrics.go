package service

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

type metrics struct {
	submitted, assignments, reassignments, completions, deadLettered, dispatches, dropped *prometheus.CounterVec

	queued, assignedNow, agents        *prometheus.GaugeVec
	duration, appendTime, dispatchTime *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return shell.Counter(reg, prometheus.CounterOpts{Name: "smith_router_" + name, Help: help}, labels...)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return shell.Gauge(reg, prometheus.GaugeOpts{Name: "smith_router_" + name, Help: help}, labels...)
	}
	histogram := func(name, help string, first float64, n int, labels ...string) *prometheus.HistogramVec {
		return shell.Histogram(reg, prometheus.HistogramOpts{
			Name: "smith_router_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2, n),
		}, labels...)
	}
	return &metrics{
		submitted:     counter("tasks_submitted_total", "Tasks submitted through the API.", "type"),
		assignments:   counter("tasks_assigned_total", "Assignments of tasks to agents.", "type"),
		reassignments: counter("tasks_reassigned_total", "Tasks taken from one agent and given to another.", "reason"),
		completions:   counter("tasks_completed_total", "Tasks completed.", "type"),
		deadLettered:  counter("tasks_dead_lettered_total", "Tasks set aside.", "type"),
		dispatches:    counter("dispatches_total", "Dispatches by their outcome.", "outcome"),
		dropped:       counter("dropped_total", "Inputs dropped, by what they were.", "what"),
		queued:        gauge("tasks_queued", "Tasks that nobody works on.", "type"),
		assignedNow:   gauge("tasks_in_flight", "Tasks that agents work on.", "type"),
		agents:        gauge("agents", "Agents known, and available for work.", "state"),
		duration:      histogram("task_duration_seconds", "From assignment to result.", 0.01, 16, "type"),
		appendTime:    histogram("append_seconds", "Time to store an assignment.", 0.0005, 14),
		dispatchTime:  histogram("dispatch_seconds", "Time for an agent's answer to a dispatch.", 0.0005, 14),
	}
}

func (m *metrics) assigned(e scheduler.Assign, took time.Duration) {
	m.assignments.WithLabelValues(e.Type).Inc()
	if e.Number > 1 {
		m.reassignments.WithLabelValues(string(e.Reason)).Inc()
	}
	m.appendTime.WithLabelValues().Observe(took.Seconds())
}

func (m *metrics) completed(e scheduler.Complete) {
	m.completions.WithLabelValues(e.Type).Inc()
	m.duration.WithLabelValues(e.Type).Observe(e.Took.Seconds())
}

func (m *metrics) dispatched(outcome string, took time.Duration) {
	m.dispatches.WithLabelValues(outcome).Inc()
	m.dispatchTime.WithLabelValues().Observe(took.Seconds())
}
