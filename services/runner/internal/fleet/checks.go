package fleet

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// censusOfChecks finds what commands that check agents leave behind: it becomes this
// process's, if that is a sub-reaper.
func (f *Fleet) censusOfChecks() *process.Census {
	if !f.o.SubReaper {
		return process.NewCensus(ledger.CheckVars()...)
	}
	self := []int{os.Getpid()}
	skip := func(pid int) bool { return f.program(pid) || slices.Contains(f.o.Reaper.Roots(), pid) }
	return process.NewCensusOfOrphans(func() []int { return self }, skip, ledger.CheckVars()...)
}

// runCheck runs a command that checks an agent. Its status is collected here: the
// command is known before it can be taken for an orphan.
func (f *Fleet) runCheck(cmd *exec.Cmd) error {
	f.forks.RLock()
	err := cmd.Start()
	if err == nil {
		f.setPID(cmd.Process.Pid, true)
	}
	f.forks.RUnlock()
	if err != nil {
		return err
	}
	defer f.setPID(cmd.Process.Pid, false)
	return cmd.Wait()
}

// endCheck kills what a command that checks an agent has left behind, whatever its
// session and group. It waits no longer than killPatience.
func (f *Fleet) endCheck(agent, mark string) {
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	for {
		left := f.checked.Take().Of(process.Tree{Mark: mark})
		if len(left) == 0 {
			return
		}
		for _, s := range left {
			if err := process.Signal(s, unix.SIGKILL); err != nil {
				f.o.Log.Warn("what a health check left behind is not ended", "agent", agent, "pid", s.PID, "error", err)
				return
			}
		}
		process.WaitGone(ctx, left)
		if ctx.Err() != nil {
			f.o.Log.Warn("what a health check left behind does not end after SIGKILL", "agent", agent, "pid", left[0].PID)
			return
		}
	}
}

// endChecks kills what checks of a predecessor left behind that was killed amid
// them.
func (f *Fleet) endChecks() {
	space, err := procfs.PIDNamespace()
	if err != nil {
		return
	}
	for _, p := range procfs.Scan(procfs.Look{Vars: ledger.CheckVars()}) {
		if !f.o.Ledger.IsCheck(p.Vars) || strings.HasPrefix(p.Vars[ledger.CheckVar], f.id) {
			continue
		}
		// A container may have a state directory of the same name.
		if there, err := procfs.Namespace(p.PID); err != nil || there != space {
			continue
		}
		if err := process.Signal(p.Stat, unix.SIGKILL); err != nil {
			f.o.Log.Warn("what a health check left behind is not ended", "pid", p.PID, "error", err)
		}
	}
}
