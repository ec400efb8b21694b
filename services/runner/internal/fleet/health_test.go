package fleet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// condemned waits for what is told of an agent after its start.
func (r *rig) condemned(t *testing.T, agent string) contracts.AgentFailedData {
	t.Helper()
	return data[contracts.AgentFailedData](t, r.eventsOf(t, agent, 2)[1])
}

// Whatever shows that an agent does not work is told once, while it runs on: what
// follows is its supervisor's to decide.
func TestHealth(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	const quick = contracts.Duration(100 * time.Millisecond)
	for name, tt := range map[string]struct {
		script string
		health contracts.HealthSpec
		reason contracts.FailureReason
		detail string
	}{
		"checked": {
			"touch well; sleep 0.5; rm well; " + forever,
			contracts.HealthSpec{Command: []string{"test", "-e", "well"}, Interval: quick, Failures: 2},
			contracts.ReasonHealthCheckFailed, "its health check failed 2 times in a row: command test: exit status 1 (process ",
		},
		"silent": {
			"echo one; sleep 0.5; echo two; " + forever,
			contracts.HealthSpec{OutputWithin: contracts.Duration(time.Second)},
			contracts.ReasonOutputSilent, "s; output_within is 1s (process ",
		},
		"old": {
			forever,
			contracts.HealthSpec{MaxRuntime: contracts.Duration(time.Second)},
			contracts.ReasonMaxRuntime, "s; max_runtime is 1s (process ",
		},
		"greedy": {
			"head -c 50000000 /dev/zero | tail -c 40000000 | sleep 1000",
			contracts.HealthSpec{MaxMemory: 20 << 20},
			contracts.ReasonMaxMemory, "MiB resident; max_memory is 20 MiB (process ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := script(name, 4, tt.script)
			cmd.Health, cmd.Dir = &tt.health, t.TempDir()
			pid := r.mustStart(t, cmd)
			got := r.condemned(t, name)
			if got.Reason != tt.reason || !strings.Contains(got.Detail, tt.detail) || got.Incarnation != 4 || got.Runner != "r1" || got.Exit != nil {
				t.Errorf("told %+v", got)
			}
			if !alive(pid) {
				t.Error("it has ended")
			}
		})
	}
}

// An agent that is checked is spoken for once it is well, and not before; a check
// that never succeeds counts when its start deadline is over.
func TestHealthOfAStart(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	dir := t.TempDir()
	cmd := script("slow", 1, forever)
	cmd.Heartbeats, cmd.HeartbeatInterval, cmd.Dir = contracts.HeartbeatsByRunner, contracts.Duration(10*time.Millisecond), dir
	cmd.StartDeadline = contracts.Duration(time.Hour)
	cmd.Health = &contracts.HealthSpec{Command: []string{"sh", "-c", "echo once >> asked; test -e well"}, Interval: contracts.Duration(100 * time.Millisecond), Failures: 1}
	r.mustStart(t, cmd)
	never := cmd
	never.Agent, never.Dir, never.StartDeadline = "never", t.TempDir(), contracts.Duration(500*time.Millisecond)
	r.mustStart(t, never)
	if got := r.condemned(t, "never"); got.Reason != contracts.ReasonHealthCheckFailed {
		t.Errorf("told %+v", got)
	}
	eventually(t, "some checks", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "asked"))
		return len(b) > 15
	})
	r.mu.Lock()
	beats := r.beats["slow"] + r.beats["never"]
	r.mu.Unlock()
	if beats > 0 {
		t.Errorf("%d beats of agents that are not well", beats)
	}
	if err := os.WriteFile(filepath.Join(dir, "well"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "beats", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.beats["slow"] > 2
	})
	if n := len(r.eventsOf(t, "slow", 1)); n != 1 {
		t.Errorf("%d events about an agent that only took its time", n)
	}
}

// A runner that comes back checks on, as the agent's program was started, and tells
// nothing twice.
func TestHealthAfterARestart(t *testing.T) {
	t.Parallel()
	dir, work := t.TempDir(), t.TempDir()
	well := filepath.Join(work, "well")
	if err := os.WriteFile(well, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := script("checked", 2, "sleep 0.1; "+forever)
	cmd.Dir, cmd.Env = work, map[string]string{"SECRET_FILE": "well"}
	cmd.Health = &contracts.HealthSpec{Command: []string{"sh", "-c", `test -e "$SECRET_FILE"`}, Interval: contracts.Duration(100 * time.Millisecond), Failures: 2}
	killedRunner(t, dir, cmd)
	r := open(t, dir)
	if err := os.Remove(well); err != nil {
		t.Fatal(err)
	}
	if got := r.condemned(t, "checked"); got.Reason != contracts.ReasonHealthCheckFailed {
		t.Errorf("told %+v", got)
	}
	r.leave(t, false)
	again := open(t, dir)
	if reply := again.Stop(t.Context(), contracts.StopCommand{Agent: "checked", Incarnation: 2}); reply.Code != contracts.RunnerOK {
		t.Errorf("stop: %+v", reply)
	}
	if events := again.eventsOf(t, "checked", 1); len(events) != 1 || events[0].Type != contracts.AgentStopped {
		t.Errorf("told %+v", events)
	}
}

// Checks are none of the agent's processes: those that follow one another, and heed no
// signal, do not hold its end up.
func TestChecksDoNotHoldUpAnEnd(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	cmd := script("checked", 1, forever)
	cmd.Dir, cmd.ShutdownTimeout = t.TempDir(), contracts.Duration(time.Hour)
	cmd.Health = &contracts.HealthSpec{
		Command: []string{"sh", "-c", "trap '' TERM; touch asked; sleep 30"}, Interval: contracts.Duration(100 * time.Millisecond), Timeout: contracts.Duration(time.Minute),
	}
	r.mustStart(t, cmd)
	eventually(t, "a check", func() bool {
		_, err := os.Stat(filepath.Join(cmd.Dir, "asked"))
		return err == nil
	})
	begin := time.Now()
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "checked", Incarnation: 1}); reply.Code != contracts.RunnerOK {
		t.Fatalf("stop: %+v", reply)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("its end took %s", took)
	}
}

// What commands that check agents leave behind, in any session, is killed and reaped
// after each check, and by the next runner when this one is killed amid a check.
func TestChecksLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runner := startRemote(t, dir)
	check := func(agent, script string) {
		cmd := scriptOf(agent, script)
		pid := runner.start(cmd).PID
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	}
	const away = "(setsid sleep 1000 &) >/dev/null 2>&1; "
	check("passes", away+"sleep 0.01 | cat; (sleep 0 &); echo >>passes; exit 0")
	check("hangs", away+"echo >>hangs; timeout 1000 sleep 1000 | cat")
	for _, agent := range []string{"passes", "hangs"} {
		eventually(t, "checks of "+agent, func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, agent))
			return len(b) >= 5
		})
	}
	runner.stop("passes", 1)
	eventually(t, "the end of what the checks of an agent left", func() bool {
		return record(dir, "passes").State == ledger.Exited && len(checksOf(dir)) <= len([]string{"sh", "setsid sleep", "timeout", "sleep", "cat"})
	})
	eventually(t, "the reaping", func() bool {
		zombies := 0
		for _, pid := range children(t, runner.cmd.Process.Pid) {
			if s, err := procfs.ReadStat(pid); err == nil && !s.Alive() {
				zombies++
			}
		}
		return zombies == 0
	})
	eventually(t, "a check that hangs", func() bool { return len(checksOf(dir)) > 2 })
	runner.kill()
	if len(checksOf(dir)) == 0 {
		t.Error("the kill has ended the check, which shows nothing")
	}
	open(t, dir) // has its own checks
	eventually(t, "the end of the former runner's checks", func() bool {
		ids := map[string]bool{}
		for _, p := range checksOf(dir) {
			id, _, _ := strings.Cut(p.Vars[ledger.CheckVar], ".")
			ids[id] = true
		}
		return len(ids) <= 1
	})
}

func scriptOf(agent, check string) contracts.StartCommand {
	const quick = contracts.Duration(100 * time.Millisecond)
	cmd := script(agent, 1, forever)
	cmd.Health = &contracts.HealthSpec{Command: []string{"sh", "-c", check}, Interval: quick, Timeout: quick, Failures: 1000}
	return cmd
}

// checksOf returns the processes of checks in a directory.
func checksOf(dir string) []procfs.Process {
	return slices.DeleteFunc(procfs.Scan(procfs.Look{Vars: ledger.CheckVars()}), func(p procfs.Process) bool {
		wd, _ := procfs.WorkDir(p.PID)
		return p.Vars == nil || wd != dir
	})
}
