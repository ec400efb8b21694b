package output

import (
	"os"

	"golang.org/x/sys/unix"
)

// fifoSize is what an agent can print while no runner reads it.
const fifoSize = 1 << 20

// enlarge makes a FIFO hold more, where that takes nothing from other programs: a
// user other than root has one allowance for the pipes of all of his.
func enlarge(fd int) {
	if os.Geteuid() == 0 {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, fifoSize)
	}
}

// empty reports whether there is nothing to read.
func empty(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n == 0
}
