package fleet

import (
	"errors"
	"os"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/cgroup"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// grouped returns the limits of an agent that a cgroup holds it to.
func (f *Fleet) grouped(cmd contracts.StartCommand) cgroup.Limits {
	if cmd.Limits == nil {
		return cgroup.Limits{}
	}
	l := cgroup.Limits{Memory: cmd.Limits.Memory, CPU: cmd.Limits.CPU, Processes: cmd.Limits.Processes}
	if !f.o.Groups.Has(cgroup.Limits{Processes: l.Processes}) {
		l.Processes = 0 // then setrlimit(2) does
	}
	return l
}

// group is where the cgroup of a start is, "" if it has none.
func (f *Fleet) group(rec ledger.Record) string {
	if f.grouped(rec.Start) == (cgroup.Limits{}) {
		return ""
	}
	return f.o.Groups.Dir(rec.Agent, rec.Incarnation())
}

// ungroup removes the cgroup of a start of which nothing lives that this runner
// knows, with what hides in it, and reports whether it ran out of memory.
func (f *Fleet) ungroup(rec ledger.Record) (outOfMemory bool) {
	dir := f.group(rec)
	if dir == "" {
		return false
	}
	outOfMemory = cgroup.OutOfMemory(dir)
	if !rec.Start.LeaveChildren && !cgroup.Remove(dir) {
		f.o.Log.Warn("the cgroup of an agent that has ended cannot be removed", "agent", rec.Agent, "cgroup", dir)
	}
	return outOfMemory
}

// errRootProcesses refuses a limit that the kernel does not hold root to.
var errRootProcesses = errors.New("limits.processes: without a cgroup the kernel counts the processes of a user, and does not hold root to a limit; give the agent a user of its own, or the runner a cgroup with the pids controller")

// attributes returns what a program starts with that is not its runner's.
func (f *Fleet) attributes(cmd contracts.StartCommand, as *account) (process.Attributes, error) {
	e := cmd.Execution
	a := process.Attributes{Nice: e.Nice}
	uid := os.Geteuid()
	if as != nil {
		a.User, uid = &as.Credentials, as.UID
	}
	if e.Umask != "" {
		n, err := contracts.ParseUmask(e.Umask)
		if err != nil {
			return a, err
		}
		a.Umask = &n
	}
	l := e.Limits
	if l == nil {
		return a, nil
	}
	if l.OpenFiles > 0 {
		a.Limits = append(a.Limits, process.Limit{Resource: process.OpenFiles, Value: uint64(l.OpenFiles)})
	}
	if l.Core != nil {
		a.Limits = append(a.Limits, process.Limit{Resource: process.Core, Value: uint64(*l.Core)}) // -1 is process.Unlimited
	}
	if l.Processes > 0 && f.grouped(cmd).Processes == 0 {
		if uid == 0 {
			return a, errRootProcesses
		}
		a.Limits = append(a.Limits, process.Limit{Resource: process.Processes, Value: uint64(l.Processes)})
	}
	return a, nil
}
