package fleet

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/oldkernel"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// change alters an agent's record while there is no runner.
func change(t *testing.T, dir, agent string, alter func(*ledger.Record)) {
	t.Helper()
	l, err := ledger.Open(t.Context(), dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rec, err := l.Load(agent)
	if err != nil {
		t.Fatal(err)
	}
	alter(&rec)
	if err := l.Save(rec); err != nil {
		t.Fatal(err)
	}
}

// waits until a file is there, then prints, and exits with 9. What is printed while
// a runner is killed may be lost.
const untilGo = `while [ ! -e go ]; do sleep 0.01; done; echo up; exit 9`

func TestKilledRunnersSuccessorAdopts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := killedRunner(t, dir, script("a", 2, untilGo))[0]

	r := open(t, dir)
	agents := r.List()
	if len(agents) != 1 || agents[0].PID != before.PID || agents[0].State != "running" || agents[0].Incarnation != 2 {
		t.Fatalf("agents %+v, want process %d adopted", agents, before.PID)
	}
	if reply := r.Start(script("a", 2, untilGo)); reply.Code != contracts.RunnerOK || reply.PID != before.PID {
		t.Errorf("the same start again: %+v", reply)
	}
	if reply := r.Start(script("a", 3, untilGo)); reply.Code != contracts.RunnerStillRunning {
		t.Errorf("start of a newer incarnation: %+v", reply)
	}
	touch(t, dir, "go")
	evs := r.eventsOf(t, "a", 2)
	exit := data[contracts.AgentFailedData](t, evs[1]).Exit
	if evs[0].Type != contracts.AgentStarted || evs[1].Type != contracts.AgentFailed || exit.Tail != "up" || exit.Unknown || exit.Code != 9 {
		t.Errorf("events %+v, exit %+v", evs, exit)
	}
	if reply := r.Start(script("a", 1, untilGo)); reply.Code != contracts.RunnerStale {
		t.Errorf("start of an older incarnation: %+v", reply)
	}
}

func TestEndWhileTheRunnerIsAwayIsReported(t *testing.T) {
	t.Parallel()
	for _, by := range []parent{byReaper, byRunner} {
		t.Run("started "+string(by), func(t *testing.T) {
			t.Parallel()
			testEndWhileAway(t, by)
		})
	}
}

func testEndWhileAway(t *testing.T, by parent) {
	dir := t.TempDir()
	before := killedRunnerOf(t, dir, by, script("a", 1, "sleep 1000 & "+untilGo))[0]
	touch(t, dir, "go")
	eventually(t, "the end", func() bool { return !alive(before.PID) })
	if by == byReaper {
		eventually(t, "that it is written down", func() bool {
			exits, _ := filepath.Glob(filepath.Join(dir, "reaper", "exits", "*"))
			return len(exits) == 1
		})
	}
	seen := time.Now()

	r := openBy(t, dir, by)
	evs := r.eventsOf(t, "a", 2)
	failed := data[contracts.AgentFailedData](t, evs[1])
	if evs[1].Type != contracts.AgentFailed || failed.Incarnation != 1 {
		t.Errorf("event %+v, data %+v", evs[1], failed)
	}
	exit := failed.Exit
	if by == byReaper && (exit.Used == nil || exit.Lived == 0 || exit.Lived.D() > 2*patience) {
		t.Errorf("lived for %s, used %+v", exit.Lived, exit.Used)
	}
	if (by == byReaper || !exit.Unknown) && exit.Code != 9 || by == byReaper && (exit.Unknown || exit.At.After(seen)) {
		t.Errorf("exit %+v", exit)
	}
	for _, left := range procfs.Scan(procfs.Look{}) {
		if left.Session == before.PID {
			t.Errorf("what the agent had started still runs: %+v", left)
		}
	}
	if reply := r.Start(script("a", 1, forever)); reply.Code != contracts.RunnerAlreadyExited {
		t.Errorf("the same start again: %+v", reply)
	}
	r.mustStart(t, script("a", 2, forever))
}

// What agents print last while no runner lives is stored and told of, whether their
// reaper lives on or not, and also what they leave behind.
func TestLastWordsWhileTheRunnerIsAway(t *testing.T) {
	t.Parallel()
	for _, others := range []bool{false, true} {
		t.Run(fmt.Sprint("others live: ", others), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			const ends = `echo up; while [ ! -e go ]; do sleep 0.01; done; echo last words; exit 9`
			const leaves = `echo up; (setsid sh -c 'echo $$ >child; while [ ! -e ended ]; do sleep 0.01; done; echo its child too' &); while [ ! -e go ]; do sleep 0.01; done; exit 9`
			cmds := []contracts.StartCommand{script("ends", 1, ends), script("leaves", 1, leaves)}
			if others {
				cmds = append(cmds, script("lives", 1, forever))
			}
			before := killedRunner(t, dir, cmds...)
			touch(t, dir, "go")
			eventually(t, "the ends", func() bool {
				exits, _ := filepath.Glob(filepath.Join(dir, "reaper", "exits", "*"))
				return len(exits) == 2 && !alive(before[0].PID) && !alive(before[1].PID)
			})
			if others { // their reaper lives, and has what comes later
				touch(t, dir, "ended")
				eventually(t, "the child's end", func() bool {
					b, _ := os.ReadFile(filepath.Join(dir, "child"))
					child, err := strconv.Atoi(strings.TrimSpace(string(b)))
					return err == nil && !alive(child)
				})
			}

			r := open(t, dir)
			exit := data[contracts.AgentFailedData](t, r.eventsOf(t, "ends", 2)[1]).Exit
			if text := r.outputOf(t, "ends"); text != "up\nlast words\n" || exit.Tail != "up\nlast words" || exit.Code != 9 {
				t.Errorf("output %q, exit %+v", text, exit)
			}
			r.eventsOf(t, "leaves", 2)
			if text := r.outputOf(t, "leaves"); others && text != "up\nits child too\n" {
				t.Errorf("output %q", text)
			}
			eventually(t, "the removal of what was kept", func() bool {
				kept, _ := filepath.Glob(filepath.Join(dir, "reaper", "output", "*"))
				return len(kept) == 0
			})
		})
	}
}

// The record says "starting": its writer died between fork and the next write.
func TestRunnerDiedBetweenForkAndRecord(t *testing.T) {
	t.Parallel()
	forget := func(t *testing.T, dir string) {
		t.Helper()
		change(t, dir, "a", func(rec *ledger.Record) {
			rec.State, rec.Process.PID, rec.Outbox = ledger.Starting, 0, nil
		})
	}
	t.Run("alive", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		before := killedRunner(t, dir, script("a", 1, forever))[0]
		forget(t, dir)
		r := open(t, dir)
		if reply := r.Start(script("a", 1, forever)); reply.PID != before.PID {
			t.Errorf("the same start again: %+v, want process %d", reply, before.PID)
		}
		if d := data[contracts.AgentStartedData](t, r.eventsOf(t, "a", 1)[0]); d.PID != before.PID {
			t.Errorf("started event %+v", d)
		}
	})
	t.Run("alive without its lock", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		before := killedRunner(t, dir, script("a", 1, "exec 3>&-; "+forever))[0]
		eventually(t, "the closing of the lock", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/fd/3", before.PID))
			return os.IsNotExist(err)
		})
		forget(t, dir)
		r := open(t, dir)
		if reply := r.Start(script("a", 1, forever)); reply.PID != before.PID {
			t.Errorf("the same start again: %+v, want process %d", reply, before.PID)
		}
	})
	gone := func(t *testing.T, by parent) (*rig, contracts.RunnerReply) {
		t.Helper()
		dir := t.TempDir()
		before := killedRunnerOf(t, dir, by, script("a", 1, forever))[0]
		_ = syscall.Kill(before.PID, syscall.SIGKILL)
		eventually(t, "the end", func() bool { return !alive(before.PID) })
		forget(t, dir)
		return openBy(t, dir, by), before
	}
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		r, _ := gone(t, byRunner)
		if ev := r.eventsOf(t, "a", 1)[0]; ev.Type != contracts.AgentFailed {
			t.Errorf("event %+v", ev)
		}
	})
	t.Run("gone, as the reaper has seen", func(t *testing.T) {
		t.Parallel()
		r, before := gone(t, byReaper)
		evs := r.eventsOf(t, "a", 2)
		if started := data[contracts.AgentStartedData](t, evs[0]); started.PID != before.PID {
			t.Errorf("event %+v", evs[0])
		}
		if failed := data[contracts.AgentFailedData](t, evs[1]); failed.Exit.Signal != "SIGKILL" || failed.Reason != contracts.ReasonExited {
			t.Errorf("event %+v, exit %+v", evs[1], failed.Exit)
		}
	})
}

// An agent whose host rebooted, or whose container was restarted, while its
// runner was away did not fail, whatever lives under its number now.
func TestEndWithTheHostIsNotTheAgents(t *testing.T) {
	t.Parallel()
	now, err := process.CurrentEpoch()
	if err != nil {
		t.Fatal(err)
	}
	boot, space, _ := strings.Cut(string(now), " ")
	space, start, _ := strings.Cut(space, " ")
	for name, c := range map[string]struct {
		epoch string
		state ledger.State
		want  string
	}{
		"reboot":                      {"another-boot " + space + " " + start, ledger.Running, "host rebooted"},
		"reboot amid the start":       {"another-boot " + space + " " + start, ledger.Starting, "host rebooted"},
		"another container":           {boot + " pid:[1] " + start, ledger.Running, "container restarted"},
		"a container of that number":  {boot + " " + space + " 1", ledger.Running, "container restarted"},
		"the same":                    {boot + " " + space + " " + start, ledger.Running, ""},
		"recorded by an older runner": {boot + " " + space, ledger.Running, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			before := killedRunnerOf(t, dir, byRunner, script("a", 1, forever))[0]
			if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end", func() bool { return !alive(before.PID) })
			change(t, dir, "a", func(rec *ledger.Record) {
				// A pid that is in use, as after a reboot.
				rec.State, rec.Process.PID, rec.Process.Epoch = c.state, os.Getpid(), process.Epoch(c.epoch)
			})
			r := open(t, dir)
			evs := r.eventsOf(t, "a", 2)
			failed := data[contracts.AgentFailedData](t, evs[1])
			exit := r.List()[0].Exit
			if c.want == "" {
				if failed.Reason != contracts.ReasonExited || exit.Blame != contracts.BlameAgent {
					t.Errorf("event %+v, exit %+v", failed, exit)
				}
				return
			}
			if failed.Reason != contracts.ReasonHostLost || !strings.HasPrefix(failed.Detail, c.want) || failed.Incarnation != 1 {
				t.Errorf("event %+v, want %q", failed, c.want)
			}
			if !exit.Unknown || exit.Blame != contracts.BlameHost {
				t.Errorf("listed with exit %+v", exit)
			}
			if !alive(os.Getpid()) {
				t.Error("it killed what has the number now")
			}
			r.mustStart(t, script("a", 2, forever))
		})
	}
}

// A host that is shut down ends the runner, then sends SIGTERM to all, and agents end
// in their ways, which the reaper sees. An agent that had ended before did so by itself;
// and so did all where only the signals came and the host did not end.
func TestEndInTheShutdownOfTheHostIsNotTheAgents(t *testing.T) {
	t.Parallel()
	now, err := process.CurrentEpoch()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(now), " ")
	for name, c := range map[string]struct {
		told, over bool
		want       contracts.Outcome // of an agent that exits with 0
	}{
		"shut down":        {told: true, over: true, want: contracts.OutcomeLost},
		"only the signals": {told: true, want: contracts.OutcomeCompleted},
		"a loss of power":  {over: true, want: contracts.OutcomeCompleted}, // which came after the end
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			up := t.TempDir()
			trap := func(agent, action string) contracts.StartCommand {
				return script(agent, 1, "trap '"+action+"' TERM; : >"+filepath.Join(up, agent)+"; while :; do sleep 0.05; done")
			}
			started := killedRunner(t, dir, trap("good", "exit 0"), trap("bad", "exit 3"), trap("plain", "trap - TERM; kill $$"))
			eventually(t, "their traps", func() bool { found, _ := os.ReadDir(up); return len(found) == len(started) })
			stat, err := procfs.ReadStat(started[0].PID)
			if err != nil {
				t.Fatal(err)
			}
			parent := stat.ParentPID
			if c.told {
				if err := syscall.Kill(parent, syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range started {
				if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			written := func(pattern string) (n int) { // whole: each file is one write
				files, _ := filepath.Glob(filepath.Join(dir, "reaper", pattern))
				for _, file := range files {
					if info, err := os.Stat(file); err == nil && info.Size() > 0 {
						n++
					}
				}
				return n
			}
			eventually(t, "the ends", func() bool {
				return written("exits/*") == len(started) && c.told == (written("shutdown") == 1)
			})
			_ = syscall.Kill(parent, syscall.SIGKILL)
			eventually(t, "the reaper's end", func() bool { return !alive(parent) })
			if c.over { // what there is, is of an earlier boot
				rename(t, dir, string(now), "another-boot "+rest)
			}
			r := open(t, dir)
			for agent, alone := range map[string]contracts.Outcome{"good": c.want, "bad": contracts.OutcomeFailed, "plain": contracts.OutcomeFailed} {
				if c.want == contracts.OutcomeLost {
					alone = c.want
				}
				ev := r.eventsOf(t, agent, 2)[1]
				exit := *data[contracts.AgentFailedData](t, ev).Exit
				if got := exit.Outcome(); got != alone || exit.Unknown {
					t.Errorf("%s: %s, want %s: %s", agent, got, alone, ev.Data)
				}
				if alone == contracts.OutcomeLost && !strings.HasPrefix(data[contracts.AgentFailedData](t, ev).Detail, "host rebooted, and process ") {
					t.Errorf("%s: told %s", agent, ev.Data)
				}
			}
		})
	}
}

// rename replaces a text in all files of a directory.
func rename(t *testing.T, dir, text, instead string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte(text)) {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(b, []byte(text), []byte(instead)), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a reaper tells it tells on every kernel.
func TestOlderKernel(t *testing.T) {
	t.Parallel()
	oldkernel.Rerun(t, "^Test(KilledRunnersSuccessorAdopts|EndWhileTheRunnerIsAway.*|RunnerDiedBetween.*|ReaperIsKilled|RunnerAndReaper.*|Orphans.*|NeverASecondCopy.*)$")
}

// A runner that could not take over all agents ends; what it does not watch it
// leaves to its successor.
func TestWhatIsNotWatchedIsNotStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := killedRunner(t, dir, script("a", 1, forever))[0]
	l, err := ledger.Open(t.Context(), dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := l.Load("a")
	if err != nil {
		t.Fatal(err)
	}
	f := New(Options{Runner: "r1", Ledger: l, Log: slog.New(slog.DiscardHandler), Observe: noObserver{}})
	f.agent("a").rec = rec // as after a failure to watch it
	if err := f.WithdrawAll(t.Context()); err == nil || !strings.Contains(err.Error(), "does not watch") {
		t.Errorf("%v", err)
	}
	f.Close()
	l.Close()
	if v := open(t, dir).List(); len(v) != 1 || v[0].PID != before.PID || v[0].State != contracts.AgentRunning {
		t.Errorf("the successor has %+v", v)
	}
}

func TestLostRecordStillRefusesASecondCopy(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(path string) error{
		"deleted": os.Remove,
		"corrupt": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			before := killedRunner(t, dir, script("a", 1, forever))[0]
			if err := lose(filepath.Join(dir, "agents", "a", "record.json")); err != nil {
				t.Fatal(err)
			}
			r := open(t, dir)
			if reply := r.Start(script("a", 2, forever)); reply.Code != contracts.RunnerStillRunning {
				t.Fatalf("start: %+v", reply)
			}
			if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 1}); reply.Code != contracts.RunnerOK {
				t.Errorf("stop: %+v", reply)
			}
			if alive(before.PID) {
				t.Error("the old process lives")
			}
			r.mustStart(t, script("a", 2, forever))
		})
	}
}

func TestSuccessorCarriesOnAStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := killedRunner(t, dir, script("a", 1, forever))[0]
	l, err := ledger.Open(t.Context(), dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := l.Load("a")
	rec.Stop = &contracts.StopCommand{Agent: "a", Incarnation: 1}
	if err == nil {
		err = l.Save(rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := open(t, dir)
	if ev := r.eventsOf(t, "a", 2)[1]; ev.Type != contracts.AgentStopped {
		t.Errorf("event %+v", ev)
	}
	if alive(before.PID) {
		t.Error("the process lives")
	}
}

func TestSuccessorInTheSameProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	pid := first.mustStart(t, script("a", 1, forever))
	first.leave(t, false)
	_ = syscall.Kill(pid, syscall.SIGKILL)

	second := open(t, dir)
	var last contracts.Event // the first may still be the start
	eventually(t, "the report of the end", func() bool {
		evs := second.eventsOf(t, "a", 1)
		last = evs[len(evs)-1]
		return last.Type == contracts.AgentFailed
	})
	// It is still this process's child, so nothing is unknown.
	if exit := data[contracts.AgentFailedData](t, last).Exit; exit.Signal != "SIGKILL" {
		t.Errorf("exit %+v", exit)
	}
}

// Runners are killed at random moments of starting agents; the agents check
// for themselves that none is ever there twice.
func TestNeverASecondCopyWhileRunnersAreKilled(t *testing.T) {
	t.Parallel()
	const agents, rounds = 4, 12
	dir := t.TempDir()
	// "pid" names the last copy. A copy that finds another alive complains.
	const exclusive = `n=$SMITH_AGENT
		if [ -e $n.pid ] && grep -q '^State:.[^ZX]' /proc/$(cat $n.pid)/status; then echo "$n $SMITH_INCARNATION $$ and $(cat $n.pid)" >>double; fi
		echo $$ >$n.pid; echo $SMITH_INCARNATION >>$n.ran; exec sleep 1000`
	next := map[string]uint64{}
	for round := range rounds {
		runner := exec.Command(os.Args[0])
		runner.Env = append(os.Environ(), runnerMode+"="+dir)
		var input strings.Builder
		for i := range agents {
			name := fmt.Sprintf("a%d", i)
			next[name]++
			// Each runner is told of the last incarnation again and of a
			// new one; the new one waits for the old one's end.
			for _, inc := range []uint64{max(1, next[name]-1), next[name]} {
				fmt.Fprintf(&input, `{"agent":%q,"incarnation":%d,"command":["/bin/sh","-c",%q]}`+"\n", name, inc, exclusive)
			}
		}
		in, err := runner.StdinPipe() // left open, so it waits for its death
		if err != nil {
			t.Fatal(err)
		}
		out, err := runner.StdoutPipe()
		if err == nil {
			err = runner.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = in.Write([]byte(input.String()))
		answers := bufio.NewScanner(out)
		for range 1 + rand.IntN(2*agents-1) {
			answers.Scan()
		}
		kill := time.NewTimer(time.Duration(rand.IntN(4000)) * time.Microsecond)
		<-kill.C
		_ = runner.Process.Kill()
		_ = runner.Wait()
		for i := range agents { // some agents die, mostly unseen
			b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("a%d.pid", i)))
			var pid int
			if _, scanErr := fmt.Sscan(string(b), &pid); err == nil && scanErr == nil && (round+i)%2 == 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	open(t, dir) // recovers, and ends what runs at the end of the test
	if b, err := os.ReadFile(filepath.Join(dir, "double")); err == nil {
		t.Errorf("second copies:\n%s", b)
	}
	starts := 0
	for i := range agents {
		b, _ := os.ReadFile(filepath.Join(dir, fmt.Sprintf("a%d.ran", i)))
		starts += strings.Count(string(b), "\n")
		last := ""
		for _, inc := range strings.Fields(string(b)) {
			if inc == last {
				t.Errorf("a%d: incarnation %s ran twice", i, inc)
			}
			last = inc
		}
	}
	if starts == 0 {
		t.Error("no starts; the test tests nothing")
	}
	t.Logf("%d starts under %d runners", starts, rounds)
}
