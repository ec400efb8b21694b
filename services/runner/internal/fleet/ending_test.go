package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// worker is a program in the directory of the rig that says its pid in the file
// named, notes each signal to stop in signals, and ends once it may.
func worker(file string) string {
	return `sh -c 'trap "echo got >>signals" TERM INT; echo $$ >` + file + `; while [ ! -e release ]; do sleep 0.01; done; echo saved >>saved'`
}

// deaf is such a program that ignores every signal to stop.
func deaf(file string) string {
	return `sh -c 'trap "" TERM INT; echo $$ >` + file + `; while :; do sleep 0.01; done'`
}

// await starts programs in the background of a script until they have spoken.
const await = `while [ ! -s child ]; do sleep 0.01; done; echo up; `

// detached is how programs start others that are to be on their own.
func detached(program string) string { return "setsid " + program + " 3>&- & " + await }

// pidIn waits for a pid in a file.
func (r *rig) pidIn(t *testing.T, file string) (pid int) {
	t.Helper()
	eventually(t, "a pid in "+file, func() bool {
		b, _ := os.ReadFile(filepath.Join(r.dir, file))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return pid > 0 && strings.HasSuffix(string(b), "\n")
	})
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	return pid
}

func (r *rig) lines(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, file))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

// stopping orders a stop whose answer is awaited elsewhere.
func (r *rig) stopping(cmd contracts.StopCommand) <-chan contracts.RunnerReply {
	reply := make(chan contracts.RunnerReply, 1)
	go func() { reply <- r.Stop(context.Background(), cmd) }()
	return reply
}

func unanswered(t *testing.T, what string, reply <-chan contracts.RunnerReply) {
	t.Helper()
	select {
	case got := <-reply:
		t.Fatalf("%s: answered while the agent's worker lived: %+v", what, got)
	default:
	}
}

// The whole grace is for all of an agent's processes, also when its first one
// ends at the signal, and each gets one signal, however often the stop is
// ordered.
func TestStopWaitsForTheWholeTree(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{
		"wrapper shell":       worker("child") + "; echo goes on",
		"same session":        `bash -c 'set -m; sh worker & wait'`,
		"detached, marked":    detached(worker("child")) + "wait",
		"detached, no marks":  "env -i PATH=$PATH setsid " + worker("child") + " 3>&- & " + await + "wait",
		"its child, no marks": "setsid sh -c '" + strings.ReplaceAll("env -i PATH=$PATH setsid "+worker("child")+" 3>&- & wait", "'", `'"'"'`) + "' 3>&- & " + await + "wait",
		"detached, lock only": "env -i setsid " + worker("child") + " & " + await + "wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, t.TempDir())
			if err := os.WriteFile(filepath.Join(r.dir, "worker"), []byte(worker("child")), 0o600); err != nil {
				t.Fatal(err)
			}
			pid := r.mustStart(t, script("a", 1, command))
			child := r.pidIn(t, "child")
			reply := r.stopping(contracts.StopCommand{Agent: "a", Incarnation: 1, Timeout: contracts.Duration(patience)})
			eventually(t, "the leader's end", func() bool { return !alive(pid) })
			eventually(t, "the signal", func() bool { return r.lines(t, "signals") > 0 })
			for range 3 {
				r.stopping(contracts.StopCommand{Agent: "a", Incarnation: 1})
			}
			all := make(chan error, 1)
			go func() { all <- r.WithdrawAll(context.Background()) }()
			eventually(t, "the others' waiting", func() bool { return r.closingNow() })
			unanswered(t, name, reply)
			if !alive(child) || len(r.eventsOf(t, "a", 1)) != 1 {
				t.Fatalf("worker alive: %t; events %+v", alive(child), r.eventsOf(t, "a", 1))
			}
			if code := r.Start(script("a", 2, forever)).Code; code != contracts.RunnerStillRunning {
				t.Errorf("a successor meanwhile: %s", code)
			}
			touch(t, r.dir, "release")
			if got := <-reply; got.Code != contracts.RunnerOK || got.Exit == nil {
				t.Errorf("stop: %+v", got)
			}
			if err := <-all; err != nil {
				t.Error(err)
			}
			if alive(child) || r.lines(t, "saved") != 1 || r.lines(t, "signals") != 1 {
				t.Errorf("alive: %t, saved %d times, %d signals", alive(child), r.lines(t, "saved"), r.lines(t, "signals"))
			}
			if ev := r.eventsOf(t, "a", 2)[1]; ev.Type != contracts.AgentStopped {
				t.Errorf("event %+v", ev)
			}
		})
	}
}

func (f *Fleet) closingNow() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closing
}

// What does not end within the grace is killed, and the stop is answered then
// and not before.
func TestStopKillsWhatIsLeftAfterTheGrace(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	for name, command := range map[string]string{
		"wrapper shell":    deaf("child") + "; echo goes on",
		"detached, marked": detached(deaf("child")) + "wait",
		"the leader too":   `trap "" TERM; ` + detached(deaf("child")) + "while :; do sleep 0.01; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, t.TempDir())
			pid := r.mustStart(t, script("a", 1, command))
			child := r.pidIn(t, "child")
			begin := time.Now()
			reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 1, Timeout: contracts.Duration(timeout)})
			if took := time.Since(begin); reply.Code != contracts.RunnerOK || took < timeout-20*time.Millisecond {
				t.Errorf("after %s: %+v", took, reply)
			}
			if alive(pid) || alive(child) {
				t.Errorf("leader alive: %t, child alive: %t", alive(pid), alive(child))
			}
		})
	}
}

// An order that says a shorter timeout hastens a stop; one that says none, or a
// longer one, changes nothing.
func TestRepeatedStopsOnlyHasten(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	cmd := script("a", 1, deaf("child"))
	cmd.ShutdownTimeout = contracts.Duration(time.Hour)
	r.mustStart(t, cmd)
	child := r.pidIn(t, "child")
	order := contracts.StopCommand{Agent: "a", Incarnation: 1}
	first := r.stopping(order)
	bound := func() (b uint64) {
		r.agents["a"].mu.Lock()
		defer r.agents["a"].mu.Unlock()
		if e := r.agents["a"].rec.Ending; e != nil && e.Signalled > 0 {
			b = e.Bound
		}
		return b
	}
	eventually(t, "the signal", func() bool { return bound() > 0 })
	was := bound()
	again := order
	again.Timeout = contracts.Duration(2 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the order counts though its answer is not awaited
	for _, o := range []contracts.StopCommand{order, again} {
		if reply := r.Stop(ctx, o); reply.Code != contracts.RunnerStopping || bound() != was {
			t.Errorf("%+v: %+v, bound %d, was %d", o, reply, bound(), was)
		}
	}
	again.Timeout = contracts.Duration(10 * time.Millisecond)
	if reply := r.Stop(t.Context(), again); reply.Code != contracts.RunnerOK || alive(child) {
		t.Errorf("a shorter timeout: %+v", reply)
	}
	if reply := <-first; reply.Code != contracts.RunnerOK {
		t.Errorf("the first: %+v", reply)
	}
}

func TestStopSignal(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	cmd := script("a", 1, `trap 'exit 7' INT; trap 'exit 8' TERM; echo up; while :; do sleep 0.01; done`)
	cmd.StopSignal = contracts.StopINT
	r.mustStart(t, cmd)
	r.outputOf(t, "a")
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 1, Timeout: contracts.Duration(patience)}); reply.Exit == nil || reply.Exit.Code != 7 {
		t.Errorf("stop: %+v", reply)
	}
}

// What an agent that ended by itself had started is told to end too, and its
// end is reported, as its own, when that is gone.
func TestLeftoversEndBeforeTheSuccessorStarts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ child, how string }{
		"group":    {worker("child") + " & " + await, "exit 3"},
		"detached": {detached(worker("child")), "exit 3"},
		"orphaned": {"(setsid " + worker("child") + " 3>&- &) ; " + await, "exit 3"},
		"killed":   {detached(worker("child")), "kill -9 $$"},
	}
	for name, c := range tests {
		for _, parent := range []parent{byReaper, byRunner} {
			t.Run(fmt.Sprintf("%s, started %s", name, parent), func(t *testing.T) {
				t.Parallel()
				r := openBy(t, t.TempDir(), parent)
				pid := r.mustStart(t, script("a", 1, c.child+c.how))
				child := r.pidIn(t, "child")
				eventually(t, "the leader's end", func() bool { return !alive(pid) })
				eventually(t, "the signal", func() bool { return r.lines(t, "signals") == 1 })
				if got := r.Start(script("a", 2, forever)); got.Code != contracts.RunnerStillRunning || got.Incarnation != 1 {
					t.Errorf("a successor meanwhile: %+v", got)
				}
				if got := r.Start(script("a", 1, forever)); got.Code != contracts.RunnerAlreadyExited || got.Exit == nil {
					t.Errorf("the same meanwhile: %+v", got)
				}
				if v := r.List()[0]; v.State != contracts.AgentStopping || r.Running() != 1 {
					t.Errorf("listed as %+v", v)
				}
				// As a supervisor does that is answered still_running.
				reply := r.stopping(contracts.StopCommand{Agent: "a", Incarnation: 1})
				unanswered(t, name, reply)
				touch(t, r.dir, "release")
				if got := <-reply; got.Code != contracts.RunnerOK || alive(child) {
					t.Errorf("stop: %+v, alive: %t", got, alive(child))
				}
				if r.lines(t, "saved") != 1 || r.lines(t, "signals") != 1 {
					t.Errorf("saved %d times, %d signals", r.lines(t, "saved"), r.lines(t, "signals"))
				}
				ev := r.eventsOf(t, "a", 2)[1]
				exit := data[contracts.AgentFailedData](t, ev).Exit
				if ev.Type != contracts.AgentFailed || exit.Blame != contracts.BlameAgent || exit.Code != 3 && exit.Signal != "SIGKILL" {
					t.Errorf("event %+v, exit %+v", ev, exit)
				}
				r.mustStart(t, script("a", 2, forever))
			})
		}
	}
}

func TestLeaveChildrenKeepsWhatIsDetached(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{"without the lock": "3>&-", "with the lock": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, t.TempDir())
			cmd := script("a", 1, "setsid "+deaf("child")+" "+lock+" & "+deaf("inside")+" & "+await+"wait")
			cmd.LeaveChildren, cmd.ShutdownTimeout = true, contracts.Duration(50*time.Millisecond)
			pid := r.mustStart(t, cmd)
			child, inside := r.pidIn(t, "child"), r.pidIn(t, "inside")
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			r.eventsOf(t, "a", 2)
			if !alive(child) || alive(inside) {
				t.Errorf("the detached one lives: %t, that of the group: %t", alive(child), alive(inside))
			}
			cmd.Incarnation, cmd.Command = 2, script("a", 2, forever).Command
			r.mustStart(t, cmd)
			if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 2}); reply.Code != contracts.RunnerOK || !alive(child) {
				t.Errorf("stop: %+v, alive: %t", reply, alive(child))
			}
		})
	}
}

// A runner that is killed during an end leaves it to its successor, which sends
// no second signal, keeps the time, and tells how the agent had ended.
func TestSuccessorContinuesAnEnd(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprintf("ordered %t", ordered), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			runner := startRemote(t, dir)
			end := "exit 3"
			if ordered {
				end = "wait"
			}
			cmd := script("a", 1, detached(worker("child"))+"while [ ! -e go ]; do sleep 0.01; done; "+end)
			cmd.ShutdownTimeout = contracts.Duration(time.Hour)
			pid := runner.start(cmd).PID
			look := &rig{dir: dir}
			child := look.pidIn(t, "child")
			if ordered {
				runner.stop("a", 1)
			} else {
				touch(t, dir, "go")
			}
			eventually(t, "the signal", func() bool { return !alive(pid) && look.lines(t, "signals") == 1 })
			var before ledger.Record
			eventually(t, "the record of it", func() bool {
				b, _ := os.ReadFile(filepath.Join(dir, "agents", "a", "record.json"))
				before, _ = ledger.Decode(b)
				return before.Ending != nil && before.Ending.Signalled > 0
			})
			runner.kill()

			r := open(t, dir)
			reply := r.stopping(contracts.StopCommand{Agent: "a", Incarnation: 1})
			eventually(t, "the end's going on", func() bool { return r.List()[0].State == contracts.AgentStopping })
			unanswered(t, "stop", reply)
			r.agents["a"].mu.Lock()
			if e := r.agents["a"].rec.Ending; e == nil || e.Bound != before.Ending.Bound {
				t.Errorf("ending %+v, was %+v", e, before.Ending)
			}
			r.agents["a"].mu.Unlock()
			touch(t, dir, "release")
			if got := <-reply; got.Code != contracts.RunnerOK || alive(child) {
				t.Errorf("stop: %+v, alive: %t", got, alive(child))
			}
			if look.lines(t, "signals") != 1 || look.lines(t, "saved") != 1 {
				t.Errorf("%d signals, saved %d times", look.lines(t, "signals"), look.lines(t, "saved"))
			}
			ev := r.eventsOf(t, "a", 2)[1]
			exit := data[contracts.AgentFailedData](t, ev).Exit
			if ordered && ev.Type != contracts.AgentStopped || !ordered && (ev.Type != contracts.AgentFailed || exit.Unknown || exit.Code != 3) {
				t.Errorf("event %+v, exit %+v", ev, exit)
			}
		})
	}
}

func TestDue(t *testing.T) {
	old, young := procfs.Stat{PID: 1, StartTime: 10}, procfs.Stat{PID: 2, StartTime: 30}
	left := []procfs.Stat{old, young}
	for name, c := range map[string]struct {
		e     ledger.Ending
		up    bool
		now   uint64
		first int
		n     int
		kill  bool
	}{
		"nothing was sent":                   {ledger.Ending{Bound: 100}, true, 50, 1, 2, false},
		"nothing was sent, the program gone": {ledger.Ending{Bound: 100}, false, 50, 1, 2, false},
		"while the program lives":            {ledger.Ending{Bound: 100, Signalled: 20}, true, 50, 0, 0, false},
		"what it started since":              {ledger.Ending{Bound: 100, Signalled: 20}, false, 50, 2, 1, false},
		"all have had theirs":                {ledger.Ending{Bound: 100, Signalled: 30}, false, 50, 0, 0, false},
		"time is over":                       {ledger.Ending{Bound: 100, Signalled: 30}, false, 100, 1, 2, true},
		"no time was given":                  {ledger.Ending{}, true, 50, 1, 2, true},
	} {
		whom, kill := due(c.e, c.up, left, c.now)
		if len(whom) != c.n || kill != c.kill || c.n > 0 && whom[0].PID != c.first {
			t.Errorf("%s: %+v, kill %t", name, whom, kill)
		}
	}
}
