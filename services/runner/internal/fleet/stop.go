package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Stop carries out a valid stop command and answers when the end of all of the
// agent's processes is confirmed or cannot be. A stop that is repeated, by
// whichever sender, sends no second signal and does not begin again. It can be
// harder than the first: kill, or a timeout that is over earlier. The end
// continues if ctx ends first.
func (f *Fleet) Stop(ctx context.Context, cmd contracts.StopCommand) contracts.RunnerReply {
	begin := time.Now()
	reply := f.stop(ctx, cmd)
	f.o.Observe.Stop(reply.Code, time.Since(begin))
	return reply
}

func (f *Fleet) stop(ctx context.Context, cmd contracts.StopCommand) contracts.RunnerReply {
	a := f.agent(cmd.Agent)
	if a == nil {
		return ok(cmd) // it cannot be started either
	}
	a.mu.Lock()
	if !a.rec.Live() {
		defer a.mu.Unlock()
		return f.stopEnded(ctx, a, cmd)
	}
	if a.rec.Incarnation() > cmd.Incarnation {
		defer a.mu.Unlock()
		return ok(cmd)
	}
	if a.done == nil {
		defer a.mu.Unlock()
		reply := ok(cmd)
		reply.Code, reply.Error = contracts.RunnerNotStopped, f.unwatched(a).Error()
		return reply
	}
	f.order(a, cmd)
	done, bound := a.done, a.rec.Ending.Bound
	a.mu.Unlock()

	if err := f.confirmed(ctx, done, bound); err != nil {
		reply := ok(cmd)
		reply.Code, reply.Error = contracts.RunnerNotStopped, fmt.Sprintf("agent %s: %v", a.name, err)
		if f.ctx.Err() != nil || ctx.Err() != nil {
			reply.Code = contracts.RunnerStopping // its end continues
			return reply
		}
		f.o.Log.Warn("agent not stopped", "agent", a.name, "incarnation", cmd.Incarnation, "error", err)
		return reply
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return stopped(a.rec, cmd)
}

func ok(cmd contracts.StopCommand) contracts.RunnerReply {
	return contracts.RunnerReply{Code: contracts.RunnerOK, Agent: cmd.Agent, Incarnation: cmd.Incarnation}
}

// stopped is the answer for an agent of which nothing lives.
func stopped(rec ledger.Record, cmd contracts.StopCommand) contracts.RunnerReply {
	reply := ok(cmd)
	if rec.State == ledger.Exited && rec.Incarnation() <= cmd.Incarnation {
		reply.Exit = rec.Exit
	}
	return reply
}

// order writes down that the agent is to end, so that its end counts as
// requested even if this runner does not live to see it, and begins the end.
// The end of an agent that has ended by itself is not requested any more, but
// can be hastened. a.mu is held.
func (f *Fleet) order(a *agent, cmd contracts.StopCommand) {
	changed := false
	if a.rec.Up() && harder(a.rec.Stop, cmd) {
		a.rec.Stop, changed = &cmd, true
	}
	if cmd.Incarnation > a.rec.Highest {
		a.rec.Highest, changed = cmd.Incarnation, true
	}
	timeout := grace(a.rec, cmd.Timeout.D())
	bound := procfs.Ticks() + procfs.ToTicks(timeout)
	switch e := a.rec.Ending; {
	case cmd.Kill:
		bound = 0
	case e != nil && cmd.Timeout == 0:
		bound = e.Bound // what was ordered first holds
	}
	if a.bind(bound) {
		changed = true
		f.o.Log.Info("stopping agent", "agent", a.name, "incarnation", cmd.Incarnation, "pid", a.rec.Process.PID, "kill", cmd.Kill, "timeout", timeout)
	}
	if changed {
		f.write(a)
		f.goEnd(a)
	}
}

// bind gives the end of an agent its bound, or an earlier one, and reports
// whether it did; a.mu is held.
func (a *agent) bind(bound uint64) bool {
	var e ledger.Ending
	if a.rec.Ending != nil {
		e = *a.rec.Ending
		if bound >= e.Bound {
			return false
		}
	}
	e.Bound = bound
	a.rec.Ending = &e
	return true
}

// harder reports whether an order says more than the one before.
func harder(before *contracts.StopCommand, cmd contracts.StopCommand) bool {
	return before == nil || before.Incarnation < cmd.Incarnation || cmd.Kill && !before.Kill
}

// stopEnded handles a stop for an agent without a process: a start that comes
// after it must not succeed, and whatever still holds its lock must end. a.mu
// is held.
func (f *Fleet) stopEnded(ctx context.Context, a *agent, cmd contracts.StopCommand) contracts.RunnerReply {
	if cmd.Incarnation > a.rec.Highest || cmd.Incarnation == a.rec.Highest && a.rec.State == ledger.Idle {
		if harder(a.rec.Stop, cmd) {
			a.rec.Stop = &cmd
		}
		a.rec.Highest = max(a.rec.Highest, cmd.Incarnation)
		f.write(a)
	}
	if err := f.freeLock(ctx, a.name); err != nil && !a.rec.Start.LeaveChildren {
		reply := ok(cmd)
		reply.Code, reply.Error = contracts.RunnerNotStopped, err.Error()
		return reply
	}
	return stopped(a.rec, cmd)
}

// freeLock kills what holds the lock of an agent of which nothing should live.
func (f *Fleet) freeLock(ctx context.Context, agent string) error {
	err := f.o.Ledger.Free(agent)
	if !errors.Is(err, ledger.ErrHeld) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	if err := process.KillHolders(ctx, f.o.Ledger.LockPath(agent)); err != nil {
		return fmt.Errorf("agent %s: %w", agent, err)
	}
	return f.o.Ledger.Free(agent)
}

// confirmed waits until all of an agent has ended. It gives up when that does
// not come within killPatience after the bound.
func (f *Fleet) confirmed(ctx context.Context, done <-chan struct{}, bound uint64) error {
	now := procfs.Ticks()
	timer := time.NewTimer(procfs.FromTicks(max(bound, now)-now) + killPatience)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ctx.Done():
		return errLeft
	case <-timer.C:
		return fmt.Errorf("its end is not confirmed: not within %s after SIGKILL", killPatience)
	}
}

// unwatched is the error about an agent that could not be taken over. A runner that
// has one ends.
func (f *Fleet) unwatched(a *agent) error {
	return fmt.Errorf("agent %s: runner %s does not watch it", a.name, f.o.Runner)
}

// errLeft tells that the runner leaves its agents alone.
var errLeft = errors.New("the runner ends; its successor continues")
