// Package router is the service that gives tasks to agents that can do them.
//
// Tasks enter on smith.task.<type> and wait in the durable queue until an
// agent that can do them has room. Every assignment is stored in the event log
// before the agent is asked; a task whose agent fails is given to another; a
// task that keeps failing ends on smith.dead.task.<type> with its history.
//
// A task is done at least once, and its first valid result ends it. It runs
// twice only when an agent that was declared failed, or did not answer in time,
// was alive after all and had the task; or when an agent forgets which attempts
// it has accepted, because after a restart the router asks again about those it
// does not know the answer to, with the same attempt number.
//
// Routers may be many; one leads. When it ends in order its successor goes on
// at once; when it is killed, the tasks that agents work on are not disturbed,
// and those it held for nobody yet wait for AckWait.
package router

import (
	"context"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
	"github.com/mistersmith/mistersmith/services/router/internal/service"
)

// Config of the router; the zero value is useful. See FromFile.
type Config = service.Config

// Run routes tasks until ctx ends, then keeps its state for its successor and
// returns. It calls env.Ready once it serves, or stands by because another
// router leads.
func Run(ctx context.Context, env shell.Env, cfg Config) error { return service.Run(ctx, env, cfg) }

// FromFile takes the router's settings from a configuration file.
func FromFile(f *config.File) Config {
	routes := make(map[string]scheduler.Route, len(f.Routing.Types))
	for taskType, r := range f.Routing.Types {
		routes[taskType] = scheduler.Route{Types: r.AgentTypes, Capabilities: r.Capabilities}
	}
	return Config{
		Scheduling: scheduler.Config{
			Routes:       routes,
			DefaultAgent: f.Routing.DefaultAgent,
			MaxAttempts:  f.Routing.MaxAttempts,
			MaxQueueAge:  f.Routing.MaxQueueAge,
			MaxAgents:    f.Limits.MaxAgents,
		},
		Streams:      contracts.StreamOptions{Replicas: f.EventStore.Replicas},
		MaxOpenTasks: f.Limits.MaxOpenTasks,
		File:         f,
	}
}
