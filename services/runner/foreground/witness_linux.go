package foreground

import (
	"math"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dieOfSignals has the kernel end this process by the relayed signals at once, as it
// does with a program that does not handle them: the handlers of the Go runtime come
// to the same, but later, when the host is busy. Descriptors that the caller has
// given to the program are let go.
func dieOfSignals() {
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	var byDefault [8]uintptr // struct sigaction with SIG_DFL
	const setBytes = 8
	for _, s := range relayed {
		if signal.Ignored(s) {
			continue
		}
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s.(syscall.Signal)), uintptr(unsafe.Pointer(&byDefault)), 0, setBytes, 0, 0)
	}
}
