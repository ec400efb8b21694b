package shell

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Register registers a collector, or gives the one already registered under
// the same name and labels, so that a service can be run twice in one process.
func Register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	return c
}

// Counter, Gauge and Histogram register a metric.
func Counter(r prometheus.Registerer, o prometheus.CounterOpts, labels ...string) *prometheus.CounterVec {
	return Register(r, prometheus.NewCounterVec(o, labels))
}

func Gauge(r prometheus.Registerer, o prometheus.GaugeOpts, labels ...string) *prometheus.GaugeVec {
	return Register(r, prometheus.NewGaugeVec(o, labels))
}

func Histogram(r prometheus.Registerer, o prometheus.HistogramOpts, labels ...string) *prometheus.HistogramVec {
	return Register(r, prometheus.NewHistogramVec(o, labels))
}
