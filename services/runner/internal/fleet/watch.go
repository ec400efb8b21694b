package fleet

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// tailLines is how many of the last lines of output an exit event carries.
const tailLines = 20

// watch follows a process until it ends or the runner leaves; a.mu is held and
// the record is complete.
func (f *Fleet) watch(a *agent, p *process.Process) {
	a.proc, a.done = p, make(chan struct{})
	done, start, token := a.done, a.rec.Start, a.rec.Token
	f.wg.Go(func() {
		defer p.Close() // after done is closed, see end
		if err := p.Wait(f.ctx); err != nil {
			if f.ctx.Err() == nil {
				f.o.Log.Error("cannot watch agent; restart the runner to adopt it anew", "agent", a.name, "pid", p.Identity().PID, "error", err)
			}
			return
		}
		status := p.Reap()
		if !p.GroupGone() || f.o.Ledger.Free(a.name) != nil {
			f.confirm(a, token, p)
		}
		if f.ctx.Err() != nil {
			return // the successor confirms and reports
		}
		f.ended(a, status)
	})
	if start.Heartbeats == contracts.HeartbeatsByRunner {
		f.wg.Go(func() { f.beat(a, p, done, start) })
	}
}

// confirm ends what is left of an agent whose program has ended, however long
// that takes.
func (f *Fleet) confirm(a *agent, token string, p *process.Process) {
	for f.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(f.ctx, killPatience)
		err := f.sweep(ctx, a, token, p.Identity())
		if err == nil {
			cancel()
			return
		}
		<-ctx.Done()
		cancel()
		if f.ctx.Err() == nil {
			f.o.Log.Error("agent ended, but not all of it; trying on", "agent", a.name, "error", err)
		}
	}
}

// ended records that nothing of the agent lives, and tells.
func (f *Fleet) ended(a *agent, status process.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	exit := contracts.Exit{Code: status.Code, Unknown: !status.Known}
	if status.Signal != 0 {
		exit.Signal = unix.SignalName(status.Signal)
	}
	f.record(a, exit, "")
	f.release()
	close(a.done)
	a.proc = nil
	f.o.Notify(a.name)
}

// record writes an end down, with the output that came before it, and reports
// it. How names what ended it where that was not the agent. a.mu is held.
func (f *Fleet) record(a *agent, exit contracts.Exit, how string) {
	tail, err := output.Tail(f.o.Ledger.OutputPath(a.name), tailLines, contracts.MaxOutputTail)
	if err != nil {
		f.o.Log.Warn("no output for the exit event", "agent", a.name, "error", err)
	}
	exit.Tail, exit.At = tail, time.Now().UTC()
	if exit.Blame == contracts.BlameAgent && a.rec.Stop != nil {
		exit.Blame = contracts.BlameOrder
	}
	a.rec.State, a.rec.Exit = ledger.Exited, &exit
	kind, event := f.exitEvent(a.rec, how)
	f.tell(a, event)
	f.write(a)
	f.mu.Lock()
	f.strays = append(f.strays, a.rec.Token)
	f.mu.Unlock()
	f.o.Observe.Exit(kind)
	f.o.Log.Info("agent ended", "agent", a.name, "incarnation", a.rec.Incarnation(), "kind", kind,
		"code", exit.Code, "signal", exit.Signal, "unknown", exit.Unknown, "reason", how)
}

// beat speaks for an agent that does not beat itself, as long as its process
// is there and not stopped.
func (f *Fleet) beat(a *agent, p *process.Process, done <-chan struct{}, start contracts.StartCommand) {
	interval := start.HeartbeatInterval.D()
	if interval == 0 {
		interval = contracts.DefaultHeartbeatInterval
	}
	h := contracts.Heartbeat{
		Incarnation: start.Incarnation, Interval: contracts.Duration(interval), Type: start.Type,
		Capabilities: start.Capabilities, Capacity: start.Capacity, Status: contracts.StatusRunning,
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if p.Active() {
			h.Seq++
			f.o.Beat(a.name, h)
		}
		select {
		case <-tick.C:
		case <-done:
			return
		case <-f.ctx.Done():
			return
		}
	}
}
