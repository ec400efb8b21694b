// Package shell is what every MisterSmith process needs around its core:
// logging, a NATS connection, health, metrics, API endpoints, reports of bad
// messages, and a shutdown in phases.
//
// A service is a function Run(ctx, Env, Config) error. It uses what Env holds,
// calls Env.Ready once it serves, and when ctx ends shuts down and returns.
// There is no registry and nothing is started behind its back.
package shell

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Version is reported by every service; it follows semantic versioning, as the
// micro framework requires.
const Version = "0.1.0"

// Env is what a service works with. Every service has its own.
type Env struct {
	// Service is its kind, such as "detector".
	Service string
	// Instance tells apart two processes of one service; it is an id.
	Instance string
	Log      *slog.Logger
	NC       *nats.Conn
	JS       jetstream.JetStream
	Metrics  prometheus.Registerer
	Health   *Health
	// Hangups sends something for SIGHUP, where the service is a program that
	// [Program.Rereads].
	Hangups <-chan struct{}
}

// Source is what the service's events name as their source.
func (e Env) Source() string { return e.Service + "/" + e.Instance }

// Ready says that the service serves. It may be called more than once. What the
// service has subscribed to is known to the server by then, so that whoever
// hears of it is answered.
func (e Env) Ready() {
	if e.NC != nil {
		if err := e.NC.FlushTimeout(flushTimeout); err != nil {
			e.Log.Warn("subscriptions may not be known to the server yet", "error", err)
		}
	}
	e.Health.Ready(e.Service)
}

const flushTimeout = 5 * time.Second

// Event begins an event of this service.
func (e Env) Event(t contracts.EventType, entity string) *contracts.EventBuilder {
	return contracts.NewEvent(e.Source(), t, entity, time.Now())
}

// Emit builds and publishes an event, and logs when that fails: for events
// that report something and need no further care.
func (e Env) Emit(ctx context.Context, b *contracts.EventBuilder) {
	ev, err := b.Build()
	if err == nil {
		_, err = PublishEvent(ctx, e.JS, ev)
	}
	if err != nil {
		e.Log.Warn("event not stored", "type", string(ev.Type), "entity", ev.Entity, "error", err)
	}
}

// lifecycle publishes system.started, stopping or stopped.
func (e Env) lifecycle(ctx context.Context, t contracts.EventType, problems ...string) {
	e.Emit(ctx, e.Event(t, e.Service).Data(contracts.SystemLifecycleData{
		Service: e.Service, Instance: e.Instance, Version: Version,
		Host: hostname(), PID: pid(), Problems: problems,
	}))
}
