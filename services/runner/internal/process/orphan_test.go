package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/internal/oldkernel"
)

// orphan starts a script through a parent that is then killed with -9.
func orphan(t *testing.T, script string) (Identity, string) {
	t.Helper()
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], script)
	parent.Env = append(os.Environ(), parentMode+"="+dir)
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var id Identity
	if err := json.Unmarshal(line, &id); err != nil {
		t.Fatal(err)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	return id, dir
}

func TestAdoptedOrphan(t *testing.T) {
	t.Parallel()
	id, dir := orphan(t, `echo $$; while [ ! -e go ]; do sleep 0.01; done; exit 9`)
	if !alive(id.PID) {
		t.Fatal("the orphan died with its parent")
	}
	p, err := Adopt(id)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, p, dir)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The kernel tells an orphan's status from Linux 6.15 on.
	// Before, it is known if the zombie was still there.
	got, tells := wait(t, p), kernelTells(t)
	if tells && !got.Known || got.Known && got.Code != 9 || got.Signal != 0 {
		t.Errorf("status %+v, want code 9 or, where the kernel does not tell, unknown; it does: %t", got, tells)
	}
}

// kernelTells reports whether a pidfd tells an exit status.
func kernelTells(t *testing.T) bool {
	t.Helper()
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err = unix.IoctlPidfdInfo(fd, &info)
	if oldkernel.Is() && err == nil {
		t.Error("this kernel is not an older one")
	}
	var host unix.Utsname
	if err := unix.Uname(&host); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(host.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return err == nil && (major > 6 || major == 6 && minor >= 15)
}

// Without the exit information of pidfds, and their signals to groups.
func TestOlderKernel(t *testing.T) {
	t.Parallel()
	oldkernel.Rerun(t, "^(TestStatusOfEnds|TestAdoptedOrphan|TestTerminateReachesAStoppedProcess|TestKillEndsAProcessThatIgnoresTERM)$")
}
