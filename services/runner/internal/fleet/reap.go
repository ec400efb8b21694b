package fleet

import "github.com/mistersmith/mistersmith/services/runner/internal/process"

// fork starts a program, and makes it known before it can be taken for an
// orphan.
func (f *Fleet) fork(c process.Command) (*process.Process, error) {
	f.forks.RLock()
	defer f.forks.RUnlock()
	p, err := process.Start(c)
	if err == nil {
		f.setProgram(p, true)
	}
	return p, err
}

// setProgram notes that the status of a program is to be collected, or was.
func (f *Fleet) setProgram(p *process.Process, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if is {
		f.programs[p.Identity().PID] = true
	} else {
		delete(f.programs, p.Identity().PID)
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
	if !f.o.Reaper || !process.AnyZombie() {
		return
	}
	f.forks.Lock()
	defer f.forks.Unlock()
	if n := process.ReapOrphans(f.program); n > 0 {
		f.o.Log.Debug("orphans reaped", "processes", n)
	}
}
