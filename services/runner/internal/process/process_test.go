package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// parentMode makes the test binary a parent that starts the script in its
// argument, prints the identity and waits to be killed.
const parentMode = "PROCESS_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentMode); dir != "" {
		p, err := Start(shell(dir, os.Args[1]))
		if err != nil {
			panic(err)
		}
		_ = json.NewEncoder(os.Stdout).Encode(p.Identity())
		select {}
	}
	if dir := os.Getenv(attributesMode); dir != "" {
		startWithAttributes(dir, os.Args[1])
		return
	}
	if os.Getenv(mainEnds) != "" {
		endMainThread()
	}
	goleak.VerifyTestMain(m)
}

const patience = 10 * time.Second

// shell is a command that runs a script with its output and lock in dir.
func shell(dir, script string) Command {
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		panic(err)
	}
	return Command{
		Argv: []string{"sh", "-c", script}, Dir: dir, Output: out, Lock: lock,
		Env: []string{"PATH=/usr/bin:/bin", "PROCESS_TEST=" + dir},
	}
}

// start runs a script whose remains are swept when the test ends.
func start(t *testing.T, script string) (*Process, string) {
	t.Helper()
	dir := t.TempDir()
	c := shell(dir, script)
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Output.Close()
	c.Lock.Close()
	cleanup(t, p, dir)
	return p, dir
}

func cleanup(t *testing.T, p *Process, dir string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for left := remains(p.Identity(), dir); len(left) > 0 && ctx.Err() == nil; left = remains(p.Identity(), dir) {
			for _, s := range left {
				if err := Signal(s, unix.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			WaitGone(ctx, left)
		}
		if err := KillHolders(ctx, filepath.Join(dir, "lock")); err != nil {
			t.Error(err)
		}
		p.Reap()
		p.Close()
	})
}

// remains finds what lives of the script that was started in dir.
func remains(id Identity, dir string) []procfs.Stat {
	return NewCensus("PROCESS_TEST").Take().Of(Tree{Leader: id, Mark: dir})
}

func wait(t *testing.T, p *Process) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return p.Reap()
}

// eventually polls for what another process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

func outputOf(dir string) string {
	b, _ := os.ReadFile(filepath.Join(dir, "out"))
	return string(b)
}

// spokenPID waits for a pid that the script prints.
func spokenPID(t *testing.T, dir string) int {
	t.Helper()
	var pid int
	eventually(t, "a pid in the output", func() bool {
		line, _, found := strings.Cut(outputOf(dir), "\n")
		pid, _ = strconv.Atoi(line)
		return found && pid > 0
	})
	return pid
}

func alive(pid int) bool {
	s, err := procfs.ReadStat(pid)
	return err == nil && s.Alive()
}

func TestStatusOfEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		script string
		want   Status
	}{
		{"exit 0", Status{Known: true}},
		{"exit 7", Status{Known: true, Code: 7}},
		{"kill -9 $$", Status{Known: true, Code: -1, Signal: syscall.SIGKILL}},
		{"kill -TERM $$", Status{Known: true, Code: -1, Signal: syscall.SIGTERM}},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			t.Parallel()
			p, _ := start(t, tt.script)
			got := wait(t, p)
			if got.Used == nil {
				t.Error("what it used is not known")
			}
			if got.Used = nil; got != tt.want {
				t.Errorf("status %+v, want %+v", got, tt.want)
			}
			if left := remains(p.Identity(), ""); len(left) > 0 {
				t.Errorf("after the only process was reaped: %+v", left)
			}
		})
	}
}

func TestStartGivesTheProgramItsOwnSessionAndOnlyItsEnvironment(t *testing.T) {
	t.Parallel()
	p, dir := start(t, `cut -d' ' -f5,6 /proc/$$/stat; pwd; env | grep -v "^SHLVL=" | sort; for fd in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd; done`)
	wait(t, p)
	got := outputOf(dir)
	pid := p.Identity().PID
	want := fmt.Sprintf("%d %d\n%s\nPATH=/usr/bin:/bin\nPROCESS_TEST=%s\nPWD=%s\n3\n", pid, pid, dir, dir, dir)
	if got = strings.ReplaceAll(got, "_=/usr/bin/env\n", ""); got != want {
		t.Errorf("the program saw\n%s\nwant\n%s", got, want)
	}
}

func TestStartRefusesWhatCannotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, argv0 := range map[string]string{
		"not in the PATH": "no-such-program", "no such file": dir + "/none",
		"not executable": plain, "a directory": dir,
	} {
		c := shell(t.TempDir(), "")
		c.Argv = []string{argv0}
		if _, err := Start(c); err == nil || !strings.Contains(err.Error(), filepath.Base(argv0)) {
			t.Errorf("%s: error %v does not name the program", name, err)
		}
		c.Output.Close()
		c.Lock.Close()
	}
}

func TestTerminateReachesAStoppedProcess(t *testing.T) {
	t.Parallel()
	p, dir := start(t, `trap 'exit 5' TERM; echo $$; while :; do sleep 0.01; done`)
	spokenPID(t, dir)
	if err := unix.Kill(p.Identity().PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stop", func() bool { return !p.Active() })
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, p); got.Code != 5 {
		t.Errorf("status %+v, want exit code 5 from the handler", got)
	}
}

func TestKillEndsAProcessThatIgnoresTERM(t *testing.T) {
	t.Parallel()
	p, dir := start(t, `trap '' TERM; echo $$; while :; do sleep 0.01; done`)
	spokenPID(t, dir)
	_ = p.Signal(unix.SIGTERM)
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, p); got.Signal != syscall.SIGKILL {
		t.Errorf("status %+v", got)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Errorf("killing the dead: %v", err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p, _ := start(t, "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	_ = p.Signal(unix.SIGKILL)
	if got := wait(t, p); got.Signal != syscall.SIGKILL {
		t.Errorf("waiting again: %+v", got)
	}
}

func TestWaitingTakesNoThreadPerProcess(t *testing.T) {
	const children = 60
	var ps []*Process
	for range children {
		c := shell(t.TempDir(), "exec sleep 1000")
		p, err := Start(c)
		c.Output.Close()
		c.Lock.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.Signal(unix.SIGKILL)
			p.Reap()
			p.Close()
		})
		ps = append(ps, p)
	}
	done := make(chan error)
	for _, p := range ps {
		go func() { done <- p.Wait(context.Background()) }()
	}
	for _, p := range ps {
		_ = p.Signal(unix.SIGKILL)
	}
	for range ps {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil || len(entries) > children/2 {
		t.Errorf("%d threads for %d processes, %v", len(entries), children, err)
	}
}

func TestAdoptRefusesStrangers(t *testing.T) {
	t.Parallel()
	p, _ := start(t, "sleep 1000")
	id := p.Identity()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	for thread == os.Getpid() { // the main thread stays locked here
		next := make(chan int)
		go func() {
			runtime.LockOSThread()
			next <- unix.Gettid()
			<-t.Context().Done()
		}()
		thread = <-next
	}
	for name, other := range map[string]Identity{
		"a thread":   {thread, id.StartTime, id.Epoch},
		"start time": {id.PID, id.StartTime + 1, id.Epoch},
		"boot":       {id.PID, id.StartTime, "another"},
		"no such":    {1 << 30, id.StartTime, id.Epoch},
		"none":       {0, 0, id.Epoch},
	} {
		if _, err := Adopt(other); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, want ErrGone", name, err)
		}
	}
	if left := remains(Identity{id.PID, id.StartTime + 1, id.Epoch}, ""); len(left) != 0 {
		t.Errorf("what is left of a stranger: %+v", left)
	}
}

func TestNoDescriptorsButItsOwn(t *testing.T) {
	t.Parallel()
	leak, err := unix.Dup(0) // does not close on exec, like one from a careless parent
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	dir := t.TempDir()
	c := shell(dir, "")
	c.Argv = []string{"ls", "/proc/self/fd"}
	p, err := Start(c)
	c.Output.Close()
	c.Lock.Close()
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, p, dir)
	wait(t, p)
	if got, want := outputOf(dir), "0\n1\n2\n3\n4\n"; got != want { // 4 is the listed directory
		t.Errorf("descriptors %q, want %q", got, want)
	}
}
