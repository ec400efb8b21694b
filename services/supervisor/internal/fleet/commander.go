package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Command is a decided start, stop or report, and how far it is.
type Command struct {
	leader.Order
	// boot is that of the runner's host for which a start is meant.
	boot string
	// order is what the runner is told, once it has been put together.
	order *order
	// failure is why the start has failed, once it has: what remains is to report
	// it.
	failure string
}

// task is a command under way.
type task = leader.Task[*carrier]

// carrier is what a command under way needs beyond what was decided. Its context
// begins when it is its turn and ends when it is given up; overtaken is closed
// when another command for the agent comes.
type carrier struct {
	command   Command
	ctx       context.Context
	give      context.CancelFunc
	overtaken chan struct{}
}

// Commander carries out commands: those of one agent one after the other, those
// of different agents at the same time. It goes on until each is done, over
// outages of NATS and of runners; a later command for the same agent ends an
// earlier start that was never answered. Results go to Post.
type Commander struct {
	env  shell.Env
	file *config.File
	post func(tree.Input)
	// fenced names runners that were told of a later term.
	fenced  chan string
	reports *guard.Guard
	fence   Fence
	// kept gives the environments that specs refer to.
	kept func(ref string) (map[string]string, error)
	ctx  context.Context
	done sync.WaitGroup

	mu    sync.Mutex
	lanes leader.Lanes[*carrier]
	lines map[string]*line
	// orders are what specs say of starts, by their text.
	orders map[string]specified
	// boots are those of the runners' hosts, as last heard.
	boots map[string]string
	// pauses are those before starts of agents are numbered anew once more.
	pauses map[string]time.Duration

	// term is the supervisor's, last the last decision's place in
	// the log.
	term, last atomic.Uint64
}

// NewCommander makes a commander that works until ctx ends. What it reports to
// the log goes through the guard, and losses through the fence. Post must not block
// for long after that.
func NewCommander(ctx context.Context, env shell.Env, f *config.File, kept func(ref string) (map[string]string, error), reports *guard.Guard, fence Fence, post func(tree.Input)) *Commander {
	return &Commander{
		env: env, file: f, kept: kept, reports: reports, fence: fence, post: post, ctx: ctx, fenced: make(chan string, 16),
		lines: map[string]*line{}, boots: map[string]string{}, orders: map[string]specified{},
		pauses: map[string]time.Duration{},
	}
}

// Do takes a command on, see [leader.Lanes].
func (c *Commander) Do(cmd Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cmd.boot = c.boots[cmd.Runner]
	_, current := c.lanes.Add(cmd.Order, &carrier{command: cmd, overtaken: make(chan struct{})})
	if current != nil {
		current.Carrier.end(current)
	}
	if next := c.lanes.Next(cmd.Node); next != nil {
		c.done.Go(func() { c.work(next) })
	}
}

// end lets a command under way know what has become of it.
func (r *carrier) end(t *task) {
	if t.Given() && r.give != nil {
		r.give()
	}
	select {
	case <-r.overtaken:
	default:
		if t.Overtaken() {
			close(r.overtaken)
		}
	}
}

// Fenced tells of runners that refused a start because they were told of a later
// term: the log may have lost that, or a clock goes wrong.
func (c *Commander) Fenced() <-chan string { return c.fenced }

func (c *Commander) refused(runner string) {
	select {
	case c.fenced <- runner:
	default: // it will refuse again
	}
}

// Know notes the supervisor's term, and the last decision's place in the log: runners
// that have been told of a later term refuse starts, and a log that has a later
// decision refuses reports of losses.
func (c *Commander) Know(term, sequence uint64) {
	c.term.Store(term)
	c.last.Store(sequence)
}

// Meet notes which boot of its host a runner is on. Starts are meant for the
// boot known when they were ordered, and reach no later one.
func (c *Commander) Meet(runner, boot string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boots[runner] = boot
}

func (c *Commander) bootOf(runner string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boots[runner]
}

// Pending is the number of agents with commands under way.
func (c *Commander) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lanes.Pending()
}

// Wait waits until every lane has ended, after the end of the context.
func (c *Commander) Wait() { c.done.Wait() }

// work carries out an agent's commands until none is left.
func (c *Commander) work(t *task) {
	for t != nil && c.ctx.Err() == nil {
		c.mu.Lock()
		t.Carrier.ctx, t.Carrier.give = context.WithCancel(c.ctx)
		t.Carrier.end(t)
		c.mu.Unlock()
		c.carryOut(t)
		t.Carrier.give()
		c.mu.Lock()
		t = c.lanes.Next(t.Node)
		c.mu.Unlock()
	}
}

// Forget gives up every command about an agent's incarnations up to one, done
// or not: its runner is gone, and what the command was for is settled.
func (c *Commander) Forget(agent string, incarnation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.lanes.Forget(agent, incarnation); t != nil {
		t.Carrier.end(t)
	}
}

// carryOut repeats a command until it is done or given up.
func (c *Commander) carryOut(t *task) {
	ctx, cmd := t.Carrier.ctx, &t.Carrier.command
	told := false
	for {
		if cmd.boot == "" {
			cmd.boot = c.bootOf(cmd.Runner)
		}
		done, err := c.try(ctx, t)
		c.mu.Lock()
		wait, again := c.lanes.Tried(t, done || c.ctx.Err() != nil)
		c.mu.Unlock()
		if !again {
			return
		}
		if !told && ctx.Err() == nil && !guard.Rejected(err) {
			told = true
			c.env.Log.Warn("command not carried out yet; it is repeated", "command", string(cmd.Kind), "agent", cmd.Node,
				"incarnation", cmd.Incarnation, "runner", cmd.Runner, "error", err)
		}
		_ = shell.Pause(ctx, wait)
	}
}

func (c *Commander) try(ctx context.Context, t *task) (done bool, err error) {
	cmd := &t.Carrier.command
	if !c.env.NC.IsConnected() {
		return false, nats.ErrDisconnected
	}
	switch cmd.Kind {
	case tree.DoStart:
		return c.start(ctx, cmd, t.Carrier.overtaken)
	case tree.DoStop:
		return c.stop(ctx, cmd)
	case tree.DoReport:
		err := c.report(*cmd, contracts.ReasonUnverified, cmd.Reason)
		return err == nil, err
	}
	return true, nil
}

func (c *Commander) start(ctx context.Context, cmd *Command, overtaken <-chan struct{}) (done bool, err error) {
	if cmd.failure != "" {
		return c.failed(cmd, cmd.failure)
	}
	if cmd.order == nil {
		if cmd.order, err = c.order(cmd); err != nil {
			return c.failed(cmd, err.Error())
		}
	}
	l := c.line(cmd.Runner)
	reply, err := l.inLine(ctx, overtaken, func() (contracts.RunnerReply, error) {
		cmd.order.BootID, cmd.order.Term = cmd.boot, c.term.Load()
		return ask[contracts.RunnerReply](ctx, c, l, cmd.Runner, "start", cmd.order.encode, startTimeout)
	})
	if err != nil {
		return false, err
	}
	switch reply.Code {
	case contracts.RunnerOK:
		c.started(cmd.Node)
		c.post(tree.Input{Kind: tree.Started, Node: cmd.Node, Incarnation: cmd.Incarnation, PID: reply.PID, Reason: "runner " + cmd.Runner + " started it"})
		return true, nil
	case contracts.RunnerAlreadyExited:
		c.post(alreadyExited(cmd, reply))
		return true, nil
	case contracts.RunnerStale:
		return c.outnumbered(ctx, cmd, reply)
	case contracts.RunnerStillRunning:
		// An older one lives, though its end was confirmed or it was never
		// known: it ends first.
		if err := c.end(ctx, cmd, reply.Incarnation, cmd.Spec.ShutdownTimeout, false); err != nil {
			return false, err
		}
		return false, fmt.Errorf("incarnation %d was still running and had to be stopped", reply.Incarnation)
	case contracts.RunnerNoResources:
		return c.declined(ctx, cmd, reply)
	case contracts.RunnerFenced:
		if reply.Term > c.term.Load() {
			c.refused(cmd.Runner)
		}
		return false, refusal(cmd.Runner, reply)
	case contracts.RunnerStopping, contracts.RunnerFull, contracts.RunnerInternal:
		return false, refusal(cmd.Runner, reply)
	case contracts.RunnerStartFailed:
		return c.failed(cmd, reply.Error) // the report has the reason and the runner
	default:
		return c.failed(cmd, fmt.Sprintf("%s: %s", reply.Code, reply.Error))
	}
}

// alreadyExited is what a runner's answer means that an incarnation has ended. One
// that does not say how is taken for the agent's own.
func alreadyExited(cmd *Command, reply contracts.RunnerReply) tree.Input {
	h := tree.Held{Agent: cmd.Node, Incarnation: cmd.Incarnation, State: tree.HeldFailed, Reason: "it had already ended"}
	if reply.Exit != nil {
		h.State, h.Reason = heldEnd(*reply.Exit), DescribeExit(*reply.Exit)
	}
	in := h.Ended()
	in.Chain = cmd.Chain
	return in
}

// outnumbered handles a start that is refused because its runner knows a newer
// incarnation: the log has lost the decision that ordered that one. The tree
// adopts it or numbers the start anew. A runner that names ever higher numbers
// is asked more and more rarely.
func (c *Commander) outnumbered(ctx context.Context, cmd *Command, reply contracts.RunnerReply) (done bool, err error) {
	if reply.Incarnation <= cmd.Incarnation || reply.Incarnation >= contracts.MaxIncarnation {
		return false, fmt.Errorf("runner %s: %s: it names incarnation %d, which is none", cmd.Runner, reply.Code, reply.Incarnation)
	}
	in := tree.Input{
		Kind: tree.Raised, Node: cmd.Node, Incarnation: reply.Incarnation, Runner: cmd.Runner, Chain: cmd.Chain,
		Reason: fmt.Sprintf("runner %s knows incarnation %d, which is newer than the log", cmd.Runner, reply.Incarnation),
	}
	if reply.Live {
		in.Kind, in.PID = tree.Found, reply.PID
	}
	if err := shell.Pause(ctx, c.pauseBefore(cmd.Node)); err != nil {
		return false, err
	}
	c.post(in)
	return true, nil
}

// declined handles a start that a runner cannot make for want of what its host
// should have. A copy of the command may still be under way: the runner is told
// never to start this number, before another is given out.
func (c *Commander) declined(ctx context.Context, cmd *Command, reply contracts.RunnerReply) (done bool, err error) {
	if err := c.end(ctx, cmd, cmd.Incarnation, 0, true); err != nil {
		return false, err
	}
	c.post(tree.Input{
		Kind: tree.Declined, Node: cmd.Node, Incarnation: cmd.Incarnation, Runner: cmd.Runner, Chain: cmd.Chain,
		Reason: contracts.Clip("runner "+cmd.Runner+" lacks resources: "+reply.Error, maxDeclined),
	})
	return true, nil
}

// maxDeclined bounds what is kept of a runner's words.
const maxDeclined = 256

// pauseBefore returns how long to wait before another start of an agent is
// numbered anew: not at all at first, then ever longer.
func (c *Commander) pauseBefore(agent string) time.Duration {
	const first, most = 50 * time.Millisecond, 10 * time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := c.pauses[agent]
	c.pauses[agent] = min(max(first, 2*wait), most)
	return wait
}

func (c *Commander) started(agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pauses, agent)
}

// failed reports a start that failed to the log, from where it comes back.
func (c *Commander) failed(cmd *Command, why string) (done bool, err error) {
	cmd.failure = why
	err = c.report(*cmd, contracts.ReasonStartFailed, why)
	return err == nil, err
}

func (c *Commander) stop(ctx context.Context, cmd *Command) (done bool, err error) {
	if err := c.end(ctx, cmd, cmd.Incarnation, cmd.Timeout, cmd.Kill); err != nil {
		return false, err
	}
	c.post(tree.Input{Kind: tree.Stopped, Node: cmd.Node, Incarnation: cmd.Incarnation, Reason: "runner " + cmd.Runner + " confirmed its end"})
	return true, nil
}

// end has a command's runner end an incarnation of its agent.
func (c *Commander) end(ctx context.Context, cmd *Command, incarnation uint64, timeout time.Duration, kill bool) error {
	return c.Stop(ctx, cmd.Runner, contracts.StopCommand{
		Agent: cmd.Node, Incarnation: incarnation, Timeout: contracts.Duration(timeout), Kill: kill, CausationID: cmd.Decision, CorrelationID: cmd.Chain,
	}, timeout)
}

// Stop has a runner end an incarnation and everything older, which may take a
// while.
func (c *Commander) Stop(ctx context.Context, runner string, cmd contracts.StopCommand, within time.Duration) error {
	reply, err := ask[contracts.RunnerReply](ctx, c, c.line(runner), runner, "stop", asJSON(cmd), within+stopMargin)
	if err == nil && reply.Code != contracts.RunnerOK {
		err = refusal(runner, reply)
	}
	return err
}

// ForgetOutput tells a runner that agents are no longer in the tree. It is not waited
// for: the runner lists those of which it has not heard that, and is told again.
func (c *Commander) ForgetOutput(runner, treeName string, agents []string) {
	for some := range slices.Chunk(agents, contracts.MaxForget) {
		body, err := json.Marshal(contracts.ForgetCommand{Tree: treeName, Agents: some})
		if err == nil {
			err = c.env.NC.PublishRequest(contracts.RunnerSubject(runner, "forget"), c.env.NC.NewInbox(), body)
		}
		if err != nil {
			c.env.Log.Debug("a runner is not told of removed agents yet", "runner", runner, "agents", len(some), "error", err)
			return
		}
	}
}

// refusal is the error that a runner answered with.
func refusal(runner string, reply contracts.RunnerReply) error {
	return fmt.Errorf("runner %s: %s: %s", runner, reply.Code, reply.Error)
}

const (
	// startTimeout bounds one start request; starting a process takes
	// milliseconds.
	startTimeout = 5 * time.Second
	// stopMargin is what a runner may need beyond an agent's own timeout to
	// kill it and make sure.
	stopMargin = 12 * time.Second
)
