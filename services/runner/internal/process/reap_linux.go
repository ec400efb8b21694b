package process

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
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
	_, ok := NextZombie()
	return ok
}

// Zombie is a child of this process that has ended and was not reaped yet.
type Zombie struct {
	PID  int
	Wait syscall.WaitStatus
	Used *contracts.Resources
}

// NextZombie returns a child that has ended. It stays a zombie until it is reaped.
func NextZombie() (Zombie, bool) {
	var info unix.Siginfo
	var usage unix.Rusage
	err := ignoringEINTR(func() error {
		return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, &usage)
	})
	if err != nil || info.Signo == 0 {
		return Zombie{}, false
	}
	// Package unix names three members. The union that follows them is aligned
	// like a pointer, see sigaction(2).
	type sigchld struct{ pid, uid, status int32 }
	const align = unsafe.Sizeof(uintptr(0))
	const at = (unsafe.Offsetof(info.Code) + unsafe.Sizeof(info.Code) + align - 1) &^ (align - 1)
	child := (*sigchld)(unsafe.Add(unsafe.Pointer(&info), at))
	const exited, dumped, coreFlag = 1, 3, 0x80
	wait := child.status // a signal
	switch info.Code {
	case exited:
		wait <<= 8
	case dumped:
		wait |= coreFlag
	}
	return Zombie{PID: int(child.pid), Wait: syscall.WaitStatus(wait), Used: used(&usage)}, true
}

// Reap lets a zombie go: its number may be another's from now on.
func (z Zombie) Reap() {
	_ = ignoringEINTR(func() error {
		_, err := unix.Wait4(z.PID, nil, unix.WNOHANG, nil)
		return err
	})
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
	return reap(orphans)
}

// ReapZombies is [ReapOrphans] for a process whose own children are all known: own
// is true for them, and every other zombie is reaped, whatever its session.
func ReapZombies(own func(pid int) bool) (reaped int) {
	zombies, err := procfs.Zombies(own)
	if err != nil {
		return 0
	}
	return reap(zombies)
}

func reap(zombies []procfs.Stat) (reaped int) {
	for _, z := range zombies {
		if pid, err := unix.Wait4(z.PID, nil, unix.WNOHANG, nil); err == nil && pid == z.PID {
			reaped++
		}
	}
	return reaped
}
