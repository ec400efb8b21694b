package reaper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/internal/oldkernel"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// ownerMode makes the test binary a runner on the named state directory, which
// starts the scripts that it reads and prints their processes, until it is killed.
const ownerMode = "REAPER_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerMode); dir != "" {
		own(dir)
	}
	if err := process.BecomeReaper(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const patience = 15 * time.Second

// order is a script to start.
type order struct{ Token, Script string }

func own(dir string) {
	r, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			panic(err)
		}
		p, err := r.Start(o.Token, shell(dir, o.Token, o.Script))
		if err != nil {
			panic(err)
		}
		_ = out.Encode(p.Identity())
	}
}

// shell runs a script with its files in dir. They are closed by the finalizer.
func shell(dir, token, script string) process.Command {
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock."+token), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		panic(err)
	}
	return process.Command{Argv: []string{"sh", "-c", script}, Dir: dir, Output: out, Lock: lock, Env: []string{"PATH=/usr/bin:/bin"}}
}

type rig struct {
	*Reaper
	t   *testing.T
	dir string
}

func open(t *testing.T, dir string) *rig {
	t.Helper()
	r, err := Open(dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return &rig{r, t, dir}
}

// start starts a script, which is killed when the test ends.
func (r *rig) start(script string) (token string, p *process.Process) {
	r.t.Helper()
	token = uuid.NewString()
	c := shell(r.dir, token, script)
	p, err := r.Start(token, c)
	c.Output.Close()
	c.Lock.Close()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = p.Signal(unix.SIGKILL)
		_ = p.Wait(context.Background())
		_ = p.Close()
	})
	return token, p
}

func (r *rig) wait(p *process.Process) process.Status {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		r.t.Fatal(err)
	}
	return p.Reap()
}

// exits waits until the reaper has said how a program ended.
func (r *rig) exits(token string) process.Status {
	r.t.Helper()
	exit, ok := r.Await(token)
	if !ok {
		r.t.Fatalf("nothing is known of start %s", token)
	}
	return exit.Status()
}

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

// ended reports whether a process is gone, or a zombie that is another's to reap.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func (r *rig) saved() int {
	entries, err := os.ReadDir(filepath.Join(r.dir, "reaper", "exits"))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(entries)
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	for script, want := range map[string]process.Status{
		"exit 0":        {Known: true},
		"exit 7":        {Known: true, Code: 7},
		"exit 255":      {Known: true, Code: 255},
		"kill -9 $$":    {Known: true, Code: -1, Signal: unix.SIGKILL},
		"kill -TERM $$": {Known: true, Code: -1, Signal: unix.SIGTERM},
	} {
		token, p := r.start(script)
		begin := time.Now()
		seen, kept := r.wait(p), r.exits(token)
		if since := kept.At.Sub(begin); since > patience || since < -patience {
			t.Errorf("%s: it ended at %s", script, kept.At)
		}
		seen.At, seen.Lived, seen.Used = time.Time{}, 0, nil
		kept.At, kept.Lived, kept.Used = time.Time{}, 0, nil
		if seen != want || kept != want {
			t.Errorf("%s: seen %+v, kept %+v, want %+v", script, seen, kept, want)
		}
		r.Taken(token)
	}
	eventually(t, "the files' removal", func() bool { return r.saved() == 0 })
}

func TestAttributesTravel(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	umask := 0o027
	token := uuid.NewString()
	c := shell(r.dir, token, "umask; exit 7")
	c.Umask, c.Limits = &umask, []process.Limit{{Resource: process.OpenFiles, Value: 64}}
	p, err := r.Start(token, c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got := r.wait(p); got.Code != 7 {
		t.Errorf("exit %+v", got)
	}
	if used := r.Used(token); used == nil || !used.AtMost {
		t.Errorf("the way into the program counts as its own: %+v", used)
	}
	if out, _ := os.ReadFile(filepath.Join(r.dir, "out")); string(out) != "0027\n" {
		t.Errorf("umask %q", out)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	c := shell(r.dir, "x", "")
	c.Argv = []string{"/no/such/program"}
	if _, err := r.Start(uuid.NewString(), c); err == nil || !strings.Contains(err.Error(), "/no/such/program") || !errors.Is(err, unix.ENOENT) {
		t.Errorf("a program that is missing: %v", err)
	}
	script := filepath.Join(r.dir, "script")
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.Argv = []string{script}
	if _, err := r.Start(uuid.NewString(), c); !errors.Is(err, unix.ENOENT) || process.LacksResources(err) {
		t.Errorf("without an interpreter: %v", err)
	}
	c.Argv = []string{"/" + strings.Repeat("\x01", 4000)} // an error that is as long as can be
	if _, err := r.Start(uuid.NewString(), c); err == nil || !strings.Contains(err.Error(), "\x01\x01") {
		t.Errorf("a name that is too long: %v", err)
	}
	lock, err := os.OpenFile(c.Lock.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	c.Lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the lock after a failed start: %v", err)
	}
	token, _ := r.start("sleep 1000")
	if _, err := r.Start(token, shell(r.dir, "y", "exit 0")); err == nil || !strings.Contains(err.Error(), "started already") {
		t.Errorf("the same start again: %v", err)
	}
}

// What a program used is known, with the children that it waited for, and kept
// where no runner lives.
func TestWhatProgramsUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, dir)
	const untilGo, spin = "while [ ! -e go ]; do sleep 0.01; done; ", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
	small, p := r.start("exit 3")
	r.wait(p)
	if exit, ok := r.Await(small); !ok || exit.Used == nil || !exit.Used.AtMost || exit.Used.PeakMemory == 0 || exit.Lived < contracts.Duration(10*time.Millisecond) {
		t.Errorf("a program that uses less than its reaper: %+v, used %+v", exit, exit.Used)
	}
	if used := r.Used(small); used == nil {
		t.Error("what it used is not told")
	}
	busy, p := r.start(untilGo + "(" + spin + "); " + spin)
	large, q := r.start(untilGo + "dd if=/dev/zero of=/dev/null bs=96M count=1")
	r.Close()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ends", func() bool { return ended(p.Identity().PID) && ended(q.Identity().PID) })
	next := open(t, dir)
	for _, token := range []string{busy, large} {
		exit, ok := next.Await(token)
		switch {
		case !ok || exit.Used == nil || exit.Wait != 0:
			t.Fatalf("%t: %+v", ok, exit)
		case exit.Lived.D() < 10*time.Millisecond || exit.Lived.D() > 2*patience:
			t.Errorf("lived for %s", exit.Lived)
		case token == busy && exit.Used.User.D() < 20*time.Millisecond:
			t.Errorf("busy: %+v", exit.Used)
		case token == large && (exit.Used.AtMost || exit.Used.PeakMemory < 96<<20 || exit.Used.PeakMemory > 128<<20):
			t.Errorf("large: %+v", exit.Used)
		}
	}
}

// The runner ends, or is killed, and the next one has all.
func TestStatusesAreKeptWhileNoRunnerLives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	const untilGo = "while [ ! -e go ]; do sleep 0.01; done; exit 9"
	gone, goneProcess := first.start(untilGo)
	crashed, crashedProcess := first.start("while [ ! -e go ]; do sleep 0.01; done; kill -SEGV $$")
	lives, livesProcess := first.start("exec sleep 1000")
	reaper, _ := first.PID()
	first.Close()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ends", func() bool { return ended(goneProcess.Identity().PID) && ended(crashedProcess.Identity().PID) })

	second := open(t, dir)
	if pid, ok := second.PID(); !ok || pid != reaper {
		t.Errorf("reaper %d, want %d", pid, reaper)
	}
	if got := second.exits(gone); got.Code != 9 || !got.Known {
		t.Errorf("exit %+v", got)
	}
	if got := second.exits(crashed); got.Signal != unix.SIGSEGV {
		t.Errorf("exit %+v", got)
	}
	if id, exit, ok := second.Find(lives); !ok || exit != nil || id != livesProcess.Identity() {
		t.Errorf("%+v %+v %t, want %+v", id, exit, ok, livesProcess.Identity())
	}
	p, err := process.Adopt(livesProcess.Identity())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	second.Attach(lives, p)
	_ = p.Signal(unix.SIGKILL)
	if got := second.wait(p); got.Signal != unix.SIGKILL {
		t.Errorf("exit of what runs on: %+v", got)
	}
	for _, token := range []string{gone, crashed, lives} {
		second.Taken(token) // also if the reaper has not said it yet
	}
	eventually(t, "the files' removal", func() bool { return second.saved() == 0 })
	second.Close()
	if third := open(t, dir); len(third.Ended()) > 0 {
		t.Errorf("known again: %v", third.Ended())
	}
}

// Only the processes themselves and the files are left when the runner and the
// reaper are killed.
func TestWhatAReaperHasSeenOutlivesIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	token, p := first.start("exit 7")
	first.wait(p)
	reaper, _ := first.PID()
	first.Close()
	eventually(t, "the reaper's end, which has nothing to do", func() bool { return ended(reaper) })
	if got := open(t, dir).exits(token); got.Code != 7 || !got.Known {
		t.Errorf("exit %+v", got)
	}
}

// A runner that lives is the parent of what a killed reaper had.
func TestReaperIsKilled(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	_, p := r.start("while [ ! -e go ]; do sleep 0.01; done; exit 9")
	reaper, _ := r.PID()
	if err := unix.Kill(reaper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.wait(p); got.Code != 9 || !got.Known {
		t.Errorf("exit %+v", got)
	}
	eventually(t, "that it is missed", func() bool { _, ok := r.PID(); return !ok })
	_, p = r.start("exit 3")
	if got := r.wait(p); got.Code != 3 {
		t.Errorf("exit of what the next reaper started: %+v", got)
	}
	if next, ok := r.PID(); !ok || next == reaper {
		t.Errorf("the next reaper is %d, %t", next, ok)
	}
}

// It is killed at any instant of many starts: each program runs once at most, and
// a start that is not answered is said to be lost.
func TestReaperIsKilledAmidStarts(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	lost := 0
	for i := range 30 {
		reaper, _ := r.PID()
		started := make(chan error)
		token := uuid.NewString()
		c := shell(r.dir, token, "echo "+token+"; exit 5")
		go func() {
			p, err := r.Start(token, c)
			if err == nil {
				if got := r.wait(p); got.Known && got.Code != 5 {
					err = fmt.Errorf("exit %+v", got)
				}
				p.Close()
			}
			started <- err
		}()
		delay := time.NewTimer(time.Duration(i) * 100 * time.Microsecond)
		<-delay.C
		if reaper != 0 {
			_ = unix.Kill(reaper, unix.SIGKILL)
		}
		err := <-started
		c.Lock.Close()
		c.Output.Close()
		if errors.Is(err, ErrLost) {
			lost++
		} else if err != nil {
			t.Errorf("start %d: %v", i, err)
		}
		out, _ := os.ReadFile(filepath.Join(r.dir, "out"))
		if n := strings.Count(string(out), token); n > 1 || n == 0 && err == nil {
			t.Errorf("start %d ran %d times, %v", i, n, err)
		}
	}
	t.Logf("%d of 30 starts were lost", lost)
}

// Whatever signals a runner was started to block or to ignore, its agents have none of
// that: a stop signal would not stop them.
func TestSignalsOfAgentsAreClean(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner := exec.Command("env", "--block-signal=USR1,TERM,CHLD", "--ignore-signal=HUP,TSTP,USR2", os.Args[0])
	owner.Env = append(os.Environ(), ownerMode+"="+dir)
	in, err := owner.StdinPipe()
	if err == nil {
		err = owner.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = owner.Process.Kill()
		_ = owner.Wait()
	}()
	token := uuid.NewString()
	line, _ := json.Marshal(order{token, "grep -E 'SigBlk|SigIgn' /proc/self/status; echo done"})
	if _, err := in.Write(line); err != nil {
		t.Fatal(err)
	}
	var said []byte
	eventually(t, "its word", func() bool {
		said, _ = os.ReadFile(filepath.Join(dir, "out"))
		return strings.HasSuffix(string(said), "done\n")
	})
	if want := "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\ndone\n"; string(said) != want {
		t.Errorf("an agent has\n%s", said)
	}
	_ = owner.Process.Kill()
	r := open(t, dir)
	eventually(t, "its end", func() bool { _, exit, _ := r.Find(token); return exit != nil })
	r.Taken(token)
}

// What a killed runner had sent is carried out before the next one is told.
func TestRunnerIsKilledAmidStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := map[string]int{}
	for i := range 25 {
		owner := exec.Command(os.Args[0])
		owner.Env = append(os.Environ(), ownerMode+"="+dir)
		in, err := owner.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := owner.StdoutPipe()
		if err == nil {
			err = owner.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var tokens []string
		for n := range 12 {
			token := uuid.NewString()
			tokens = append(tokens, token)
			want[token] = n + 1
			line, _ := json.Marshal(order{token, fmt.Sprintf("echo %s; exit %d", token, n+1)})
			_, _ = in.Write(line)
		}
		seen := json.NewDecoder(out)
		for range i % 12 {
			var id process.Identity
			if err := seen.Decode(&id); err != nil {
				t.Fatal(err)
			}
		}
		_ = owner.Process.Kill()
		_ = owner.Wait()
		_, _ = io.Copy(io.Discard, out)
		r := open(t, dir)
		ran, _ := os.ReadFile(filepath.Join(dir, "out"))
		for n, token := range tokens {
			id, exit, ok := r.Find(token)
			if ok && exit == nil {
				eventually(t, "the end", func() bool { return ended(id.PID) })
				if e, known := r.Await(token); known {
					exit = &e
				}
			}
			switch {
			case !ok && (n < i%12 || strings.Contains(string(ran), token)):
				t.Errorf("round %d: start %d is not known", i, n)
			case ok && exit == nil:
				t.Errorf("round %d: how start %d ended is not known", i, n)
			case ok && exit.Status().Code != want[token]:
				t.Errorf("round %d: start %d ended with %+v, want %d", i, n, exit.Status(), want[token])
			}
			r.Taken(token)
		}
		r.Close()
	}
	out, _ := os.ReadFile(filepath.Join(dir, "out"))
	for token := range want {
		if n := strings.Count(string(out), token); n > 1 {
			t.Errorf("a start was made %d times", n)
		}
	}
}

// Nothing but SIGKILL ends it before its time, and its agents do not inherit that.
func TestSignalsDoNotEndIt(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	token, p := r.start("exec sleep 1000")
	reaper, _ := r.PID()
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT} {
		if err := unix.Kill(reaper, sig); err != nil {
			t.Fatal(err)
		}
	}
	if sid, err := unix.Getsid(reaper); err != nil || sid != reaper {
		t.Errorf("session %d, %v", sid, err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := r.exits(token); got.Signal != unix.SIGTERM {
		t.Errorf("exit %+v", got)
	}
	if pid, ok := r.PID(); !ok || pid != reaper {
		t.Errorf("the reaper is %d, %t", pid, ok)
	}
}

// A reaper that somebody stops is continued when it is needed.
func TestAStoppedReaperIsContinued(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	reaper, _ := r.PID()
	if err := unix.Kill(reaper, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, p := r.start("exit 3")
	if got := r.wait(p); got.Code != 3 {
		t.Errorf("exit %+v", got)
	}
}

// Orphans of agents are the reaper's, and it waits for them.
func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	_, p := r.start("i=0; while [ $i -lt 30 ]; do (setsid sleep 0 &); i=$((i+1)); done; echo made; exec sleep 1000")
	eventually(t, "the orphans", func() bool {
		out, _ := os.ReadFile(filepath.Join(r.dir, "out"))
		return string(out) == "made\n"
	})
	reaper, _ := r.PID()
	eventually(t, "the orphans' reaping", func() bool {
		var left []string
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", reaper))
		for _, list := range lists {
			b, _ := os.ReadFile(list)
			left = append(left, strings.Fields(string(b))...)
		}
		return len(left) == 1 && left[0] == strconv.Itoa(p.Identity().PID)
	})
}

// A runner that is another program, or has other limits or rights, starts programs
// by a reaper that is as it is. The former one keeps its own until they have ended.
func TestFormerReaper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner := exec.Command("nice", "-n", "5", os.Args[0])
	owner.Env = append(os.Environ(), ownerMode+"="+dir)
	in, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := owner.StdoutPipe()
	if err == nil {
		err = owner.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	first, second := uuid.NewString(), uuid.NewString()
	var ids [2]process.Identity
	seen := json.NewDecoder(out)
	for i, token := range []string{first, second} {
		line, _ := json.Marshal(order{token, fmt.Sprintf("while [ ! -e go%d ]; do sleep 0.01; done; exit 7", i)})
		_, _ = in.Write(line)
		if err := seen.Decode(&ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	_ = owner.Process.Kill()
	_ = owner.Wait()

	r := open(t, dir)
	_, p := r.start("nice")
	if r.wait(p); len(r.Roots()) != 2 || !r.HasParent(first) {
		t.Errorf("reapers %v", r.Roots())
	}
	if nice, _ := os.ReadFile(filepath.Join(dir, "out")); string(nice) != "0\n" {
		t.Errorf("nice %q", nice)
	}
	let := func(n int) {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("go", n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	let(0)
	if got := r.exits(first); got.Code != 7 {
		t.Errorf("exit %+v", got)
	}
	r.Taken(first)
	r.Close()
	let(1)
	eventually(t, "the end of the former reaper and its program", func() bool { return ended(ids[1].PID) && len(reapers(t, dir)) == 0 })
	r = open(t, dir)
	if got := r.exits(second); got.Code != 7 {
		t.Errorf("exit %+v", got)
	}
	r.Taken(second)
	eventually(t, "the files' removal", func() bool { return r.saved() == 1 }) // that of nice is not taken
}

// reapers finds those of a state directory.
func reapers(t *testing.T, dir string) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file)
		if strings.HasPrefix(string(line), processName+"\x00"+dir) {
			pids = append(pids, filepath.Dir(file))
		}
	}
	return pids
}

// The path of a socket may have 107 bytes.
func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	_, p := open(t, dir).start("exit 3")
	r := open(t, t.TempDir())
	if got := r.wait(p); got.Code != 3 {
		t.Errorf("exit %+v", got)
	}
}

// One that has the lock and is not to be reached, as after the removal of its
// socket or of another version, is left to its agents.
func TestUnusableReaperIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	_, p := first.start("exec sleep 1000")
	old, _ := first.PID()
	first.Close()
	if err := os.Remove(filepath.Join(dir, "reaper", "1", "socket")); err != nil {
		t.Fatal(err)
	}
	second := open(t, dir)
	if pid, ok := second.PID(); !ok || pid == old || ended(old) {
		t.Errorf("the reaper is %d, %t; before %d", pid, ok, old)
	}
	_ = p.Signal(unix.SIGKILL)
	eventually(t, "the end of the former, which has nothing to do", func() bool { return ended(old) })
}

// Nothing of this is left to what kernels since 6.15 remember.
func TestOlderKernel(t *testing.T) {
	t.Parallel()
	oldkernel.Rerun(t, "^Test(Statuses|FormerReaper|StatusesAreKept.*|WhatAReaper.*|ReaperIsKilled.*|RunnerIsKilled.*)$")
}
