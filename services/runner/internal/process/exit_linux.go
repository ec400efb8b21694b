package process

import (
	"errors"
	"math"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// exitStatus finds out how an ended process ended: by reaping it when it is a
// child, otherwise by asking the kernel.
func exitStatus(pidfd int, id Identity) Status {
	err := ignoringEINTR(func() error {
		return unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	})
	if err == nil {
		// It is our zombie, so its number is still its own.
		var ws unix.WaitStatus
		var usage unix.Rusage
		err = ignoringEINTR(func() error {
			_, err := unix.Wait4(id.PID, &ws, 0, &usage)
			return err
		})
		if err == nil {
			status := WaitStatus(syscall.WaitStatus(ws))
			status.Used = used(&usage)
			return status
		}
	}
	return orphanStatus(pidfd, id)
}

// orphanStatus asks for the status of a process that is another's to reap. The
// kernel tells once it is reaped, which the init process mostly does at once.
func orphanStatus(pidfd int, id Identity) Status {
	const patience = 200 * time.Millisecond
	for wait := time.Millisecond; ; wait *= 2 {
		status, zombie := peekStatus(pidfd, id)
		if status.Known {
			return status
		}
		if !zombie || wait > patience {
			return unknownStatus
		}
		time.Sleep(wait)
	}
}

// peekStatus returns what can be known at once of how a process ended that is
// another's to reap. The zombie itself tells, but its 0 is also what a reader
// without permission is told, so a 0 is the kernel's to tell, once it is reaped.
func peekStatus(pidfd int, id Identity) (status Status, zombie bool) {
	stat, err := procfs.ReadStat(id.PID)
	zombie = err == nil && stat.StartTime == id.StartTime
	if zombie && stat.ExitCode != 0 {
		return WaitStatus(syscall.WaitStatus(stat.ExitCode)), true
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return WaitStatus(syscall.WaitStatus(info.Exit_code)), zombie
	}
	return unknownStatus, zombie
}

// used is what the kernel says a child has used. Until it is executed a child is a
// copy of its parent, or a step, and its peak of memory begins with that: one that
// is not well above this process's own is no more than a bound.
func used(usage *unix.Rusage) *contracts.Resources {
	const kib = 1 << 10
	peak := int64(usage.Maxrss) * kib
	return &contracts.Resources{
		User:       contracts.Duration(usage.Utime.Nano()),
		System:     contracts.Duration(usage.Stime.Nano()),
		PeakMemory: peak,
		AtMost:     peak <= ownPeak()*5/4,
	}
}

// ownPeak is the most memory that this process has had since it was executed.
func ownPeak() int64 {
	peak, err := procfs.PeakMemory(os.Getpid())
	if err != nil {
		return math.MaxInt64 / 8
	}
	return peak
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
