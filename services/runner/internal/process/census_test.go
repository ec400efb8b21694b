package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

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

// mainEnds makes the test binary a program whose main thread ends while others work
// on, until a file go is there; then its exit code is 7.
const mainEnds = "TEST_MAIN_THREAD_ENDS"

// Initialisation runs in the main thread, and leaves the main function there.
func init() {
	if os.Getenv(mainEnds) != "" {
		runtime.LockOSThread()
	}
}

func endMainThread() {
	go func() {
		for zombie := false; !zombie; time.Sleep(time.Millisecond) {
			stat, _ := os.ReadFile("/proc/self/stat")
			zombie = bytes.Contains(stat, []byte(") Z "))
		}
		fmt.Println(os.Getpid())
		for {
			if _, err := os.Stat("go"); err == nil {
				os.Exit(7)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// POSIX lets the main thread of a program end while others work on; the kernel
// then shows the process as a zombie.
func TestProgramLivesAsLongAsAnyThread(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := shell(dir, "")
	c.Argv, c.Env = []string{os.Args[0]}, append(c.Env, mainEnds+"=1")
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
	usage, err := procfs.UsageOf(pid)
	if peak, bad := procfs.PeakMemory(pid); err != nil || bad != nil || usage.Resident < 1<<20 || peak < usage.Resident/2 {
		t.Errorf("usage %+v, %v; peak %d, %v", usage, err, peak, bad)
	}
	if wd, err := procfs.WorkDir(pid); err != nil || wd != dir {
		t.Errorf("works in %q, %v", wd, err)
	}
	if _, err := procfs.Identify(procfs.Descriptor(pid, unix.Stdout)); err != nil {
		t.Errorf("its output: %v", err)
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
