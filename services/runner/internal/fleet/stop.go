package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// killPatience is how long SIGKILL may take; more means a process that the
// kernel cannot end now, such as one waiting for a dead disk.
const killPatience = 10 * time.Second

// Stop carries out a valid stop command and answers when the end is confirmed
// or cannot be. Repeating it is harmless, and a repetition may be harder than
// the first (kill, a shorter timeout). The end goes on if ctx ends first.
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
	f.order(a, cmd)
	p, done := a.proc, a.done
	timeout := cmp.Or(cmd.Timeout.D(), a.rec.Start.ShutdownTimeout.D(), contracts.DefaultShutdownTimeout)
	a.mu.Unlock()

	f.o.Log.Info("stopping agent", "agent", a.name, "incarnation", cmd.Incarnation, "pid", p.Identity().PID, "kill", cmd.Kill, "timeout", timeout)
	if err := end(ctx, p, done, timeout, cmd.Kill); err != nil {
		f.o.Log.Warn("agent not stopped", "agent", a.name, "incarnation", cmd.Incarnation, "error", err)
		reply := ok(cmd)
		reply.Code, reply.Error = contracts.RunnerNotStopped, fmt.Sprintf("agent %s: %v", a.name, err)
		if f.ctx.Err() != nil || ctx.Err() != nil {
			reply.Code = contracts.RunnerStopping
		}
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
// requested even if this runner does not live to see it; a.mu is held.
func (f *Fleet) order(a *agent, cmd contracts.StopCommand) {
	if a.rec.Stop != nil && a.rec.Stop.Incarnation >= cmd.Incarnation && (a.rec.Stop.Kill || !cmd.Kill) {
		return
	}
	a.rec.Stop = &cmd
	a.rec.Highest = max(a.rec.Highest, cmd.Incarnation)
	f.write(a)
}

// stopEnded handles a stop for an agent without a process: a start that comes
// after it must not succeed, and whatever still holds its lock must end. a.mu
// is held.
func (f *Fleet) stopEnded(ctx context.Context, a *agent, cmd contracts.StopCommand) contracts.RunnerReply {
	if cmd.Incarnation > a.rec.Highest || cmd.Incarnation == a.rec.Highest && a.rec.State == ledger.Idle {
		f.order(a, cmd)
	}
	if err := f.o.Ledger.Free(a.name); errors.Is(err, ledger.ErrHeld) {
		ctx, cancel := context.WithTimeout(ctx, killPatience)
		defer cancel()
		if err := f.sweep(ctx, a, a.rec.Token, process.Identity{}); err != nil {
			reply := ok(cmd)
			reply.Code, reply.Error = contracts.RunnerNotStopped, err.Error()
			return reply
		}
	}
	return stopped(a.rec, cmd)
}

// end asks the process to end, then kills it, and returns when done is closed.
func end(ctx context.Context, p *process.Process, done <-chan struct{}, timeout time.Duration, kill bool) error {
	signal := func(send func() error) error {
		if err := send(); err != nil && !closed(done) {
			return err
		}
		return nil
	}
	if !kill {
		if err := signal(p.Terminate); err != nil {
			return err
		}
		if err := wait(ctx, done, timeout); err == nil || ctx.Err() != nil {
			return err
		}
	}
	if err := signal(p.Kill); err != nil {
		return err
	}
	if err := wait(ctx, done, killPatience); err != nil {
		return fmt.Errorf("its end is not confirmed: %w", err)
	}
	return nil
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func wait(ctx context.Context, done <-chan struct{}, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("not within %s", patience)
	}
}

// StopAll ends every agent, all at once, each within its own shutdown timeout.
func (f *Fleet) StopAll(ctx context.Context) error {
	f.Refuse()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, v := range f.List() {
		if v.State == contracts.AgentExited {
			continue
		}
		wg.Go(func() {
			reply := f.Stop(ctx, contracts.StopCommand{Agent: v.Agent, Incarnation: v.Incarnation})
			if reply.Code != contracts.RunnerOK {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, errors.New(reply.Error))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
