package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Remains finds the live processes that belong to a program: those of its
// session, and those that hold one of its files (its lock), also after they
// left the session. Descendants that did both, left the session and closed the
// lock, are KillMarked's.
func Remains(id Identity, files ...string) ([]procfs.Stat, error) {
	found, err := procfs.Holders(files...)
	if err != nil {
		return nil, err
	}
	known := make(map[int]bool, len(found))
	for _, s := range found {
		known[s.PID] = true
	}
	for _, s := range sessionOf(id) {
		if s.Alive() && !known[s.PID] && s.PID != os.Getpid() {
			found = append(found, s)
		}
	}
	return found, nil
}

// sessionOf lists the processes of the session that id began, unless its
// number begins another session by now. Zombies among them that are ours to
// reap are reaped.
func sessionOf(id Identity) []procfs.Stat {
	if id.PID == 0 {
		return nil
	}
	epoch, err := CurrentEpoch()
	if err != nil || id.Epoch == "" || id.Epoch.Ended(epoch) != "" {
		return nil
	}
	members := procfs.InSession(id.PID)
	for _, s := range members {
		if s.PID == id.PID && s.StartTime != id.StartTime {
			return nil
		}
		if s.State == procfs.StateZombie && s.ParentPID == os.Getpid() && s.PID != id.PID {
			_, _ = unix.Wait4(s.PID, nil, unix.WNOHANG, nil)
		}
	}
	return members
}

// Sweep ends everything that Remains finds and returns when nothing is left,
// or when ctx is done: then the error names what would not die.
func Sweep(ctx context.Context, id Identity, files ...string) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		left, err := Remains(id, files...)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		for _, s := range left {
			err = errors.Join(err, killExactly(s))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("process %d of session %d is still there after SIGKILL: %w", left[0].PID, left[0].Session, errors.Join(ctx.Err(), err))
		case <-timer.C:
		}
	}
}

// KillMarked kills every process whose environment holds one of the entries
// KEY=VALUE, and reports how many there were. It finds what Sweep does not: what
// has left the session and closed the lock.
func KillMarked(entries ...string) (killed int, err error) {
	for _, s := range procfs.WithEnv(entries...) {
		if s.PID != os.Getpid() {
			killed++
			err = errors.Join(err, killExactly(s))
		}
	}
	return killed, err
}

// killExactly kills the process that was seen, not one that got its number.
func killExactly(seen procfs.Stat) error {
	fd, err := unix.PidfdOpen(seen.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill process %d: %w", seen.PID, err)
	}
	defer unix.Close(fd)
	now, err := procfs.ReadStat(seen.PID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.StartTime != seen.StartTime {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", seen.PID, err)
	}
	return nil
}
