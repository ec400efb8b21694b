// Package oldkernel runs programs of tests as on an older kernel: system calls
// that it did not have fail as they did there.
package oldkernel

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// name is the name under which the test's binary takes the filter on and becomes
// the program, with all that that starts. It is an init function, because Go runs
// no code of its own between fork and exec.
const name = "oldkernel-exec"

func init() {
	if len(os.Args) < 3 || os.Args[0] != name {
		return
	}
	runtime.LockOSThread() // the filter is the thread's that executes the program
	err := restrict()
	if err == nil {
		err = syscall.Exec(os.Args[1], os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, name+":", err)
	os.Exit(127)
}

// Wrap makes a command that has not been started run as on Linux 6.8: a pidfd does
// not tell an exit status (6.15), nor signal a group (6.9).
func Wrap(cmd *exec.Cmd) {
	cmd.Args = append([]string{name, cmd.Path}, cmd.Args...)
	cmd.Path = "/proc/self/exe"
}

func restrict() error {
	const (
		nrOffset   = 0
		argsOffset = 16
	)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	skipUnless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	skipIf := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: skip}
	}
	fail := func(errno syscall.Errno) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	}
	arg := func(n uint32) unix.SockFilter { return load(argsOffset + 8*n + lowWord()) }
	filter := []unix.SockFilter{
		load(nrOffset),
		skipUnless(unix.SYS_IOCTL, 3),
		arg(1),
		skipUnless(unix.PIDFD_GET_INFO, 1),
		fail(unix.ENOTTY),
		load(nrOffset),
		skipUnless(unix.SYS_PIDFD_SEND_SIGNAL, 3),
		arg(3), // flags
		skipIf(0, 1),
		fail(unix.EINVAL),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

// lowWord is where the lower half of a 64-bit number is.
func lowWord() uint32 {
	one := uint64(1)
	if *(*byte)(unsafe.Pointer(&one)) == 1 {
		return 0
	}
	return 4
}
