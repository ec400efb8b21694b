package shell

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// NewGuard makes the guard of calls to a downstream service, set up from the
// file's entry of that name (or its defaults). Its breaker's changes of state
// are published as system.circuit_breaker_open and closed events.
func NewGuard(env Env, f *config.File, downstream string) *guard.Guard {
	if f == nil {
		f = config.Default()
	}
	opts := guard.FromFile(f, downstream)
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
