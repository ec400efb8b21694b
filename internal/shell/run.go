package shell

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// NewInstance makes a new instance id for a service.
func NewInstance(service string) string { return service + "-" + uuid.NewString()[:8] }

// NewEnv makes the Env of a service on a connection of its own.
func NewEnv(ctx context.Context, service, instance string, nc *nats.Conn, log *slog.Logger, metrics prometheus.Registerer, health *Health) (Env, error) {
	js, err := JetStream(ctx, nc)
	if err != nil {
		return Env{}, err
	}
	if instance == "" {
		instance = NewInstance(service)
	}
	return Env{
		Service: service, Instance: instance, NC: nc, JS: js,
		Log: log.With("service", service), Metrics: metrics, Health: health,
	}, nil
}

// Run runs a service until ctx ends or it fails, and publishes its
// system.started, stopping and stopped events around it. The connection is
// drained at the end.
func Run(ctx context.Context, env Env, service func(context.Context, Env) error) error {
	env.Health.Unready(env.Service)
	announced := make(chan struct{})
	running, cancel := context.WithCancel(ctx)
	go func() {
		defer close(announced)
		announce(running, env)
	}()
	err := service(ctx, env)
	cancel()
	<-announced
	env.Health.Unready(env.Service)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil
	}
	var problems []string
	if err != nil {
		problems = []string{contracts.Clip(err.Error(), 1024)}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if env.NC.IsConnected() {
		env.lifecycle(last, contracts.SystemStopped, problems...)
	}
	return errors.Join(err, closeConn(env.NC))
}

// announce publishes system.started once the service is ready, and
// system.stopping when it is told to end.
func announce(ctx context.Context, env Env) {
	for {
		ready, changed := env.Health.IsReady(env.Service)
		if ready {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
	env.Log.Info("serving")
	// A runner serves before there is a stream, and its beginning belongs there.
	if _, err := WaitStream(ctx, env, contracts.EventStream, contracts.ServiceEventStore); err == nil {
		env.lifecycle(ctx, contracts.SystemStarted)
	} else if ctx.Err() == nil {
		env.Log.Warn("event not stored", "type", string(contracts.SystemStarted), "error", err)
	}
	<-ctx.Done()
	env.Health.Unready(env.Service)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if env.NC.IsConnected() {
		env.lifecycle(last, contracts.SystemStopping)
	}
}

// closeConn drains a connection and waits for its end.
func closeConn(nc *nats.Conn) error {
	if !nc.IsConnected() {
		nc.Close()
		return nil
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	if err := nc.Drain(); err != nil {
		nc.Close()
		if errors.Is(err, nats.ErrConnectionClosed) {
			return nil
		}
		return err
	}
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		nc.Close()
	}
	return nil
}
