package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

func TestCensusFindsWhatAProgramStarted(t *testing.T) {
	t.Parallel()
	const spoken = " & while [ ! -s out ]; do sleep 0.01; done"
	for name, script := range map[string]string{
		"the group": "sleep 1000 & echo $!",
		"another group of the session, without the mark": "bash -c 'set -m; env -i sleep 1000 & echo $!'",
		"another session, with the mark":                 "setsid sh -c 'exec 3>&-; echo $$; exec sleep 1000'" + spoken,
		"an orphan in another session, with the mark":    "(setsid sh -c 'echo $$; exec sleep 1000' 3>&- &)" + spoken,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dir := start(t, script+"; exit 3")
			child := spokenPID(t, dir)
			if got := wait(t, p); got.Code != 3 {
				t.Errorf("status %+v", got)
			}
			left := remains(p.Identity(), dir)
			if len(left) != 1 || left[0].PID != child {
				t.Fatalf("found %+v, want process %d", left, child)
			}
			if err := Signal(procfs.Stat{PID: child, StartTime: left[0].StartTime + 1}, unix.SIGKILL); err != nil || !alive(child) {
				t.Errorf("a signal to another process of that number: %v, alive: %t", err, alive(child))
			}
			if err := Signal(left[0], unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			WaitGone(t.Context(), left)
			if alive(child) {
				t.Error("the child lives")
			}
		})
	}
}

func TestHoldersOfTheLockAreKilled(t *testing.T) {
	t.Parallel()
	p, dir := start(t, "env -i setsid sh -c 'echo $$; exec sleep 1000' & while [ ! -s out ]; do sleep 0.01; done")
	child := spokenPID(t, dir)
	wait(t, p)
	if left := remains(p.Identity(), dir); len(left) > 0 {
		t.Fatalf("found %+v by session and mark; the test tests nothing", left)
	}
	if left := NewCensus("NONE").Take().Of(Tree{Lock: filepath.Join(dir, "lock")}); len(left) != 1 || left[0].PID != child {
		t.Errorf("found by the lock: %+v", left)
	}
	if err := KillHolders(t.Context(), filepath.Join(dir, "lock")); err != nil || alive(child) {
		t.Errorf("%v, alive: %t", err, alive(child))
	}
}

// Walks are shared by all who ask meanwhile, but none is answered from one that
// began before it asked.
func TestCensusSeesWhatRanBeforeItWasAsked(t *testing.T) {
	t.Parallel()
	c := NewCensus("PROCESS_TEST")
	done := make(chan error)
	for range 8 {
		go func() {
			for range 20 {
				cmd := exec.Command("sleep", "1000")
				mark := t.TempDir()
				cmd.Env = []string{"PROCESS_TEST=" + mark}
				if err := cmd.Start(); err != nil {
					done <- err
					return
				}
				found := c.Take().Of(Tree{Mark: mark})
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if len(found) != 1 || found[0].PID != cmd.Process.Pid {
					done <- fmt.Errorf("found %+v, want process %d", found, cmd.Process.Pid)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// POSIX lets the main thread of a program end while others work on; the kernel
// then shows the process as a zombie.
func TestProgramLivesAsLongAsAnyThread(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	dir := t.TempDir()
	c := shell(dir, "")
	c.Argv = []string{python, "-c", `
import ctypes, os, platform, threading, time
def work():
    while "Z" not in open("/proc/self/stat").read().rsplit(")")[1]: time.sleep(0.01)
    print(os.getpid(), flush=True)
    while not os.path.exists("go"): time.sleep(0.01)
    os._exit(7)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(ctypes.c_long(60 if platform.machine() == "x86_64" else 93), ctypes.c_long(0))
`}
	p, err := Start(c)
	c.Output.Close()
	c.Lock.Close()
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, p, dir)
	pid := spokenPID(t, dir)
	if !p.Active() {
		t.Error("it counts as ended")
	}
	if left := remains(Identity{}, dir); len(left) != 1 || left[0].PID != pid {
		t.Errorf("found by its mark: %+v", left)
	}
	if held := NewCensus("NONE").Take().Of(Tree{Lock: filepath.Join(dir, "lock")}); len(held) != 1 || held[0].PID != pid {
		t.Errorf("found by its lock: %+v", held)
	}
	if held, err := procfs.Holders(filepath.Join(dir, "lock")); err != nil || len(held) != 1 || held[0].PID != pid {
		t.Errorf("holders of its lock: %+v, %v", held, err)
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stop", func() bool { return !p.Active() })
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "going on", p.Active)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, p); got.Code != 7 {
		t.Errorf("status %+v", got)
	}
	if p.Active() {
		t.Error("it counts as living")
	}
}
