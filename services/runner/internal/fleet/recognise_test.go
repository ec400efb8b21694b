package fleet

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// loseState removes all that a runner remembers.
func loseState(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

// A runner that comes back without its state directory knows its agents by
// their marks, as it would by its records.
func TestRunnerWithoutItsStateDirectoryAdopts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	plain, tooled := script("plain", 7, forever), script("tooled", 3, "setsid sleep 1000 3>&- & sleep 1000 & exec sleep 1000")
	plain.Heartbeats, plain.HeartbeatInterval = contracts.HeartbeatsByRunner, contracts.Duration(10*time.Millisecond)
	plain.Tree, plain.Type, plain.ShutdownTimeout = "t", "worker", contracts.Duration(time.Hour)
	before := killedRunner(t, dir, plain, tooled)
	loseState(t, dir)

	r := open(t, dir)
	agents := r.List()
	if len(agents) != 2 || agents[0].PID != before[0].PID || agents[0].Incarnation != 7 || agents[0].Tree != "t" ||
		agents[0].State != contracts.AgentRunning || agents[0].Started == nil || agents[1].PID != before[1].PID || agents[1].Incarnation != 3 {
		t.Fatalf("agents %+v, want processes %d and %d adopted", agents, before[0].PID, before[1].PID)
	}
	eventually(t, "beats", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.beats["plain"] > 1 && r.beats["tooled"] == 0
	})
	if reply := r.Start(plain); reply.Code != contracts.RunnerOK || reply.PID != before[0].PID {
		t.Errorf("the same start again: %+v", reply)
	}
	if reply := r.Start(script("plain", 6, forever)); reply.Code != contracts.RunnerStale || !reply.Live {
		t.Errorf("an older start: %+v", reply)
	}
	if reply := r.Start(script("plain", 8, forever)); reply.Code != contracts.RunnerStillRunning {
		t.Errorf("a newer start: %+v", reply)
	}
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "tooled", Incarnation: 3}); reply.Code != contracts.RunnerOK {
		t.Errorf("stop: %+v", reply)
	}
	for _, p := range procfs.Scan(procfs.Look{Vars: []string{ledger.TokenVar, contracts.EnvAgent, contracts.EnvNATSURL}}) {
		if p.Vars[contracts.EnvAgent] == "tooled" && p.Vars[contracts.EnvNATSURL] == "nats://"+dir {
			t.Errorf("it lives: %+v", p)
		}
	}
	r.mustStart(t, script("tooled", 4, forever))

	// And its successor knows them by their records again.
	r.leave(t, false)
	r = open(t, dir)
	if again := r.List(); len(again) != 2 || again[0].PID != before[0].PID || again[0].State != contracts.AgentRunning {
		t.Errorf("agents %+v", again)
	}
}

// What does not say enough to be watched is ended within its grace, and its end
// is reported as nobody's failure, before a successor starts.
func TestUnrecordedAgentsThatCannotBeAdoptedEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		leader bool // is killed before the runner comes back
	}{
		"its lock closed": {"exec 3>&-; " + worker("child"), false},
		"only a tool is left of it, which leads a session": {"setsid " + worker("child") + " & exec sleep 1000", true},
		"its lock overwritten":                             {"while [ ! -s /proc/self/fd/3 ]; do sleep 0.01; done; echo '{}' >&3; " + worker("child"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "state")
			work := t.TempDir()
			cmd := script("a", 5, "cd "+work+"; "+c.script)
			cmd.ShutdownTimeout = contracts.Duration(time.Hour)
			pid := killedRunner(t, dir, cmd)[0].PID
			look := &rig{dir: work}
			child := look.pidIn(t, "child")
			if c.leader {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the leader's end", func() bool { return !alive(pid) })
			}
			loseState(t, dir)
			r := open(t, dir)
			if v := r.List(); len(v) != 1 || v[0].State != contracts.AgentStopping || v[0].Incarnation != 5 {
				t.Errorf("listed as %+v", v)
			}
			if reply := r.Start(script("a", 6, forever)); reply.Code != contracts.RunnerStillRunning || reply.Incarnation != 5 {
				t.Errorf("a successor meanwhile: %+v", reply)
			}
			stop := r.stopping(contracts.StopCommand{Agent: "a", Incarnation: 5})
			eventually(t, "the signal", func() bool { return look.lines(t, "signals") == 1 })
			unanswered(t, "stop", stop)
			touch(t, work, "release")
			if reply := <-stop; reply.Code != contracts.RunnerOK || alive(child) || alive(pid) || look.lines(t, "saved") != 1 {
				t.Errorf("stop: %+v, child alive: %t, leader alive: %t, saved %d times", reply, alive(child), alive(pid), look.lines(t, "saved"))
			}
			failed := data[contracts.AgentFailedData](t, r.eventsOf(t, "a", 1)[0])
			if failed.Reason != contracts.ReasonHostLost || failed.Incarnation != 5 || failed.Exit.Blame != contracts.BlameHost {
				t.Errorf("event %+v", failed)
			}
			r.mustStart(t, script("a", 6, forever))
		})
	}
}

// Two copies, as earlier versions may have left them: the newer one stays.
func TestOlderUnrecordedCopiesEnd(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	older := killedRunner(t, dir, script("a", 1, forever))[0]
	aside := dir + "-aside" // its processes hold the directory of that name, not this one
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	// A runner that knows nothing of marks: one that may not see the older one.
	newer := blindRunner(t, dir, script("a", 2, forever))
	loseState(t, dir)
	r := open(t, dir)
	eventually(t, "the older one's end", func() bool { return !alive(older.PID) })
	if v := r.List(); len(v) != 1 || v[0].PID != newer || v[0].Incarnation != 2 {
		t.Errorf("agents %+v, want process %d", v, newer)
	}
}

// blindRunner starts a command as a runner that looks for nothing.
func blindRunner(t *testing.T, dir string, cmd contracts.StartCommand) int {
	t.Helper()
	l, err := ledger.Open(t.Context(), dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	f := New(Options{
		Runner: "r1", Ledger: l, Log: slog.New(slog.DiscardHandler), WorkDir: dir, MaxAgents: 1, Output: output.Limits{Bytes: 1 << 20, Incarnations: 3},
		Env: Env{NATSURL: "nats://" + dir}, Notify: func(string) {}, Observe: noObserver{},
	})
	reply := f.Start(cmd)
	if reply.Code != contracts.RunnerOK {
		t.Fatalf("start: %+v", reply)
	}
	f.Close()
	l.Close()
	return reply.PID
}

// Processes that carry marks are not all this runner's: another runner on the
// host, one of the same name in another fleet, one of the same name and fleet
// that lives, a container's.
func TestOtherRunnersAgentsAreLeftAlone(t *testing.T) {
	t.Parallel()
	const fleet = "nats://shared"
	top := t.TempDir()
	mark := func(dir, runner, nats string) []string {
		return []string{
			"SMITH_START=" + fmt.Sprint(dir, runner, nats), "SMITH_RUNNER_STATE=" + dir, "SMITH_RUNNER=" + runner, "SMITH_AGENT=a",
			"SMITH_INCARNATION=4", "SMITH_NATS_URL=" + nats, "PATH=" + os.Getenv("PATH"),
		}
	}
	mine, used, unused := filepath.Join(top, "mine"), filepath.Join(top, "used"), filepath.Join(top, "unused")
	l, err := ledger.Open(t.Context(), used, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	others := map[string]int{
		"another runner, in its directory": spawn(t, mark(unused, "r2", fleet)),
		"another runner, in mine":          spawn(t, mark(mine, "r2", fleet)),
		"my name, in another fleet":        spawn(t, mark(unused, "r1", "nats://other")),
		"my name, in use":                  spawn(t, mark(used, "r1", fleet)),
		"marks that make no sense":         spawn(t, append(mark(mine, "r1", fleet), "SMITH_START=x")[5:]),
	}
	if os.Getuid() == 0 {
		others["a container's"] = spawn(t, mark(mine, "r1", fleet), "unshare", "--pid", "--fork", "--kill-child")
	}
	kin := spawn(t, mark(unused, "r1", fleet))
	r := openIn(t, mine, fleet)
	if v := r.List(); len(v) != 0 {
		t.Errorf("agents %+v", v)
	}
	r.mustStart(t, script("b", 1, forever))
	if !alive(kin) {
		t.Error("what may be of a runner of this name was ended, though no agent of its name is to start")
	}
	// It would be a second copy of this one.
	if reply := r.Start(script("a", 5, forever)); reply.Code != contracts.RunnerStillRunning {
		t.Errorf("start: %+v", reply)
	}
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 4}); reply.Code != contracts.RunnerOK || alive(kin) {
		t.Errorf("stop: %+v, alive: %t", reply, alive(kin))
	}
	r.mustStart(t, script("a", 5, forever))
	for name, pid := range others {
		if !alive(pid) {
			t.Errorf("%s: ended", name)
		}
	}
}

// spawn starts a sleep of an environment, in a session of its own, and returns
// its pid.
func spawn(t *testing.T, env []string, wrapper ...string) (pid int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pid")
	argv := append(append(wrapper, "env", "-i"), env...) // the wrapper has none of it
	argv = append(argv, "setsid", "sh", "-c", "read pid rest </proc/self/stat; echo $pid >"+name+"; exec sleep 1000")
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "the pid of "+strings.Join(argv, " "), func() bool {
		b, _ := os.ReadFile(name)
		_, err := fmt.Sscan(string(b), &pid)
		return err == nil
	})
	return pid
}

// What an agent prints into a FIFO that was removed is stored all the same, and
// bounded.
func TestOutputIsFoundWithoutTheStateDirectory(t *testing.T) {
	t.Parallel()
	dir, work := filepath.Join(t.TempDir(), "state"), t.TempDir()
	before := killedRunner(t, dir, script("loud", 1, "cd "+work+"; while [ ! -e go ]; do echo 0123456789012345678901234567890123456789; done; echo last words; exit 3"))[0]
	loseState(t, dir)
	r := open(t, dir)
	if !alive(before.PID) {
		t.Fatal("it did not outlive its runner")
	}
	r.printsBeyond(t, "loud")
	touch(t, work, "go")
	failed := data[contracts.AgentFailedData](t, r.eventsOf(t, "loud", 1)[0])
	if !strings.HasSuffix(failed.Exit.Tail, "last words") {
		t.Errorf("exit %+v", failed.Exit)
	}
}
