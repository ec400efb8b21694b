package fleet

import (
	"errors"
	"os"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// errRootProcesses refuses a limit that the kernel does not hold root to.
var errRootProcesses = errors.New("limits.processes: the kernel counts the processes of a user, and does not hold root to a limit; give the agent a user of its own")

// attributes returns what a program starts with that is not its runner's.
func attributes(e contracts.Execution, as *account) (process.Attributes, error) {
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
	if l.Processes > 0 {
		if uid == 0 {
			return a, errRootProcesses
		}
		a.Limits = append(a.Limits, process.Limit{Resource: process.Processes, Value: uint64(l.Processes)})
	}
	return a, nil
}
