package up

import (
	"context"
	"path/filepath"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
	"github.com/mistersmith/mistersmith/services/eventstore"
	"github.com/mistersmith/mistersmith/services/router"
	"github.com/mistersmith/mistersmith/services/runner"
	"github.com/mistersmith/mistersmith/services/supervisor"
)

// services lists what runs, in the order in which it starts.
func (o Options) services() []service {
	return []service{
		{contracts.ServiceEventStore, stopWithin, func(ctx context.Context, env shell.Env) error {
			cfg := eventstore.FromFile(o.File)
			cfg.IndexDir = filepath.Join(o.StoreDir, "index")
			return eventstore.Run(ctx, env, cfg)
		}},
		// It ends agents within their own shutdown timeouts.
		{contracts.ServiceRunner, shell.Unbounded, func(ctx context.Context, env shell.Env) error {
			cfg := runner.FromFile(o.File)
			cfg.Name, cfg.PassEnv = o.Runner, o.PassEnv
			cfg.StateDir = filepath.Join(o.StoreDir, "runner")
			cfg.StopAgents, cfg.Stdout = !o.KeepAgents, o.Stdout
			return runner.Run(ctx, env, cfg)
		}},
		{contracts.ServiceDetector, stopWithin, func(ctx context.Context, env shell.Env) error {
			return detector.Run(ctx, env, detector.FromFile(o.File))
		}},
		{contracts.ServiceRouter, stopWithin, func(ctx context.Context, env shell.Env) error {
			return router.Run(ctx, env, router.FromFile(o.File))
		}},
		// It stops its tree in the time that the agents have for it.
		{contracts.ServiceSupervisor, shell.Unbounded, func(ctx context.Context, env shell.Env) error {
			cfg := supervisor.FromFile(o.File)
			cfg.DrainOnStop = !o.KeepAgents
			cfg.Reload = o.Reload
			return supervisor.Run(ctx, env, cfg)
		}},
	}
}
