//go:build !linux

package process

import (
	"context"
	"errors"
	"syscall"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// LockFD is the file descriptor at which the program finds its lock.
const LockFD = 3

var errLinux = errors.New("agents as processes need Linux (pidfd, /proc); run the runner there and everything else here")

// Process is a running program. There are none where there is no Linux.
type Process struct{}

// Start fails.
func Start(Command) (*Process, error) { return nil, errLinux }

// Lookup fails.
func Lookup(string, string, []string) (string, error) { return "", errLinux }

// Adopt fails.
func Adopt(Identity) (*Process, error) { return nil, errLinux }

// CurrentEpoch fails.
func CurrentEpoch() (Epoch, error) { return "", errLinux }

// Signal fails.
func Signal(procfs.Stat, syscall.Signal) error { return errLinux }

// WaitGone returns at once.
func WaitGone(context.Context, []procfs.Stat) {}

// KillHolders fails.
func KillHolders(context.Context, ...string) error { return errLinux }

// Census finds nothing.
type Census struct{}

// NewCensus makes a census that finds nothing.
func NewCensus(...string) *Census { return &Census{} }

// NewCensusOfOrphans makes a census that finds nothing.
func NewCensusOfOrphans(func() []int, func(pid int) bool, ...string) *Census { return &Census{} }

// BecomeReaper fails.
func BecomeReaper() error { return errLinux }

// AnyZombie finds none.
func AnyZombie() bool { return false }

// ReapOrphans reaps nothing.
func ReapOrphans(func(pid int) bool) int { return 0 }

// ReapZombies reaps nothing.
func ReapZombies(func(pid int) bool) int { return 0 }

// Take returns an empty snapshot.
func (*Census) Take() *Snapshot { return &Snapshot{} }

// Snapshot is empty.
type Snapshot struct{}

// Tree names all processes of one start of a program.
type Tree struct {
	Leader     Identity
	Mark, Lock string
	Known      []procfs.Stat
	Narrow     bool
}

// Marked returns nothing.
func (*Snapshot) Marked() map[string][]procfs.Process { return nil }

// Of returns nothing.
func (*Snapshot) Of(Tree) []procfs.Stat { return nil }

// Identity names nothing.
func (*Snapshot) Identity(procfs.Stat) Identity { return Identity{} }

// The methods of Process are never reached.

func (*Process) Identity() Identity          { return Identity{} }
func (*Process) Wait(context.Context) error  { return errLinux }
func (*Process) Signal(syscall.Signal) error { return errLinux }
func (*Process) Active() bool                { return false }
func (*Process) Reap() Status                { return Status{Code: -1} }
func (*Process) Close() error                { return nil }

// ReapedBy does nothing.
func (*Process) ReapedBy(func() (Status, bool)) {}
