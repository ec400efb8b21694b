//go:build !linux

package process

import (
	"context"
	"errors"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// LockFD is the file descriptor at which the program finds its lock.
const LockFD = 3

var errLinux = errors.New("agents as processes need Linux (pidfd, /proc); run the runner there and everything else here")

// Process is a running program. There are none where there is no Linux.
type Process struct{}

// Start fails.
func Start(Command) (*Process, error) { return nil, errLinux }

// Adopt fails.
func Adopt(Identity) (*Process, error) { return nil, errLinux }

// Find fails.
func Find(string, ...string) (Identity, error) { return Identity{}, errLinux }

// CurrentEpoch fails.
func CurrentEpoch() (Epoch, error) { return "", errLinux }

// Sweep fails.
func Sweep(context.Context, Identity, ...string) error { return errLinux }

// Remains fails.
func Remains(Identity, ...string) ([]procfs.Stat, error) { return nil, errLinux }

// KillMarked fails.
func KillMarked(...string) (int, error) { return 0, errLinux }

// The methods of Process are never reached.

func (*Process) Identity() Identity         { return Identity{} }
func (*Process) Wait(context.Context) error { return errLinux }
func (*Process) Terminate() error           { return errLinux }
func (*Process) Kill() error                { return errLinux }
func (*Process) Active() bool               { return false }
func (*Process) Reap() Status               { return Status{Code: -1} }
func (*Process) GroupGone() bool            { return true }
func (*Process) Close() error               { return nil }
