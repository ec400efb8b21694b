package process

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// BecomeReaper makes this process the parent of what its descendants leave
// behind, as the first process of a pid namespace is anyway. It has to reap
// that: see [ReapOrphans].
func BecomeReaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	return nil
}

// AnyZombie reports whether a child of this process has ended and waits to be
// reaped. That is cheap to know.
func AnyZombie() bool {
	var info unix.Siginfo
	err := ignoringEINTR(func() error {
		return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	})
	return err == nil && info.Signo != 0
}

// ReapOrphans reaps the zombies that descendants left to this process, and
// returns how many there were. Skip is true for programs that were started as
// [Process]es: their status is not lost. Other children of this process, such as
// those of package os/exec, share its session and are left alone.
func ReapOrphans(skip func(pid int) bool) (reaped int) {
	orphans, err := procfs.Orphans(skip)
	if err != nil {
		return 0
	}
	for _, o := range orphans {
		if pid, err := unix.Wait4(o.PID, nil, unix.WNOHANG, nil); err == nil && pid == o.PID {
			reaped++
		}
	}
	return reaped
}
