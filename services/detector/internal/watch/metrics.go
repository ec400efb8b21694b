package watch

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

type metrics struct {
	heartbeats, dropped, skipped, retries         prometheus.Counter
	verdicts, probes, doubts, malformed, mistakes *prometheus.CounterVec
	detection                                     *prometheus.HistogramVec
	mistakeDuration                               prometheus.Observer
	agents, reporting, ignored                    *prometheus.GaugeVec
	waiting, suspended, held, late, peers         prometheus.Gauge
	findings                                      *prometheus.CounterVec
	withdrawn, connectionsLost, conflicts         prometheus.Counter
}

// evidenceExit is the evidence of failures that a runner saw.
const evidenceExit = "exit"

func newMetrics(r prometheus.Registerer) *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return shell.Counter(r, prometheus.CounterOpts{Name: "smith_detector_" + name, Help: help}, labels...)
	}
	counter := func(name, help string) prometheus.Counter { return counters(name, help).WithLabelValues() }
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return shell.Gauge(r, prometheus.GaugeOpts{Name: "smith_detector_" + name, Help: help}, labels...)
	}
	seconds := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return shell.Histogram(r, prometheus.HistogramOpts{
			Name: "smith_detector_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.05, 2, 14),
		}, labels...)
	}
	return &metrics{
		heartbeats:      counter("heartbeats_total", "Heartbeats understood."),
		dropped:         counter("heartbeats_dropped_total", "Heartbeats lost because they came faster than they could be read."),
		skipped:         counter("events_skipped_total", "Changes of band not published because too many events waited."),
		retries:         counter("publish_retries_total", "Attempts to store an event that failed."),
		mistakes:        counters("mistakes_total", "Verdicts taken back because the agent beat again, by the evidence for them.", "evidence"),
		verdicts:        counters("verdicts_total", "Agents declared failed, by reason.", "reason"),
		probes:          counters("probes_total", "Pings, by answer.", "answer"),
		doubts:          counters("doubts_total", "Times the detector doubted itself, by what it found: stall, reconnect, drops, lag or canary.", "check"),
		malformed:       counters("malformed_total", "Messages not understood, by kind.", "kind"),
		detection:       seconds("detection_seconds", "Time until a failure was found, by evidence: from the last sign of life, or of an exit from the exit.", "evidence"),
		mistakeDuration: seconds("mistake_duration_seconds", "How long verdicts stood that were taken back.").WithLabelValues(),
		agents:          gauges("agents", "Agents known, by health.", "health"),
		reporting:       gauges("agents_reporting", "Agents known, by the status that they report of themselves: running, busy, degraded, stuck, stopping or stopped.", "status"),
		ignored:         gauges("heartbeats_ignored", "Heartbeats without effect since the start, by cause: stale, refused or evicted.", "cause"),
		waiting:         gauges("events_waiting", "Events waiting to be stored.").WithLabelValues(),
		suspended:       gauges("suspended", "1 while verdicts are suspended.").WithLabelValues(),
		held:            gauges("verdicts_held", "Verdicts held because many fell silent together.").WithLabelValues(),
		late:            gauges("canary_seconds", "How long the last heartbeat of the detector itself took to the server and back.").WithLabelValues(),
		peers:           gauges("replicas", "Detectors of the same fleet that are heard, this one included.").WithLabelValues(),
		findings:        counters("correlated_silences_total", "Findings that many fell silent together, by what they share.", "kind"),
		withdrawn:       counter("verdicts_withdrawn_total", "Verdicts held that were never told: the agent was heard again, or its end was proven."),
		connectionsLost: counter("connections_lost_total", "Connections on which agents beat that were closed, as far as the server tells."),
		conflicts:       counter("conflicts_total", "Agents under whose name two processes were found to beat."),
	}
}

// observe brings the gauges up to date.
func (w *Watcher) observe() {
	w.mu.Lock()
	stats, suspended := w.fleet.Stats(), w.fleet.Suspended()
	for band, name := range health {
		w.metrics.agents.WithLabelValues(string(name)).Set(float64(w.fleet.Count(band)))
	}
	for _, status := range contracts.AgentStatuses() {
		w.metrics.reporting.WithLabelValues(string(status)).Set(float64(w.fleet.Reporting(fleet.Status(status))))
	}
	held, peers := w.crowd.Waiting(), w.peers.count(w.now())
	w.tidyWords()
	w.mu.Unlock()
	_, late := w.canary.works()
	w.metrics.late.Set(late.Seconds())
	w.metrics.held.Set(float64(held))
	w.metrics.peers.Set(float64(peers))
	w.metrics.ignored.WithLabelValues("stale").Set(float64(stats.Stale))
	w.metrics.ignored.WithLabelValues("refused").Set(float64(stats.Refused))
	w.metrics.ignored.WithLabelValues("evicted").Set(float64(stats.Evicted))
	w.metrics.waiting.Set(float64(w.outbox.waiting()))
	w.metrics.suspended.Set(map[bool]float64{true: 1}[suspended])
}
