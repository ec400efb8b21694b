//go:build linux

package oldkernel

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// probe makes the test binary print how the calls of newer kernels end.
const probe = "OLDKERNEL_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(probe) != "" {
		fd, err := unix.PidfdOpen(os.Getpid(), 0)
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		fmt.Println(err, unix.IoctlPidfdInfo(fd, &info), unix.PidfdSendSignal(fd, 0, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP), unix.PidfdSendSignal(fd, 0, nil, 0))
		_, err = unix.IoctlGetTermios(fd, unix.TCGETS) // another ioctl reaches the kernel
		fmt.Println(err != nil, os.Args[1:])
		return
	}
	m.Run()
}

func TestWrap(t *testing.T) {
	cmd := exec.Command(os.Args[0], "an", "argument")
	cmd.Env = append(os.Environ(), probe+"=1")
	Wrap(cmd)
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("<nil> %v %v <nil>\ntrue [an argument]\n", unix.ENOTTY, unix.EINVAL)
	if err != nil || string(out) != want {
		t.Errorf("%v:\n%s\nwant\n%s", err, strings.TrimSpace(string(out)), want)
	}
}
