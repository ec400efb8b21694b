package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/cgroup"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// killPatience is how long SIGKILL may take; more means a process that the
// kernel cannot end now, such as one waiting for a dead disk.
const killPatience = 10 * time.Second

// end ends all of an agent: the program, if it lives, and what it has started.
// Each process gets one stop signal and all have the same time; what is left
// then is killed. It returns when nothing is left and that is recorded, or when
// the runner leaves its agents alone. One end runs for an agent at a time.
func (f *Fleet) end(a *agent, p *process.Process) {
	complain := time.Now().Add(killPatience)
	var left []procfs.Stat
	for f.ctx.Err() == nil {
		a.mu.Lock()
		rec := a.rec
		a.mu.Unlock()
		// Only what is looked for after the program has ended is all of it.
		var err error
		left, err = f.look(a, rec, left)
		if err == nil && !rec.Up() && len(left) == 0 {
			f.ended(a)
			return
		}
		wait, killed, sent := f.press(a, p, left)
		if err = errors.Join(err, sent); killed && time.Now().After(complain) {
			complain = time.Now().Add(killPatience)
			f.o.Log.Error("agent does not end after SIGKILL, or not all of it; trying on",
				"agent", a.name, "incarnation", rec.Incarnation(), "processes", len(left), "error", err)
		}
		f.pause(a, rec, left, wait)
	}
}

// look returns what lives of an agent.
func (f *Fleet) look(a *agent, rec ledger.Record, known []procfs.Stat) ([]procfs.Stat, error) {
	hasParent := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return f.hasParent(a)
	}
	if !rec.Up() && hasParent() {
		// Mostly nothing is left, and that is soon known.
		if left, err := f.left(rec, f.orphans, known); hasParent() {
			return left, err
		}
	}
	return f.left(rec, f.census, known)
}

// press sends what is due to the processes that are left of an agent. It
// returns how long the next look can wait.
func (f *Fleet) press(a *agent, p *process.Process, left []procfs.Stat) (wait time.Duration, killed bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := procfs.Ticks()
	if a.rec.Ending == nil { // the program ended by itself
		a.rec.Ending = &ledger.Ending{Bound: now + procfs.ToTicks(grace(a.rec, 0))}
	}
	e := *a.rec.Ending
	whom, kill := due(e, a.rec.Up(), left, now)
	if kill {
		const again = time.Second
		if dir := f.group(a.rec); dir != "" && !a.rec.Start.LeaveChildren {
			cgroup.Kill(dir)
		}
		return again, true, signal(p, a.rec, whom, unix.SIGKILL)
	}
	if len(whom) > 0 {
		if !a.rec.Up() {
			f.o.Log.Info("ending what an agent left behind", "agent", a.name, "incarnation", a.rec.Incarnation(),
				"processes", len(whom), "first", whom[0].PID, "timeout", procfs.FromTicks(e.Bound-now))
		}
		err = signal(p, a.rec, whom, stopSignal(a.rec))
		e.Signalled = procfs.Ticks()
		a.rec.Ending = &e
		f.write(a)
	}
	return procfs.FromTicks(e.Bound - now + 1), false, err
}

// due returns which of the processes that are left of an agent are to be
// signalled now: killed when their time is over, else told to end. While the
// program lives it alone decides about what it starts meanwhile.
func due(e ledger.Ending, up bool, left []procfs.Stat, now uint64) (whom []procfs.Stat, kill bool) {
	switch {
	case now >= e.Bound:
		return left, true
	case e.Signalled == 0:
		return left, false
	case up:
		return nil, false
	}
	for _, s := range left {
		if s.StartTime > e.Signalled {
			whom = append(whom, s)
		}
	}
	return whom, false
}

// signal sends a signal once to each process: to the program's group at once,
// so that none of it is missed, and to each process outside.
func signal(p *process.Process, rec ledger.Record, whom []procfs.Stat, sig unix.Signal) (err error) {
	group := p != nil && rec.Up()
	if group {
		err = p.Signal(sig)
	}
	for _, s := range whom {
		if !group || s.Group != rec.Process.PID {
			err = errors.Join(err, process.Signal(s, sig))
		}
	}
	return err
}

// left returns what lives of an agent's start. Known is what was found before.
func (f *Fleet) left(rec ledger.Record, census *process.Census, known []procfs.Stat) ([]procfs.Stat, error) {
	if rec.Start.LeaveChildren { // what it detached is not to be ended
		return census.Take().Of(process.Tree{Leader: rec.Process, Narrow: true}), nil
	}
	lock := f.o.Ledger.LockPath(rec.Agent)
	found := census.Take().Of(process.Tree{Leader: rec.Process, Mark: rec.Token, Lock: lock, Known: known})
	if len(found) > 0 {
		return found, nil
	}
	err := f.o.Ledger.Free(rec.Agent)
	if !errors.Is(err, ledger.ErrHeld) {
		return nil, err
	}
	// By one that has it under another number, and nothing else of the agent.
	if found, err = procfs.Holders(lock); err == nil && len(found) == 0 {
		if err = f.o.Ledger.Free(rec.Agent); err != nil {
			err = fmt.Errorf("agent %s: %w, by a process that this runner may not see; end it by hand: fuser -k %s", rec.Agent, err, lock)
		}
	}
	return found, err
}

// pause waits until there may be something to do: the program, or else all that
// it left, has ended, time is over or was cut short, or the runner leaves.
func (f *Fleet) pause(a *agent, rec ledger.Record, left []procfs.Stat, wait time.Duration) {
	ctx, cancel := context.WithTimeout(f.ctx, wait)
	defer cancel()
	var gone chan struct{}
	if !rec.Up() && len(left) > 0 {
		gone = make(chan struct{})
		go func() {
			defer close(gone)
			process.WaitGone(ctx, left)
		}()
	}
	select {
	case <-gone:
		return
	case <-a.poke:
	case <-ctx.Done():
	}
	cancel()
	if gone != nil {
		<-gone
	}
}

// goEnd has the end of an agent carried out, or looked at again; a.mu is held.
func (f *Fleet) goEnd(a *agent) {
	if a.ending {
		a.nudge()
		return
	}
	a.ending = true
	p := a.proc
	f.wg.Go(func() { f.end(a, p) })
}

// nudge makes the end of an agent look again.
func (a *agent) nudge() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// grace is how long an agent may take to end, where an order does not say.
func grace(rec ledger.Record, ordered time.Duration) time.Duration {
	return cmp.Or(ordered, rec.Start.ShutdownTimeout.D(), contracts.DefaultShutdownTimeout)
}

func stopSignal(rec ledger.Record) unix.Signal {
	return cmp.Or(unix.SignalNum(string(rec.Start.StopSignal)), unix.SIGTERM)
}
