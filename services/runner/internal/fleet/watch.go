package fleet

import (
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// watch follows a process until all of it has ended or the runner leaves; a.mu
// is held and the record is complete.
func (f *Fleet) watch(a *agent, p *process.Process) {
	f.setProgram(p, true)
	a.live(p)
	done, start := a.done, a.rec.Start
	f.wg.Go(func() {
		defer p.Close()
		if err := p.Wait(f.ctx); err != nil {
			if f.ctx.Err() == nil {
				f.o.Log.Error("cannot watch agent; restart the runner to adopt it again", "agent", a.name, "pid", p.Identity().PID, "error", err)
			}
			return
		}
		exit := p.Reap().Exit()
		exit.Lived = contracts.Duration(p.Identity().Age())
		f.setProgram(p, false)
		a.mu.Lock()
		a.gone(exit, "")
		ending := a.ending
		a.ending = true
		a.mu.Unlock()
		if !ending {
			f.end(a, p)
			return
		}
		a.nudge()
		select { // the end uses p
		case <-done:
		case <-f.ctx.Done():
		}
	})
	well := f.attend(a, p, done, start)
	if start.Heartbeats == contracts.HeartbeatsByRunner {
		f.wg.Go(func() { f.beat(a, p, done, start, well) })
	}
	switch { // a predecessor's end, to be continued
	case a.rec.Stop != nil:
		a.bind(procfs.Ticks() + procfs.ToTicks(grace(a.rec, a.rec.Stop.Timeout.D())))
		f.goEnd(a)
	case a.rec.Cut != "":
		f.goEnd(a)
	}
}

// live makes an agent one of which something lives, the program itself or, with
// nil, what it left. a.mu is held.
func (a *agent) live(p *process.Process) {
	a.proc, a.done, a.poke, a.ending = p, make(chan struct{}), make(chan struct{}, 1), false
	a.unwell = ""
}

// gone records that the program of an agent has ended; what it started may live.
// Host is what has happened to its host, where that ended it. a.mu is held.
func (a *agent) gone(exit contracts.Exit, host string) {
	exit.Health = a.unwell
	if exit.At.IsZero() {
		exit.At = time.Now().UTC()
	}
	exit.Blame, a.rec.How = blame(a.rec, host)
	a.rec.State, a.rec.Exit = ledger.Leaving, &exit
}

// ended records that nothing of an agent that was counted lives.
func (f *Fleet) ended(a *agent) {
	a.mu.Lock()
	token, exit := a.rec.Token, *a.rec.Exit
	a.mu.Unlock()
	if exit.Used == nil { // its parent knows, or will in a moment
		exit.Used = f.o.Reaper.Used(token)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rec.Exit = &exit
	f.record(a)
	f.release()
	close(a.done)
	a.proc = nil
	f.o.Notify(a.name)
}

// record writes down that nothing of an agent whose program has ended lives,
// with the output that came before, and reports it. a.mu is held.
func (f *Fleet) record(a *agent) {
	exit := *a.rec.Exit
	exit.Tail = f.endOutput(a)
	exit.OutOfMemory = f.ungroup(a.rec)
	a.rec.State, a.rec.Exit, a.rec.Ending = ledger.Exited, &exit, nil
	outcome, event := f.exitEvent(a.rec)
	f.noteEnd(a, outcome == contracts.OutcomeFailed)
	f.tell(a, event)
	f.write(a)
	f.o.Observe.Exit(outcome)
	f.o.Log.Info("agent ended", "agent", a.name, "incarnation", a.rec.Incarnation(), "kind", outcome,
		"code", exit.Code, "signal", exit.Signal, "unknown", exit.Unknown, "out_of_memory", exit.OutOfMemory, "reason", a.rec.How)
}

// beat speaks for an agent that does not beat itself, as long as its process
// is there and not stopped. One that is checked is not spoken for before it is well.
func (f *Fleet) beat(a *agent, p *process.Process, done <-chan struct{}, start contracts.StartCommand, well <-chan struct{}) {
	interval := start.HeartbeatInterval.D()
	if interval == 0 {
		interval = contracts.DefaultHeartbeatInterval
	}
	h := contracts.Heartbeat{
		Incarnation: start.Incarnation, Interval: contracts.Duration(interval), Type: start.Type,
		Capabilities: start.Capabilities, Capacity: start.Capacity, Status: contracts.StatusRunning,
		Runner: f.o.Runner,
	}
	if well != nil {
		select {
		case <-well:
		case <-done:
			return
		case <-f.ctx.Done():
			return
		}
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
