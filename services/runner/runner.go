// Package runner starts, watches and ends the agents of one host.
//
// It does what it is told on smith.runner.<name>.{start,stop,list} and tells
// what happens as agent.started, agent.failed and agent.stopped events. It
// decides nothing: whether an agent that ended is started again is the
// supervisor's matter.
//
// # Promises
//
// An agent is never run twice at once, however runners and machines fail; see
// package fleet for how. A runner that ends or is killed disturbs no agent: the
// next runner on the same state directory finds them and goes on. How agents end
// meanwhile is kept by their parent, a process that outlives the runner, see
// package reaper. Only if that is killed too, and the kernel no longer has the
// status either, an end is reported with an unknown status. Every end is told exactly once to consumers that heed
// event ids or incarnations: the event is in the state directory before it is
// published, and published until the event stream has it. While NATS is away
// agents run on. For what a loss of power can take see package fleet.
//
// Agents for which the runner beats are silent while there is no runner, so an
// upgrade should take less time than their failure detection.
//
// # What an agent gets
//
// Its command, without a shell; its own session and process group; stdin from
// /dev/null, stdout and stderr in a FIFO (see package output), of which
// the last 20 lines (4 KiB) travel with the exit event if the configuration says
// so; and an environment of
// the variables listed in fleet.BaseEnv, those of Config.PassEnv, the SMITH_
// variables of package contracts, and what its own pass_env, env_file and env say;
// nothing else of the runner's.
// File descriptor 3 is its lock and must stay open. When its main process ends,
// whatever is left of it is ended too, before its end is reported.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/api"
	"github.com/mistersmith/mistersmith/services/runner/internal/fleet"
	"github.com/mistersmith/mistersmith/services/runner/internal/forward"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/metrics"
	"github.com/mistersmith/mistersmith/services/runner/internal/outbox"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
	"github.com/mistersmith/mistersmith/services/runner/internal/reaper"
)

// Errors that a second runner gets.
var (
	ErrNameTaken  = api.ErrNameTaken
	ErrStateInUse = ledger.ErrInUse
)

const (
	// takeover is how long a predecessor that is just ending is waited for.
	takeover = 3 * time.Second
	// tidyInterval is how often output is bounded and strays are ended.
	tidyInterval = time.Second
	// lookPatience is how long the log may take to tell whether it has an event.
	lookPatience = 2 * time.Second
)

// Run runs a runner until ctx ends. Agents are left running unless
// Config.StopAgents is set.
func Run(ctx context.Context, env shell.Env, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	if cfg, err = cfg.withDefaults(); err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	env.Log = env.Log.With("runner", cfg.Name)
	var down shell.Teardown
	defer func() { err = errors.Join(err, down.Run(env.Log)) }()

	self, err := introduce(cfg)
	if err != nil {
		return err
	}
	state, err := claim(ctx, env, cfg, &down)
	if err != nil {
		return err
	}
	counts := metrics.New(env.Metrics, cfg.Name)
	r := &runner{env: env, cfg: cfg, self: self, counts: counts, guard: shell.NewGuard(env, cfg.File, contracts.ServiceEventStore)}
	down.Add("event store guard", time.Second, r.guard.Close)
	r.assemble(state, r.reaper(&down), &down)
	if err := r.fleet.Recover(ctx); err != nil {
		return fmt.Errorf("runner %s: take over the agents in %s: %w", cfg.Name, cfg.StateDir, err)
	}
	return r.serve(ctx, &down)
}

// runner is a running runner.
type runner struct {
	env    shell.Env
	cfg    Config
	self   contracts.RunnerAnnouncement
	counts *metrics.Metrics
	guard  *guard.Guard
	fleet  *fleet.Fleet
	outbox *outbox.Outbox
}

// introduce says who this runner is.
func introduce(cfg Config) (contracts.RunnerAnnouncement, error) {
	bootID, err := procfs.BootID()
	if err != nil {
		return contracts.RunnerAnnouncement{}, fmt.Errorf("runner: %w; runners need Linux", err)
	}
	host, _ := os.Hostname()
	return contracts.RunnerAnnouncement{
		Runner: cfg.Name, Host: host, BootID: bootID, Session: uuid.NewString(), Labels: cfg.Labels,
		Kind: "process", Capacity: cfg.MaxAgents, Version: shell.Version, Started: time.Now().UTC(),
	}, nil
}

// claim takes the state directory and the name, which only one runner may have.
func claim(ctx context.Context, env shell.Env, cfg Config, down *shell.Teardown) (*ledger.Ledger, error) {
	ctx, cancel := context.WithTimeout(ctx, takeover)
	defer cancel()
	state, err := ledger.Open(ctx, cfg.StateDir, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("runner %s: %w", cfg.Name, err)
	}
	down.Add("state directory", time.Second, func(context.Context) error { return state.Close() })
	if err := api.CheckName(ctx, env.NC, cfg.Name); err != nil {
		return nil, fmt.Errorf("runner %s: %w", cfg.Name, err)
	}
	return state, nil
}

// assemble makes fleet and outbox, which need each other.
func (r *runner) assemble(state *ledger.Ledger, parent *reaper.Reaper, down *shell.Teardown) {
	agentEnv := fleet.Env{
		Base:    fleet.Inherit(os.Environ(), append(slices.Clone(fleet.BaseEnv), r.cfg.PassEnv...)...),
		NATSURL: r.cfg.AgentServer, NATSCreds: r.cfg.AgentCreds, NATSCA: r.cfg.AgentCA, Lookup: os.LookupEnv,
	}
	for _, name := range r.cfg.PassEnv {
		if _, set := os.LookupEnv(name); !set {
			r.env.Log.Warn("a variable that agents are to get is not in the runner's environment", "variable", name)
		}
	}
	if agentEnv.NATSURL == "" {
		agentEnv.NATSURL = agentServers(r.env.NC)
	}
	kept := r.cfg.File.Runner.Output
	r.fleet = fleet.New(fleet.Options{
		Runner: r.cfg.Name, BootID: r.self.BootID, Ledger: state, Log: r.env.Log, Env: agentEnv, WorkDir: r.cfg.WorkDir,
		SubReaper: subReaper(r.env.Log), Reaper: parent, MaxAgents: r.cfg.MaxAgents, Observe: r.counts,
		Output: output.Limits{Bytes: r.cfg.MaxOutput, Incarnations: kept.Incarnations}, KeepOutput: kept.Keep, TellOutput: kept.LastLinesInEvents, Forward: r.forwarder(down),
		Notify: func(agent string) { r.outbox.Notify(agent) },
		Beat:   func(agent string, h contracts.Heartbeat) { api.Beat(r.env, agent, h) },
	})
	r.outbox = outbox.New(r.fleet, r.store, r.env.Log, r.counts.Retry)
	r.showUsage(down)
	down.Add("agents", 5*time.Second, func(context.Context) error { r.fleet.Close(); return nil })
	down.Add("events", time.Second, func(context.Context) error { r.outbox.Close(); return nil })
	// What cannot be told in time is on disk, for the next runner to tell.
	down.Add("last events", 3*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		r.outbox.Begin() // in case that the stream was still waited for
		if err := r.outbox.Flush(ctx); err != nil {
			r.env.Log.Warn("events left for the next runner to store", "agents", r.outbox.Waiting())
		}
		return nil
	})
	if r.cfg.StopAgents {
		// Each agent has its whole grace; then it is killed.
		down.Add("stop agents", shell.Unbounded, r.fleet.WithdrawAll)
	}
}

// showUsage has what agents use among the metrics.
func (r *runner) showUsage(down *shell.Teardown) {
	u := metrics.NewUsage(r.cfg.Name, func() []contracts.RunnerAgent {
		running := slices.DeleteFunc(r.fleet.List(), func(a contracts.RunnerAgent) bool { return a.State == contracts.AgentExited })
		r.fleet.AddUsage(running)
		return running
	})
	if err := r.env.Metrics.Register(u); err != nil {
		r.env.Log.Warn("what agents use is not among the metrics", "error", err)
		return
	}
	down.Add("usage metrics", time.Second, func(context.Context) error { r.env.Metrics.Unregister(u); return nil })
}

// forwarder copies what agents print to where the configuration says; nil is nowhere.
func (r *runner) forwarder(down *shell.Teardown) *forward.Forwarder {
	if r.cfg.File.Runner.Output.Forward != config.ForwardStdout {
		return nil
	}
	f := forward.New(r.cfg.Stdout, r.cfg.Name, r.counts, r.env.Log)
	down.Add("forwarding of output", 2*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		f.Close(ctx)
		return nil
	})
	return f
}

// subReaper makes this process the parent of what its own programs leave behind.
func subReaper(log *slog.Logger) bool {
	if err := process.BecomeReaper(); err != nil {
		log.Warn("what agents leave behind is found more slowly", "error", err)
		return false
	}
	return true
}

// reaper finds or starts the parent of this runner's agents; nil means that the
// runner has to be that itself.
func (r *runner) reaper(down *shell.Teardown) *reaper.Reaper {
	parent, err := reaper.Open(r.cfg.StateDir, r.env.Log)
	if err != nil {
		r.env.Log.Warn("exit codes of agents that end while no runner lives may be lost", "error", err)
		return nil
	}
	down.Add("reaper", time.Second, func(context.Context) error { parent.Close(); return nil })
	return parent
}

// serve takes commands until ctx ends or the name turns out to be another's.
func (r *runner) serve(ctx context.Context, down *shell.Teardown) error {
	commands, err := api.Serve(r.env, r.self, r.fleet)
	if err != nil {
		return err
	}
	down.Add("commands", 10*time.Second, func(context.Context) error { return commands.Close() })
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return api.Announce(ctx, r.env, r.self, r.fleet.Running) })
	g.Go(func() error { r.fleet.Tidy(ctx, tidyInterval); return nil })
	g.Go(func() error { r.countWaiting(ctx); return nil })
	g.Go(func() error { r.watchCutoff(ctx); return nil })
	g.Go(func() error {
		if _, err := shell.WaitStream(ctx, r.env, contracts.EventStream, contracts.ServiceEventStore); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		r.outbox.Begin()
		return nil
	})
	// Once the server has answered this, it knows the subscriptions.
	if err := r.env.NC.FlushTimeout(takeover); err != nil && ctx.Err() == nil {
		r.env.Log.Warn("commands may not reach this runner yet", "error", err)
	}
	r.env.Ready()
	return g.Wait()
}

// store publishes an event and returns when it is stored.
func (r *runner) store(ctx context.Context, ev contracts.Event) error {
	if !r.env.NC.IsConnected() {
		return errNotConnected // an outage is no failure of the event store
	}
	if r.alreadyStored(ctx, ev) {
		return nil
	}
	return r.guard.Run(ctx, "publish", func(ctx context.Context) error {
		_, err := shell.PublishEvent(ctx, r.env.JS, ev)
		return err
	})
}

// alreadyStored recognises an event that a predecessor got stored but did not
// live to cross off, so long ago that JetStream has forgotten its id. It looks
// at the last event of its kind about its agent.
func (r *runner) alreadyStored(ctx context.Context, ev contracts.Event) bool {
	if time.Since(ev.Time) < contracts.DedupWindow/2 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	stream, err := r.env.JS.Stream(ctx, contracts.EventStream)
	if err != nil {
		return false
	}
	last, err := stream.GetLastMsgForSubject(ctx, ev.Subject())
	return err == nil && last.Header.Get(jetstream.MsgIDHeader) == ev.ID
}

var errNotConnected = errors.New("not connected to NATS")

func (r *runner) countWaiting(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.counts.Waiting(r.outbox.Waiting())
		}
	}
}
