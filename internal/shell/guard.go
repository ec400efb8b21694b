package shell

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// NewGuard makes the guard of calls to a downstream service, set up from the
// file's entry of that name (or its defaults). Its breaker's changes of state
// are published as system.circuit_breaker_open and closed events. A call under
// way when the connection to NATS is lost ends then: its answer would never
// come, and that is no failure of the service.
func NewGuard(env Env, f *config.File, downstream string) *guard.Guard {
	return NewNamedGuard(env, f, downstream, downstream)
}

// NewNamedGuard is NewGuard for one of several that share the settings of a
// service, such as one for each runner.
func NewNamedGuard(env Env, f *config.File, settings, downstream string) *guard.Guard {
	if f == nil {
		f = config.Default()
	}
	opts := guard.FromFile(f, settings)
	if env.NC != nil {
		opts.Scope = func(ctx context.Context) (context.Context, context.CancelFunc) { return whileConnected(ctx, env.NC) }
	}
	if env.Metrics != nil {
		opts.Registerer = prometheus.WrapRegistererWith(prometheus.Labels{"caller": env.Service}, env.Metrics)
	}
	opts.OnTransition = func(t guard.Transition) {
		kind := contracts.SystemBreakerOpen
		switch t.To {
		case guard.Open:
		case guard.Closed:
			kind = contracts.SystemBreakerClosed
		default:
			return
		}
		env.Log.Warn("circuit breaker", "downstream", downstream, "from", string(t.From), "to", string(t.To), "reason", t.Reason)
		env.Emit(context.Background(), env.Event(kind, env.Service).Data(contracts.SystemBreakerData{
			Service: env.Service, Breaker: downstream, From: string(t.From), To: string(t.To), Reason: t.Reason,
		}))
	}
	return guard.New(downstream, opts)
}

var errConnectionLost = errors.New("not connected to NATS")

// whileConnected gives a context that ends when the connection is lost.
func whileConnected(ctx context.Context, nc *nats.Conn) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	lost := nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	if !nc.IsConnected() {
		end(errConnectionLost)
	}
	go func() {
		<-lost // or closed, when nobody waits any more
		end(errConnectionLost)
	}()
	return ctx, func() {
		end(context.Canceled)
		nc.RemoveStatusListener(lost)
	}
}
