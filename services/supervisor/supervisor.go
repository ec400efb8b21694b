// Package supervisor is the service that keeps a tree of agents alive: it
// decides, by tree, strategy and policy, what is started, stopped and
// restarted, stores each decision in the event log before it acts on it, and
// has runners carry it out.
//
// Several may run for one tree: one decides, the others stand by and take over
// within seconds when it no longer answers. That never two act is the log's
// doing: it refuses decisions by anybody who has missed one.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/keeper"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Config says which tree is kept and how. The zero value keeps an empty tree
// named main.
type Config struct {
	// File holds the tree, the policies and the settings of guards; nil means
	// config.Default.
	File *config.File
	// KeepDown leaves a tree that is down (drained, or given up) as it is when
	// the supervisor starts, instead of starting it.
	KeepDown bool
	// DrainOnStop stops the tree when the supervisor is told to end. Without
	// it agents go on: a restart of the supervisor does not disturb the fleet.
	DrainOnStop bool
	// SnapshotEvery is after how many decisions a snapshot is stored, which
	// bounds what a successor reads; 0 means 1,000.
	SnapshotEvery int
}

// FromFile gives the service's part of a configuration.
func FromFile(f *config.File) Config { return Config{File: f} }

func (c Config) withDefaults() Config {
	if c.File == nil {
		c.File = config.Default()
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 1000
	}
	return c
}

// Validate reports why the configuration cannot be used, or nil.
func (c Config) Validate() error {
	c = c.withDefaults()
	if c.SnapshotEvery < 0 {
		return fmt.Errorf("supervisor: SnapshotEvery is %d; use at least 1", c.SnapshotEvery)
	}
	if _, err := specs(c.File); err != nil {
		return fmt.Errorf("supervisor: %w", err)
	}
	return nil
}

// Run keeps the tree until ctx ends.
func Run(ctx context.Context, env shell.Env, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	all, err := specs(cfg.File)
	if err != nil {
		return err
	}
	f := cfg.File
	before := past{env: env, tree: f.Tree.Name}
	opt := keeper.Options{
		Past: before.at, Serve: before.serve,
		Tree: f.Tree.Name, Specs: all, Boot: !cfg.KeepDown, File: f, Environments: environments(f),
		Child:         func(req contracts.AddRequest) (*tree.Spec, error) { return child(f, req) },
		SnapshotEvery: uint64(cfg.SnapshotEvery), LostAfter: f.Placement.LostAfter, DegradedFails: !f.Verification.AllowDegraded,
		Guard: shell.NewGuard(env, logSettings(f), contracts.ServiceEventStore), Rejects: shell.NewRejects(env),
		Metrics: keeper.NewMetrics(env.Metrics, f.Tree.Name),
	}
	for {
		if err := standBy(ctx, env, f.Tree.Name); err != nil {
			return nil // told to end
		}
		err := keep(ctx, env, opt, cfg)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, journal.ErrSuperseded):
			return err
		}
		env.Log.Warn("superseded; standing by", "tree", f.Tree.Name)
		env.Emit(ctx, env.Event(contracts.SystemHealthCheckFailed, env.Service).Data(contracts.SystemHealthData{
			Service: env.Service, Check: "fence", Detail: "another supervisor decides about tree " + f.Tree.Name + "; " + env.Instance + " stands by",
		}))
	}
}

// logBreakerTimeout caps how long the breaker in front of the log stays open:
// without the log the supervisor can do nothing else anyway.
const logBreakerTimeout = 2 * time.Second

// logSettings are the file's, with that cap.
func logSettings(f *config.File) *config.File {
	capped := *f
	if capped.CircuitBreakers = maps.Clone(f.CircuitBreakers); capped.CircuitBreakers == nil {
		capped.CircuitBreakers = map[string]config.CircuitBreaker{}
	}
	b := f.Breaker(contracts.ServiceEventStore)
	b.Timeout = min(b.Timeout, logBreakerTimeout)
	capped.CircuitBreakers[contracts.ServiceEventStore] = b
	return &capped
}

// keep decides about the tree until ctx ends or another does.
func keep(ctx context.Context, env shell.Env, opt keeper.Options, cfg Config) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	opening := context.AfterFunc(ctx, end)
	k, err := keeper.Open(life, env, opt)
	if err != nil {
		opening()
		return err
	}
	defer k.Close()
	defer end()
	var api *shell.API
	defer func() {
		if api != nil {
			if err := api.Stop(); err != nil {
				env.Log.Warn("API not stopped", "error", err)
			}
		}
	}()
	return k.Run(life, func() (err error) {
		if api, err = k.Serve(life); err != nil {
			return err
		}
		if opening() {
			context.AfterFunc(ctx, func() { leave(env, k, cfg, end) })
		}
		env.Ready()
		return nil
	})
}

// leave ends the keeper's life, after the tree's where that is asked for.
func leave(env shell.Env, k *keeper.Keeper, cfg Config, end context.CancelFunc) {
	defer end()
	if !cfg.DrainOnStop {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.File.Shutdown.DrainTimeout)
	defer cancel()
	if ok, err := k.Drain(ctx, "the supervisor ends"); err != nil || ok.Warning != "" {
		env.Log.Warn("tree not stopped in time", "tree", cfg.File.Tree.Name, "within", cfg.File.Shutdown.DrainTimeout, "error", err)
	}
}

// A supervisor is taken for gone when nobody answers in its place, or it does
// not answer patience times in a row.
const (
	probeEvery = 500 * time.Millisecond
	patience   = 4
)

// standBy waits while another supervisor decides about the tree.
func standBy(ctx context.Context, env shell.Env, treeName string) error {
	subject := contracts.ServiceSubject(contracts.ServiceSupervisor, keeper.LeadVerb)
	silent, told := 0, false
	for {
		try, cancel := context.WithTimeout(ctx, probeEvery)
		lead, err := shell.Call[keeper.LeadReply](try, env.NC, subject, struct{}{})
		cancel()
		var refusal *shell.APIError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refusal) && refusal.Code == contracts.CodeNotReady:
			return nil
		case err != nil:
			if silent++; silent >= patience {
				return nil
			}
		case lead.Tree != treeName:
			return nil
		default:
			silent = 0
			if !told {
				told = true
				env.Log.Info("standing by", "tree", treeName, "supervisor", lead.Supervisor)
				env.Ready()
			}
		}
		t := time.NewTimer(probeEvery)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}
