package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Signal sends a signal to the process that was seen, not to one that got its
// number. One that is gone is no error. A process that is stopped is continued,
// because it would not see the signal before.
func Signal(seen procfs.Stat, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(seen.PID, 0)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", seen.PID, err)
	}
	defer unix.Close(fd)
	now, err := procfs.ReadStat(seen.PID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.StartTime != seen.StartTime {
		return nil
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if err == nil && sig != unix.SIGKILL {
		err = unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), seen.PID, err)
	}
	return nil
}

// gone reports whether an error of pidfd_open says that there is no process of
// that number. Recent kernels say ENOENT of the number of a thread.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT)
}

// WaitGone returns when none of the processes lives, or ctx is done.
func WaitGone(ctx context.Context, seen []procfs.Stat) {
	epoch, _ := CurrentEpoch()
	for _, s := range seen {
		p, err := Adopt(Identity{PID: s.PID, StartTime: s.StartTime, Epoch: epoch})
		if err == nil {
			err = p.Wait(ctx)
			_ = p.Close()
		}
		if err != nil && !errors.Is(err, ErrGone) {
			<-ctx.Done() // it cannot be watched; the caller looks again
			return
		}
	}
}

// KillHolders kills every process that holds one of the files open, and returns
// when none is left, or when ctx is done: then the error names one that did not
// die.
func KillHolders(ctx context.Context, files ...string) error {
	for {
		left, err := procfs.Holders(files...)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, s := range left {
			err = errors.Join(err, Signal(s, unix.SIGKILL))
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		WaitGone(try, left)
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("process %d of session %d is still there after SIGKILL: %w", left[0].PID, left[0].Session, errors.Join(ctx.Err(), err))
		}
	}
}
