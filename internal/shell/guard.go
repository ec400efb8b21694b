package shell

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

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
	opts := forStore(guard.FromFile(f, settings), f, settings)
	opts.Timeouts = timeoutsAs(opts.Timeouts, settings, downstream)
	if env.NC != nil {
		opts.Scope = (&connection{nc: env.NC}).scope
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

// What JetStream keeps is replaced by itself when a server is killed, in some
// seconds, and what was asked of that server is never answered, though the
// connection to another one stays. So stores are neither waited for nor left alone
// for as long as other services, unless the configuration names them.
const (
	storeTimeout  = 5 * time.Second
	storePatience = 2 * time.Second
)

// forStore gives the options of a store's guard.
func forStore(o guard.Options, f *config.File, name string) guard.Options {
	switch name {
	case contracts.ServiceEventStore, "event_stream", "event_log", "task_queue", "state_store":
	default:
		return o
	}
	if _, named := f.CircuitBreakers[name]; !named {
		o.Breaker.Timeout = min(o.Breaker.Timeout, storePatience)
	}
	if _, named := o.Timeouts.Services[name]; !named && o.Timeouts.Global > storeTimeout {
		services := map[string]time.Duration{name: storeTimeout}
		maps.Copy(services, o.Timeouts.Services)
		o.Timeouts.Services = services
	}
	return o
}

// timeoutsAs gives timeouts in which those of the service settings are those of
// downstream, too, where it has none of its own.
func timeoutsAs(t config.Timeouts, settings, downstream string) config.Timeouts {
	t.Services = withEntryOf(t.Services, settings, downstream)
	t.Operations = withEntryOf(t.Operations, settings, downstream)
	return t
}

// withEntryOf gives m with the entry of one name for another that has none.
func withEntryOf[V any](m map[string]V, name, other string) map[string]V {
	v, has := m[name]
	if _, own := m[other]; own || !has {
		return m
	}
	m = maps.Clone(m)
	m[other] = v
	return m
}

var errConnectionLost = errors.New("not connected to NATS")

// connection ends the calls under way when it is lost. They share one listener,
// which a call is too short to pay for.
type connection struct {
	nc *nats.Conn
	mu sync.Mutex
	// up ends when the connection is lost that there is now.
	up context.Context
}

// scope gives a context that ends when the connection is lost.
func (c *connection) scope(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	up := c.current()
	if up.Err() != nil {
		end(errConnectionLost)
	}
	stop := context.AfterFunc(up, func() { end(errConnectionLost) })
	return ctx, func() {
		stop()
		end(context.Canceled)
	}
}

func (c *connection) current() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil && c.up.Err() == nil {
		return c.up
	}
	up, lose := context.WithCancel(context.Background())
	lost := c.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	if !c.nc.IsConnected() {
		c.nc.RemoveStatusListener(lost)
		lose()
		return up
	}
	go func() {
		<-lost
		lose()
		c.nc.RemoveStatusListener(lost)
	}()
	c.up = up
	return up
}
