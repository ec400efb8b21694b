package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// hosted is one incarnation of an agent on a host, or the memory of it.
type hosted struct {
	cmd     contracts.StartCommand
	started time.Time
	began   time.Time // the same by the monotonic clock
	cancel  context.CancelFunc
	abort   chan struct{}
	once    sync.Once
	done    chan struct{} // closed when its goroutine has ended

	reported chan struct{} // closed when the log knows that, or never will
	lost     bool          // that it never will; read after reported is closed

	// Under hosting.mu; exit and failure are final once done is closed.
	order   *contracts.StopCommand // who ordered the end, if anybody
	exit    *contracts.Exit
	err     error
	removed bool // the tree no longer has it
}

func (a *hosted) alive() bool {
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

func (r *hosting) viewLocked(a *hosted) contracts.RunnerAgent {
	v := contracts.RunnerAgent{
		Agent: a.cmd.Agent, Incarnation: a.cmd.Incarnation, State: contracts.AgentRunning, Started: &a.started, Exit: a.exit, Tree: a.cmd.Tree, Removed: a.removed,
	}
	switch {
	case a.exit != nil:
		v.State, v.Event = contracts.AgentExited, r.eventID(a, "agent.ended")
	case a.order != nil:
		v.State = contracts.AgentStopping
	}
	return v
}

// killGrace is how long a goroutine may take to end once all its contexts are
// cancelled, before it counts as one that does not.
const killGrace = time.Second

// end asks the goroutine to end, politely for the timeout and then urgently;
// it tells whether it did.
func (a *hosted) end(timeout time.Duration, urgent bool) bool {
	a.cancel()
	if !urgent {
		select {
		case <-a.done:
			return true
		case <-time.After(orDefault(timeout, contracts.DefaultShutdownTimeout)):
		}
	}
	a.once.Do(func() { close(a.abort) })
	select {
	case <-a.done:
		return true
	case <-time.After(killGrace):
		return false
	}
}

// start begins an incarnation, unless it or a newer one was here before or an
// older one still lives.
func (r *hosting) start(cmd contracts.StartCommand) contracts.RunnerReply {
	no := func(code contracts.RunnerCode, format string, args ...any) contracts.RunnerReply {
		return contracts.RunnerReply{Code: code, Error: fmt.Sprintf(format, args...), Agent: cmd.Agent, Incarnation: cmd.Incarnation}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if cmd.Term != 0 && cmd.Term < r.fence {
		reply := no(contracts.RunnerFenced, "it is of term %d; another supervisor has asked host %s in term %d", cmd.Term, r.Name, r.fence)
		reply.Term = r.fence
		return reply
	}
	known := r.agents[cmd.Agent]
	if known != nil {
		reply := contracts.RunnerReply{Agent: cmd.Agent, Incarnation: known.cmd.Incarnation, Started: &known.started, Exit: known.exit}
		alive := known.exit == nil
		switch {
		case cmd.Incarnation < known.cmd.Incarnation:
			reply.Live = alive && known.order == nil
			reply.Code, reply.Error = contracts.RunnerStale, fmt.Sprintf("incarnation %d of agent %s is older than %d", cmd.Incarnation, cmd.Agent, known.cmd.Incarnation)
			return reply
		case cmd.Incarnation == known.cmd.Incarnation && alive:
			reply.Code = contracts.RunnerOK
			return reply
		case cmd.Incarnation == known.cmd.Incarnation:
			reply.Code, reply.Error = contracts.RunnerAlreadyExited, fmt.Sprintf("incarnation %d of agent %s has ended", cmd.Incarnation, cmd.Agent)
			return reply
		case alive:
			reply.Code, reply.Error = contracts.RunnerStillRunning, fmt.Sprintf("incarnation %d of agent %s still runs; stop it first", known.cmd.Incarnation, cmd.Agent)
			return reply
		}
	}
	cmd, err := cmd.Expanded()
	if err != nil {
		return no(contracts.RunnerStartFailed, "agent %s: %v", cmd.Agent, err)
	}
	f, ok := r.Funcs[cmd.Command[0]]
	switch {
	case r.stopping:
		return no(contracts.RunnerStopping, "host %s is shutting down", r.Name)
	case !ok:
		return no(contracts.RunnerStartFailed, "host %s has no function %.80q; it has: %s", r.Name, cmd.Command[0],
			strings.Join(slices.Sorted(maps.Keys(r.Funcs)), ", "))
	case len(unhonoured(cmd)) > 0:
		return no(contracts.RunnerStartFailed, "host %s cannot give agent %s %s: its agents are goroutines of one program; remove these settings, or run the agent as a process",
			r.Name, cmd.Agent, strings.Join(unhonoured(cmd), ", "))
	case r.living >= r.Capacity || known == nil && len(r.agents) >= maxHostNames:
		return no(contracts.RunnerFull, "host %s runs %d agents and knows %d; it takes %d and remembers %d", r.Name, r.living, len(r.agents), r.Capacity, maxHostNames)
	}
	now := time.Now()
	a := &hosted{cmd: cmd, started: now.UTC(), began: now, abort: make(chan struct{}), done: make(chan struct{}), reported: make(chan struct{})}
	o := r.optionsFor(a)
	if err := o.withDefaults().Validate(); err != nil {
		return no(contracts.RunnerInvalid, "%v", err)
	}
	p := r.printing(cmd.Agent, cmd.Incarnation)
	o.Output, o.Log = p, r.logInto(p)
	r.agents[cmd.Agent] = a
	r.living++
	r.launch(a, f, o, p)
	return contracts.RunnerReply{Code: contracts.RunnerOK, Agent: cmd.Agent, Incarnation: cmd.Incarnation, Started: &a.started}
}

// launch runs the agent in a goroutine and another that reports on it. The
// report of its end comes after that of its start.
func (r *hosting) launch(a *hosted, f Func, o Options, p *printed) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.reports))
	a.cancel = cancel
	if a.cmd.Heartbeats == contracts.HeartbeatsByRunner {
		r.helpers.Go(func() { r.beatFor(a, o.withDefaults().HeartbeatInterval) })
	}
	go pprof.Do(ctx, pprof.Labels(labelAgent, a.cmd.Agent), func(ctx context.Context) { r.call(ctx, a, f, o, p) })
	r.helpers.Go(func() {
		r.report(r.startedEvent(a))
		if reason, verdict := r.attend(a, p); reason != "" {
			r.tellUnwell(a, reason, verdict)
		}
		<-a.done
		a.lost = !r.report(r.endedEvent(a))
		close(a.reported)
	})
}

// call runs the agent's function, and notes how it ended.
func (r *hosting) call(ctx context.Context, a *hosted, f Func, o Options, p *printed) {
	catch(func() error { return f(ctx, o) }, func(err error) {
		a.cancel()
		exit := exitOf(err)
		p.end(exit.Tail)
		r.mu.Lock()
		a.err, a.exit = err, exit
		a.exit.Lived = contracts.Duration(time.Since(a.began).Round(10 * time.Millisecond))
		switch {
		case a.order != nil:
			a.exit.Blame = contracts.BlameOrder
		case r.stopping: // however it ends: many return ctx.Err()
			a.exit.Blame = contracts.BlameHost
		}
		r.living--
		r.mu.Unlock()
		close(a.done)
	})
}

// beatFor beats for an agent that does not itself, as long as it lives.
func (r *hosting) beatFor(a *hosted, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	h := contracts.Heartbeat{
		Incarnation: a.cmd.Incarnation, Interval: contracts.Duration(interval), Type: a.cmd.Type,
		Capabilities: a.cmd.Capabilities, Capacity: a.cmd.Capacity, Status: contracts.StatusRunning, Runner: r.Name,
	}
	for a.alive() {
		h.Seq++
		r.publish(contracts.HeartbeatSubject(a.cmd.Agent), h)
		select {
		case <-ticker.C:
		case <-a.done:
		}
	}
}

// stop ends every incarnation up to the one named, and remembers that this one
// must not start any more.
func (r *hosting) stop(cmd contracts.StopCommand) contracts.RunnerReply {
	reply := contracts.RunnerReply{Code: contracts.RunnerOK, Agent: cmd.Agent, Incarnation: cmd.Incarnation}
	r.mu.Lock()
	a := r.agents[cmd.Agent]
	switch {
	case a == nil, a.exit != nil && a.cmd.Incarnation < cmd.Incarnation:
		if a != nil || len(r.agents) < maxHostNames {
			r.agents[cmd.Agent] = neverStarted(cmd)
		}
		r.mu.Unlock()
		return reply
	case a.cmd.Incarnation > cmd.Incarnation, a.exit != nil:
		reply.Incarnation, reply.Exit = a.cmd.Incarnation, a.exit
		if a.cmd.Incarnation > cmd.Incarnation {
			reply.Exit = nil
		}
		r.mu.Unlock()
		return reply
	}
	if a.order == nil {
		a.order = &cmd
	}
	r.mu.Unlock()

	stopped := a.end(cmd.Timeout.D(), cmd.Kill)
	r.mu.Lock()
	defer r.mu.Unlock()
	reply.Incarnation, reply.Exit = a.cmd.Incarnation, a.exit
	if !stopped {
		reply.Code = contracts.RunnerNotStopped
		reply.Error = fmt.Sprintf("agent %s, incarnation %d: its goroutine has not ended, and a goroutine cannot be killed; "+
			"no other incarnation will start on host %s before it has; end the host's process to be rid of it", a.cmd.Agent, a.cmd.Incarnation, r.Name)
	}
	return reply
}

// neverStarted stands for an incarnation that was stopped before its start
// came, so that a late start of it is refused.
func neverStarted(cmd contracts.StopCommand) *hosted {
	now := time.Now().UTC()
	a := &hosted{
		cmd:     contracts.StartCommand{Agent: cmd.Agent, Incarnation: cmd.Incarnation},
		started: now, cancel: func() {}, abort: make(chan struct{}), done: make(chan struct{}), reported: make(chan struct{}),
		order: &cmd, exit: &contracts.Exit{Code: 0, Blame: contracts.BlameOrder, At: now, Tail: "stopped before it was started"},
	}
	close(a.done)
	close(a.reported)
	return a
}

func exitOf(err error) *contracts.Exit {
	exit := &contracts.Exit{At: time.Now().UTC()}
	var panicked *PanicError
	switch {
	case err == nil:
	case errors.As(err, &panicked):
		exit.Code = exitUsage // as a Go process that panics
		// The message is the last line, as in the output of a process.
		message := "\n" + contracts.Clip(panicked.Error(), 512)
		exit.Tail = contracts.Clip(panicked.Stack, contracts.MaxOutputTail-len(message)) + message
	default:
		exit.Code = exitFailed
		exit.Tail = contracts.Clip(err.Error(), contracts.MaxOutputTail)
	}
	return exit
}

// report tries until the log has the event; it tells whether it has.
func (r *hosting) report(e contracts.Event, err error) bool {
	msg, merr := eventMessage(e)
	if err = errors.Join(err, merr); err == nil {
		err = publishEvent(r.reports, r.link.js, r.log, msg)
	}
	if err != nil {
		r.log.Error("event about an agent is lost", "agent", e.Entity, "type", e.Type, "error", err)
	}
	return err == nil
}

func (r *hosting) event(t contracts.EventType, a *hosted, at time.Time, stage string) *contracts.EventBuilder {
	return contracts.NewEvent("runner/"+r.Name, t, a.cmd.Agent, at).ID(r.eventID(a, stage))
}

func (r *hosting) eventID(a *hosted, stage string) string {
	return contracts.DerivedID(stage, r.Name, r.session, a.cmd.Agent, strconv.FormatUint(a.cmd.Incarnation, 10))
}

func (r *hosting) startedEvent(a *hosted) (contracts.Event, error) {
	c := a.cmd
	return r.event(contracts.AgentStarted, a, a.started, "agent.started").
		Causation(c.CausationID).Correlation(c.CorrelationID).
		Data(contracts.AgentStartedData{
			Agent: c.Agent, Incarnation: c.Incarnation, Runner: r.Name, Type: c.Type,
			Capabilities: c.Capabilities, Capacity: c.Capacity, Interval: c.HeartbeatInterval, StartDeadline: c.StartDeadline,
			ShutdownTimeout: c.ShutdownTimeout, Heartbeats: c.Heartbeats,
		}).Build()
}

// endedEvent says how the agent ended: as ordered, by itself, by failure, or
// because its host shuts down, which nobody ordered for the agent.
func (r *hosting) endedEvent(a *hosted) (contracts.Event, error) {
	r.mu.Lock()
	order, exit, err := a.order, a.exit, a.err
	r.mu.Unlock()
	ended := func(t contracts.EventType) *contracts.EventBuilder { return r.event(t, a, exit.At, "agent.ended") }
	stopped := contracts.AgentStoppedData{Agent: a.cmd.Agent, Incarnation: a.cmd.Incarnation, Runner: r.Name, Exit: exit}
	failed := contracts.AgentFailedData{
		Agent: a.cmd.Agent, Incarnation: a.cmd.Incarnation, Runner: r.Name, Type: a.cmd.Type, Exit: exit, Reason: contracts.ReasonExited,
	}
	var panicked *PanicError
	switch exit.Outcome() {
	case contracts.OutcomeRequested:
		stopped.Reason = contracts.StopRequested
		return ended(contracts.AgentStopped).Causation(order.CausationID).Correlation(order.CorrelationID).Data(stopped).Build()
	case contracts.OutcomeCompleted:
		stopped.Reason = contracts.StopCompleted
		return ended(contracts.AgentStopped).Data(stopped).Build()
	case contracts.OutcomeLost:
		failed.Reason, failed.Detail = contracts.ReasonHostLost, "its host, a Go program, is shutting down"
		if err != nil {
			failed.Detail = contracts.Clip(failed.Detail+"; it returned: "+err.Error(), 512)
		}
	case contracts.OutcomeFailed:
		failed.Detail = contracts.Clip(fmt.Sprint(err), 512)
		if errors.As(err, &panicked) {
			failed.Reason, failed.Detail = contracts.ReasonPanicked, contracts.Clip(fmt.Sprint(panicked.Value), 512)
		}
	}
	return ended(contracts.AgentFailed).Data(failed).Build()
}
