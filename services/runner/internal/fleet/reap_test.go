package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

// What agents leave behind comes to their parent: the reaper, or a runner that is
// a sub-reaper or the first process of a container. It reaps that, and no agent's
// status.
func TestOrphansAreReapedAndStatusesKept(t *testing.T) {
	t.Parallel()
	for _, by := range []parent{byReaper, byRunner} {
		t.Run("started "+string(by), func(t *testing.T) {
			t.Parallel()
			testOrphansAreReaped(t, by)
		})
	}
}

func testOrphansAreReaped(t *testing.T, by parent) {
	dir := t.TempDir()
	runner := startRemoteAs(t, dir, "", by)
	const orphans, agents = 40, 30
	messy := runner.start(script("messy", 1, fmt.Sprintf(`i=0; while [ $i -lt %d ]; do (sleep 0 &); (setsid sleep 0 &); i=$((i+1)); done; echo >made; exec sleep 1000`, orphans)))
	t.Cleanup(func() { _ = syscall.Kill(messy.PID, syscall.SIGKILL) })
	for i := range agents {
		runner.start(script(fmt.Sprint("exits", i), 1, "exit 7"))
	}
	for i := range agents {
		name := fmt.Sprint("exits", i)
		var rec ledger.Record
		eventually(t, "the end of "+name, func() bool {
			rec = record(dir, name)
			return rec.State == ledger.Exited
		})
		if rec.Exit.Unknown || rec.Exit.Code != 7 {
			t.Errorf("%s: exit %+v", name, rec.Exit)
		}
	}
	eventually(t, "the orphans", func() bool {
		_, err := os.Stat(filepath.Join(dir, "made"))
		return err == nil
	})
	eventually(t, "the orphans' reaping", func() bool {
		left := children(t, runner.cmd.Process.Pid)
		if by == byReaper && len(left) == 1 {
			left = children(t, left[0])
		}
		return len(left) == 1 && left[0] == messy.PID
	})
}

// record is what the disk says of an agent.
func record(dir, agent string) ledger.Record {
	b, _ := os.ReadFile(filepath.Join(dir, "agents", agent, "record.json"))
	rec, _ := ledger.Decode(b)
	return rec
}

// children lists those of a process. The kernel lists them with the thread that
// started them.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) { // the thread has ended
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(b)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// When the reaper is killed the runner starts another one, and knows how agents of
// the former end. What they leave behind is ended as ever.
func TestReaperIsKilled(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.mustStart(t, script("a", 1, untilGo))
	r.mustStart(t, script("b", 1, "(setsid sleep 1000 3>&- &); "+untilGo))
	reaper, _ := r.reaper.PID()
	if err := syscall.Kill(reaper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reaper's end", func() bool { _, ok := r.reaper.PID(); return !ok })
	pid := r.mustStart(t, script("c", 1, forever))
	if next, ok := r.reaper.PID(); !ok || next == reaper {
		t.Errorf("reaper %d, %t; before %d", next, ok, reaper)
	}
	touch(t, r.dir, "go")
	for _, agent := range []string{"a", "b"} {
		failed := data[contracts.AgentFailedData](t, r.eventsOf(t, agent, 2)[1])
		if failed.Exit.Unknown || failed.Exit.Code != 9 {
			t.Errorf("%s: exit %+v", agent, failed.Exit)
		}
		r.mustStart(t, script(agent, 2, forever))
	}
	if !alive(pid) {
		t.Error("c was disturbed")
	}
}

// A reaper that is killed amid a start: the program that runs is watched, and one
// that does not is the host's loss. Never is there a second one.
func TestReaperIsKilledAmidAStart(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	const once = `[ -e $SMITH_AGENT-$SMITH_INCARNATION ] && echo >double; echo >$SMITH_AGENT-$SMITH_INCARNATION; ` + forever
	lost := 0
	for i := range 20 {
		agent := fmt.Sprint("a", i)
		if reaper, ok := r.reaper.PID(); ok {
			delay := time.NewTimer(time.Duration(i) * 150 * time.Microsecond)
			go func() {
				<-delay.C
				_ = syscall.Kill(reaper, syscall.SIGKILL)
			}()
		}
		reply := r.Start(script(agent, 1, once))
		switch {
		case reply.Code == contracts.RunnerOK:
			if !alive(reply.PID) {
				t.Errorf("%s: process %d does not live", agent, reply.PID)
			}
		case reply.Code == contracts.RunnerAlreadyExited && reply.Exit.Blame == contracts.BlameHost:
			lost++
			if reply := r.Start(script(agent, 2, once)); reply.Code != contracts.RunnerOK {
				t.Errorf("%s again: %+v", agent, reply)
			}
			if evs := r.eventsOf(t, agent, 1); data[contracts.AgentFailedData](t, evs[0]).Reason != contracts.ReasonHostLost {
				t.Errorf("%s: %+v", agent, evs[0])
			}
		default:
			t.Errorf("%s: %+v", agent, reply)
		}
	}
	if _, err := os.Stat(filepath.Join(r.dir, "double")); err == nil {
		t.Error("a second copy")
	}
	t.Logf("%d of 20 starts were lost", lost)
}

// With the runner and the reaper killed there are the processes, the records and the
// statuses that the reaper had seen.
func TestRunnerAndReaperAreKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runner := startRemote(t, dir)
	lives := runner.start(script("lives", 1, "echo up; while [ ! -e gone ]; do sleep 0.01; done; exit 9"))
	ends := runner.start(script("ends", 1, "echo up; while [ ! -e go ]; do sleep 0.01; done; exit 7"))
	parents := children(t, runner.cmd.Process.Pid)
	runner.kill()
	touch(t, dir, "go")
	eventually(t, "the end", func() bool {
		exits, _ := filepath.Glob(filepath.Join(dir, "reaper", "exits", "*"))
		return len(exits) == 1 && !alive(ends.PID)
	})
	for _, reaper := range parents {
		if err := syscall.Kill(reaper, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the reaper's end", func() bool { return !alive(reaper) })
	}

	r := open(t, dir)
	if failed := data[contracts.AgentFailedData](t, r.eventsOf(t, "ends", 2)[1]); failed.Exit.Unknown || failed.Exit.Code != 7 {
		t.Errorf("exit %+v", failed.Exit)
	}
	if reply := r.Start(script("lives", 1, forever)); reply.Code != contracts.RunnerOK || reply.PID != lives.PID {
		t.Errorf("the same start again: %+v, want process %d", reply, lives.PID)
	}
	if reply := r.Start(script("lives", 2, forever)); reply.Code != contracts.RunnerStillRunning {
		t.Errorf("a second copy: %+v", reply)
	}
	touch(t, dir, "gone")
	// Of what no reaper has the kernel tells from Linux 6.15 on.
	if failed := data[contracts.AgentFailedData](t, r.eventsOf(t, "lives", 2)[1]); !failed.Exit.Unknown && failed.Exit.Code != 9 {
		t.Errorf("exit %+v", failed.Exit)
	}
	r.mustStart(t, script("lives", 2, forever))
}
