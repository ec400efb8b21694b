package fleet

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// outputPath is where the output of an agent can be read; a.mu is held.
func (f *Fleet) outputPath(a *agent) string {
	if a.out != nil {
		return fmt.Sprintf("/proc/self/fd/%d", a.out.Fd())
	}
	return f.o.Ledger.OutputPath(a.name)
}

// findOutput finds the output of an adopted program that was removed with the
// state directory: the program still writes to it. a.mu is held.
func (f *Fleet) findOutput(a *agent) {
	file := procfs.Stat{PID: a.rec.Process.PID}.Descriptor(unix.Stdout)
	if target, err := os.Readlink(file); err != nil || target != f.o.Ledger.OutputPath(a.name)+" (deleted)" {
		return
	}
	out, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		f.o.Log.Warn("output of an adopted agent is lost", "agent", a.name, "error", err)
		return
	}
	a.out = out
}

func (f *Fleet) trimOutput() {
	for _, a := range f.all() {
		a.mu.Lock()
		path, live := f.outputPath(a), a.rec.Live()
		a.mu.Unlock()
		if !live {
			continue
		}
		if err := output.Trim(path, f.o.MaxOutput); err != nil {
			f.o.Log.Warn("output not bounded", "agent", a.name, "error", err)
		}
	}
}
