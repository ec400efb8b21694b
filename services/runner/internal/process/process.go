// Package process starts, watches and ends the operating-system processes that
// agents are made of.
//
// Each program runs in a session and process group of its own, writes to a
// FIFO that it has open for reading too, and inherits an open lock. So it does not notice
// when its runner dies, it can be found and watched by the next runner, and a
// second copy can be refused as long as anything of it lives. A watched
// process costs a descriptor and a goroutine, no thread.
//
// The package needs Linux 5.4; exact group signals need 6.9, and the exit
// status of adopted processes 6.15 (before, it may read unknown).
package process

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// ErrGone tells that a process no longer runs.
var ErrGone = errors.New("process gone")

// ErrNotFound tells that no directory of the PATH has a program.
var ErrNotFound = errors.New("not found")

// Identity names one process for good: pids are reused, pids with start times
// within one boot and pid namespace are not.
type Identity struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // clock ticks since boot
	// Epoch is that in which the other two count.
	Epoch Epoch `json:"epoch"`
}

// Age is how long ago the process was started, whatever the clock was set to
// meanwhile, and at least a clock tick. It must be of this boot.
func (id Identity) Age() time.Duration {
	now := procfs.Ticks()
	return procfs.FromTicks(max(1, now-min(now, id.StartTime)))
}

// Command is a program to start. It travels to the reaper as JSON, see package
// reaper.
type Command struct {
	Argv   []string `json:"-"` // program and arguments; no shell sees them
	Env    []string `json:"-"` // KEY=VALUE; nothing of the runner's is added
	Dir    string   // working directory, absolute
	Output *os.File `json:"-"` // stdout and stderr; must not break when the runner dies
	Lock   *os.File `json:"-"` // locked by the caller; becomes LockFD
	// Foreground gives the program what this process has itself, instead of Output,
	// Lock and a session of its own: standard input, output and error, all that this
	// process was started with, terminal and process group.
	Foreground bool `json:"-"`
	Attributes
}

// Status is how a program ended.
type Status struct {
	Known  bool
	Code   int            // exit code; -1 when a signal ended it or it is not known
	Signal syscall.Signal // 0 when it exited by itself
	Core   bool           // it left a core dump
	// At is when it ended, where another process has seen that; or zero.
	At time.Time
	// Lived is for how long it ran, where another process has measured that; or 0.
	Lived time.Duration
	// Used is what it used, nil where only another process can know.
	Used *contracts.Resources
}

// Exit is the status as it is reported.
func (s Status) Exit() contracts.Exit {
	exit := contracts.Exit{Code: s.Code, Unknown: !s.Known, Core: s.Core, At: s.At, Lived: contracts.Duration(s.Lived), Used: s.Used}
	if s.Signal != 0 {
		exit.Signal = unix.SignalName(s.Signal)
	}
	return exit
}

// WaitStatus is the status that wait(2) reports.
func WaitStatus(ws syscall.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Known: true, Code: -1, Signal: ws.Signal(), Core: ws.CoreDump()}
	}
	return Status{Known: true, Code: ws.ExitStatus()}
}

var unknownStatus = Status{Code: -1}
