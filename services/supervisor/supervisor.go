// Package supervisor is the service that keeps a tree of agents alive: it
// decides, by tree, strategy and policy, what is started, stopped and
// restarted, stores each decision in the event log before it acts on it, and
// has runners carry it out.
//
// Several may run for one tree: the one that holds the lease decides, the others
// stand by and take over within seconds when it is renewed no longer. That never
// two act is the log's doing: it refuses decisions by anybody who has missed one.
package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/keeper"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/lease"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/storage"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Config says which tree is kept and how. The zero value keeps an empty tree
// named main.
type Config struct {
	// File holds the tree, the policies and the settings of guards; nil means
	// config.Default.
	File *config.File
	// KeepDown leaves a tree that is down (stopped with its supervisor, or given up)
	// as it is when the supervisor starts, instead of starting it. One that an
	// operator drained stays down anyway.
	KeepDown bool
	// DrainOnStop stops the tree when the supervisor is told to end, in its order and
	// with the time that each agent has for it. Without it agents continue: a restart
	// of the supervisor does not disturb the fleet.
	DrainOnStop bool
	// Reload makes the supervisor read its file again, and has it applied, each
	// time that it gives something. Nil is for a file that is read once.
	Reload <-chan struct{}
	// SnapshotEvery is after how many decisions a snapshot is stored at the
	// latest, which bounds what a successor reads; 0 means 1,000. In a tree of
	// more than 8,000 nodes it is stored later, when one change for every eight
	// nodes has been decided upon.
	SnapshotEvery int
	// EndWhenStuck ends with ErrStuck when nothing could be stored for a minute
	// although the NATS server can be reached, so that whoever manages the
	// process starts it again.
	EndWhenStuck bool
}

// FromFile returns the service's part of a configuration.
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
	if _, err := configuration(c.File); err != nil {
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
	f := cfg.File
	guards := journal.Guards{
		Log:   shell.NewGuard(env, f, contracts.ServiceEventStore),
		State: shell.NewGuard(env, f, stateStore),
	}
	before := past{env: env, tree: f.Tree.Name, state: guards.State}
	opt := keeper.Options{
		Past: before.at, Serve: before.serve,
		Tree: f.Tree.Name, Boot: !cfg.KeepDown, Own: f, Standing: tree.StartsUp, Configure: configuration, Read: readConfiguration, Child: child,
		SnapshotEvery: uint64(cfg.SnapshotEvery), LostAfter: f.Placement.LostAfter, DegradedFails: !f.Verification.AllowDegraded,
		Guards: guards, Reports: shell.NewNamedGuard(env, f, contracts.ServiceEventStore, contracts.ServiceEventStore+"/reports"),
		Rejects: shell.NewRejects(env),
		Metrics: keeper.NewMetrics(env.Metrics, f.Tree.Name),
	}
	l, err := lease.Open(ctx, env, f.Tree.Name)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	files := &reader{env: env, tree: f.Tree.Name}
	files.own.Store(f)
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	reading.Go(func() { files.follow(ctx, cfg.Reload) })
	for {
		opt.Own = files.own.Load()
		err := reign(ctx, env, l, &opt, cfg, files, &reading)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, journal.ErrSuperseded) {
			return err
		}
		env.Log.Warn("superseded; standing by", "tree", f.Tree.Name)
		env.Emit(ctx, env.Event(contracts.SystemHealthCheckFailed, env.Service).Data(contracts.SystemHealthData{
			Service: env.Service, Check: "fence", Detail: "superseded: another supervisor decides about tree " + f.Tree.Name + "; " + env.Instance + " stands by",
		}))
		_ = shell.Pause(ctx, lease.TTL) // not to get in the other's way at once
	}
}

// reign stands by until the lease is this supervisor's, and decides about the tree
// until ctx ends or another does.
func reign(ctx context.Context, env shell.Env, l *lease.Lease, opt *keeper.Options, cfg Config, files *reader, reading *sync.WaitGroup) error {
	opt.Metrics.StandsBy()
	defer opt.Metrics.StandsBy()
	term, err := l.Acquire(ctx, func(holder string) {
		// Whoever takes over from another goes on with what it finds: a tree that
		// was stopped stays so.
		opt.Boot = false
		if opt.Standing == tree.StartsUp {
			opt.Standing = tree.TakesOver
			reading.Go(func() { files.join(ctx) })
		}
		env.Log.Info("standing by", "tree", opt.Tree, "supervisor", holder)
		env.Ready()
	})
	if err != nil {
		return err
	}
	opt.Term = term
	var kept atomic.Pointer[keeper.Keeper]
	renewing, enough := context.WithCancel(context.WithoutCancel(ctx))
	var renewal sync.WaitGroup
	renewal.Go(func() {
		term.Keep(renewing, func() bool { k := kept.Load(); return k == nil || k.Alive() })
	})
	defer func() {
		enough()
		renewal.Wait()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		term.Release(last)
	}()
	for try := 1; ; try++ {
		served, err := keep(ctx, env, *opt, cfg, &kept, files)
		if served {
			opt.Boot, opt.Standing = false, tree.TakesOver
		}
		if served || !errors.Is(err, journal.ErrSuperseded) || !term.Held() || try == maxTries {
			return err
		}
		// A predecessor that does not know yet that it has lost the lease has
		// decided something between reading and taking over.
		env.Log.Info("overtaken by a last decision of the predecessor; reading again", "tree", opt.Tree)
	}
}

// maxTries bounds the attempts to take over in one term: whoever goes on deciding
// does not heed the lease.
const maxTries = 10

// stateStore is the bucket's name in breakers, bulkheads, retries and timeouts of
// the configuration.
const stateStore = "state_store"

// keep decides about the tree until ctx ends or another does, and reports whether it
// came to serve.
func keep(ctx context.Context, env shell.Env, opt keeper.Options, cfg Config, kept *atomic.Pointer[keeper.Keeper], files *reader) (served bool, err error) {
	opt.Watch = &storage.Watch{}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ready := &readiness{env: env, tree: opt.Tree, watch: opt.Watch, term: opt.Term, mayEnd: cfg.EndWhenStuck, serves: make(chan struct{})}
	stuck := ready.begin(life, end)
	defer func() { err = cmp.Or(stuck(), err) }()
	opening := context.AfterFunc(ctx, end)
	k, err := keeper.Open(life, env, opt)
	if err != nil {
		opening()
		return false, err
	}
	kept.Store(k)
	defer k.Close()
	var api *shell.API
	defer func() {
		files.leads.Store(nil)
		end() // whoever waits for an answer is told
		if api == nil {
			return
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := api.Stop(last); err != nil {
			env.Log.Warn("API not stopped", "error", err)
		}
	}()
	err = k.Run(life, func() (err error) {
		if api, err = k.Serve(life); err != nil {
			return err
		}
		served = true
		files.leads.Store(k)
		opt.Metrics.Decides()
		if opening() {
			context.AfterFunc(ctx, func() { leave(env, k, cfg, end) })
		}
		close(ready.serves)
		return nil
	})
	return served, err
}

// leave ends the keeper's life, after the tree's where that is asked for.
func leave(env shell.Env, k *keeper.Keeper, cfg Config, end context.CancelFunc) {
	defer end()
	if !cfg.DrainOnStop {
		return
	}
	if err := k.Stop(context.Background(), cfg.File.Shutdown.DrainTimeout); err != nil {
		env.Log.Warn("not all of the tree is stopped; the rest ends with its runner, in no order, or runs on there", "tree", cfg.File.Tree.Name, "error", err)
	}
}
