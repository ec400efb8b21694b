// Package service is the router's shell: it feeds the scheduler from the task
// queue, the event log and heartbeats, and carries out what it decides.
//
// One router leads at a time and any number stand by. What a router decides
// takes effect only through an append to the log whose message id is derived
// from task and attempt, so of two routers that both believe to lead only one
// gives out an attempt.
package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// Run routes tasks until ctx ends. A router that is superseded stands by.
func Run(ctx context.Context, env shell.Env, cfg Config) (err error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("router configuration: %w", err)
	}
	p, err := prepare(ctx, env, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for {
		lease, err := p.acquire(ctx)
		if err != nil {
			return err
		}
		err = lead(ctx, p, lease)
		if ctx.Err() != nil || !errors.Is(err, errSuperseded) {
			return err
		}
		env.Log.Warn("another router has taken over; standing by")
	}
}

// premises are what a router has whether it leads or not.
type premises struct {
	env     shell.Env
	cfg     Config
	events  jetstream.Stream
	tasks   jetstream.Stream
	state   jetstream.KeyValue
	metrics *metrics
	rejects *shell.Rejects
	guards  guards
}

// guards protect the calls to each thing downstream.
type guards struct {
	log, agents, queue, state *guard.Guard
}

func prepare(ctx context.Context, env shell.Env, cfg Config) (*premises, error) {
	p := &premises{env: env, cfg: cfg, metrics: newMetrics(env.Metrics), rejects: shell.NewRejects(env)}
	var err error
	if p.tasks, err = p.createQueue(ctx); err != nil {
		return nil, err
	}
	if p.events, err = shell.WaitStream(ctx, env, contracts.EventStream, contracts.ServiceEventStore); err != nil {
		return nil, err
	}
	if p.state, err = shell.WaitBucket(ctx, env, contracts.StateBucket, contracts.ServiceEventStore); err != nil {
		return nil, err
	}
	p.guards = guards{
		log:    shell.NewGuard(env, cfg.File, "event_log"),
		agents: shell.NewGuard(env, cfg.File, "agent_service"),
		queue:  shell.NewGuard(env, cfg.File, "task_queue"),
		state:  shell.NewGuard(env, cfg.File, "state_store"),
	}
	return p, nil
}

func (p *premises) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var errs []error
	for _, g := range []*guard.Guard{p.guards.agents, p.guards.queue, p.guards.state, p.guards.log} {
		errs = append(errs, g.Close(ctx))
	}
	return errors.Join(errs...)
}

// router leads. All its fields but the channels and what is said to be shared
// belong to the loop.
type router struct {
	*premises
	lease *lease
	ctx   context.Context
	jobs  sync.WaitGroup // everything that may call do

	mailbox chan func()
	dead    chan struct{} // closed when the loop has ended
	fail    context.CancelCauseFunc

	sched     *scheduler.Scheduler
	cursor    uint64
	held      map[uint64]*message // by sequence in the queue
	heldBytes int
	lines     map[string]*line // by task type
	unserved  map[string]time.Time

	// Shared: how many calls run at once, below the bulkheads' limits.
	appending, dispatching, settling *semaphore.Weighted
}

// errSuperseded: another router has taken the lease.
var errSuperseded = errors.New("superseded by another router")

// lead routes until ctx ends or the lease is lost.
func lead(parent context.Context, p *premises, l *lease) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	r := &router{
		premises: p, lease: l, ctx: ctx, fail: cancel,
		mailbox: make(chan func(), 1024), dead: make(chan struct{}),
		held: map[uint64]*message{}, lines: map[string]*line{},
		unserved:  map[string]time.Time{},
		appending: semaphore.NewWeighted(32), dispatching: semaphore.NewWeighted(48), settling: semaphore.NewWeighted(32),
	}
	if err := r.restore(ctx); err != nil {
		return err
	}
	var down shell.Teardown
	err := r.holdLease(&down)
	if err != nil {
		return err
	}
	p.env.Log.Info("leading", "epoch", l.head.Epoch, "open", r.sched.Open(), "cursor", r.cursor)
	go r.loop()
	down.Add("end the loop", 5*time.Second, r.endLoop)
	down.Add("keep the state", 5*time.Second, r.handOver)
	down.Add("finish work in hand", 5*time.Second, r.finish)
	if err = r.serve(&down); err == nil {
		p.env.Ready()
		<-ctx.Done()
		if err = context.Cause(ctx); parent.Err() != nil {
			err = nil
		}
	}
	cancel(nil)
	return errors.Join(err, down.Run(p.env.Log))
}

// serve opens everything that feeds the loop, the log first.
func (r *router) serve(down *shell.Teardown) error {
	r.jobs.Go(r.renew)
	if err := r.follow(down); err != nil {
		return err
	}
	if err := r.listen(down); err != nil {
		return err
	}
	r.jobs.Go(r.sweep)
	r.jobs.Go(r.reassure)
	if err := r.serveAPI(down); err != nil {
		return err
	}
	// Ready means that the server knows of every subscription.
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	if err := r.env.NC.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// finish waits for everything that runs beside the loop.
func (r *router) finish(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.jobs.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
