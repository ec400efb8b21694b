package fleet

import (
	"errors"
	"fmt"
	"os"

	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/reaper"
)

// errUncertain tells that a program may have run: its reaper ended amid the start.
var errUncertain = errors.New("its parent process was killed while starting it")

// fork starts a program, and makes it known before it can be taken for an
// orphan. a.mu is held, and the record says that it is starting.
func (f *Fleet) fork(a *agent, c process.Command) (p *process.Process, err error) {
	f.forks.RLock()
	defer f.forks.RUnlock()
	if a.child = f.o.Reaper == nil && f.o.SubReaper; f.o.Reaper == nil {
		p, err = process.Start(c)
	} else {
		p, err = f.o.Reaper.Start(a.rec.Token, c)
	}
	if errors.Is(err, reaper.ErrLost) {
		p, err = f.findStarted(a)
	}
	if err == nil {
		f.setProgram(p, true)
	}
	return p, err
}

// findStarted looks for a program whose reaper was killed around its start.
func (f *Fleet) findStarted(a *agent) (*process.Process, error) {
	id, err := f.find(a, f.census.Take())
	if err == nil {
		var p *process.Process
		if p, err = process.Adopt(id); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", errUncertain, err)
}

// parents are the processes that have programs of this runner as children, and get
// what these leave behind: its reapers, or this process where it has none.
func (f *Fleet) parents() []int {
	if f.o.Reaper != nil {
		return f.o.Reaper.Roots()
	}
	return []int{os.Getpid()}
}

// hasParent reports whether the parent of an agent's program has lived so far, so
// that what the program left is below it. a.mu is held.
func (f *Fleet) hasParent(a *agent) bool { return a.child || f.o.Reaper.HasParent(a.rec.Token) }

// endedAway records the end of a program that the reaper has seen while there was
// no runner. Over is what has happened to the host or container since, if it is
// another now. a.mu is held.
func (f *Fleet) endedAway(a *agent, exit reaper.Exit, over string) {
	if a.rec.State == ledger.Starting {
		a.rec.Process = exit.Process
		f.tell(a, f.startedEvent(a.rec))
	}
	if !f.o.Reaper.InShutdown(exit) {
		over = "" // it ended before, by itself
	}
	a.gone(exit.Status().Exit(), over)
}

// forget takes what the reaper has of starts that no agent is at: their ends were
// told, or nothing is known of them. An agent that is at a start may have seen its
// end this moment, and not have written that down.
func (f *Fleet) forget() {
	current := map[string]bool{}
	for _, a := range f.all() {
		a.mu.Lock()
		current[a.rec.Token] = true
		a.mu.Unlock()
	}
	for _, token := range f.o.Reaper.Ended() {
		if !current[token] {
			f.o.Reaper.Taken(token)
		}
	}
}

// setProgram notes that the status of a program is to be collected, or was.
func (f *Fleet) setProgram(p *process.Process, is bool) { f.setPID(p.Identity().PID, is) }

func (f *Fleet) setPID(pid int, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if is {
		f.programs[pid] = true
	} else {
		delete(f.programs, pid)
	}
}

// program reports whether a pid is that of a program whose status is to be
// collected.
func (f *Fleet) program(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.programs[pid]
}

// reap reaps what agents left to this process.
func (f *Fleet) reap() {
	if !f.o.SubReaper || !process.AnyZombie() {
		return
	}
	f.forks.Lock()
	defer f.forks.Unlock()
	if n := process.ReapOrphans(f.program); n > 0 {
		f.o.Log.Debug("orphans reaped", "processes", n)
	}
}
