package fleet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestLogsOfIncarnations(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	for n := range uint64(5) {
		r.mustStart(t, script("a", n+1, "echo run $SMITH_INCARNATION; exit 1"))
		r.eventsOf(t, "a", int(n+1)*2)
	}
	for want, req := range map[string]contracts.LogsRequest{
		"run 5\n": {Agent: "a"},
		"run 4\n": {Agent: "a", Previous: true},
		"run 3\n": {Agent: "a", Incarnation: 3},
		"run 1\n": {Agent: "a", Incarnation: 1}, // the first failure
	} {
		if got, _ := r.printed(t, req); got != want {
			t.Errorf("%+v: %q, want %q", req, got, want)
		}
	}
	reply, _, err := r.Logs(t.Context(), contracts.LogsRequest{Agent: "a", Incarnation: 3, At: new(int64(1 << 20))})
	if err != nil || !reply.Ended || reply.Successor != 4 || reply.FirstFailure != 1 || !slices.Equal(reply.Kept, []uint64{1, 3, 4, 5}) {
		t.Errorf("at the end: %+v, %v", reply, err)
	}
	for what, req := range map[string]contracts.LogsRequest{
		"an agent that never ran":            {Agent: "b"},
		"an incarnation that is not kept":    {Agent: "a", Incarnation: 2},
		"one that never was":                 {Agent: "a", Incarnation: 9},
		"an incarnation before the first":    {Agent: "a", Incarnation: 1, Previous: true},
		"an agent whose name is a directory": {Agent: ".."},
	} {
		if reply, data, err := r.Logs(t.Context(), req); !errors.Is(err, contracts.ErrNoOutput) {
			t.Errorf("%s: %+v, %q, %v", what, reply, data, err)
		}
	}
}

// Who waits for output is answered when there is some, when the agent ends, and at
// the latest after the time that was asked for.
func TestLogsWait(t *testing.T) {
	t.Parallel()
	r, work := open(t, t.TempDir()), t.TempDir()
	r.mustStart(t, script("a", 1, "cd "+work+`; until [ -e go ]; do sleep 0.01; done; echo now; until [ -e end ]; do sleep 0.01; done`))
	wait := contracts.LogsRequest{Agent: "a", Wait: contracts.Duration(50 * time.Millisecond)}
	reply, data, err := r.Logs(t.Context(), wait)
	if err != nil || len(data) > 0 || reply.Ended {
		t.Errorf("of one that has printed nothing: %+v, %q, %v", reply, data, err)
	}
	wait.Wait = contracts.Duration(patience)
	touch(t, work, "go")
	if reply, data, err = r.Logs(t.Context(), wait); err != nil || !strings.HasSuffix(string(data), " now\n") {
		t.Fatalf("%+v, %q, %v", reply, data, err)
	}
	wait.At = &reply.Next
	touch(t, work, "end")
	r.eventsOf(t, "a", 2)
	r.mustStart(t, script("a", 2, "exec sleep 1000"))
	if reply, data, err = r.Logs(t.Context(), contracts.LogsRequest{Agent: "a", Incarnation: 1, At: wait.At, Wait: wait.Wait}); err != nil || len(data) > 0 || reply.Successor != 2 {
		t.Errorf("after its end: %+v, %q, %v", reply, data, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if reply, _, err := r.Logs(ctx, contracts.LogsRequest{Agent: "a", Wait: wait.Wait}); err != nil || reply.Ended {
		t.Errorf("for one that has gone: %+v, %v", reply, err)
	}
}

// What an agent prints while its runner is dead is not lost, and neither is the
// agent.
func TestOutputWhileNoRunnerLives(t *testing.T) {
	t.Parallel()
	dir, work := t.TempDir(), t.TempDir()
	pid := killedRunner(t, dir, script("a", 1, "cd "+work+"; echo before; until [ -e go ]; do sleep 0.01; done; echo meanwhile; touch said; exec sleep 1000"))[0].PID
	touch(t, work, "go")
	eventually(t, "it prints without a runner", func() bool { _, err := os.Stat(filepath.Join(work, "said")); return err == nil })
	r := open(t, dir)
	eventually(t, "what it printed without a runner", func() bool {
		got, _ := r.printed(t, contracts.LogsRequest{Agent: "a"})
		return got == "before\nmeanwhile\n"
	})
	if !alive(pid) {
		t.Error("it did not outlive its runner")
	}
}

// What an agent was to leave behind prints on when it has ended, after its runner
// too, and when it has a successor.
func TestOutputOfWhatWasLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, dir)
	cmd := script("a", 1, "cd "+dir+`; setsid sh -c 'echo $$ >child; i=0; while :; do i=$((i+1)); echo left $i; sleep 0.01; done' & sleep 0.1; exit 1`)
	cmd.LeaveChildren = true
	r.mustStart(t, cmd)
	r.eventsOf(t, "a", 2)
	child := r.pidIn(t, "child")
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
	more := func(r *rig, what string) {
		t.Helper()
		before, _ := r.printed(t, contracts.LogsRequest{Agent: "a"})
		eventually(t, "more output "+what, func() bool {
			now, _ := r.printed(t, contracts.LogsRequest{Agent: "a"})
			return len(now) > len(before)
		})
	}
	more(r, "after its end")
	r.leave(t, false)
	r = open(t, dir)
	more(r, "under a successor of the runner")
	cmd.Incarnation, cmd.Command[2] = 2, "exec sleep 1000"
	pid := r.mustStart(t, cmd)
	more(r, "beside a successor")
	if !alive(pid) {
		t.Error("the successor has ended")
	}
}

// The output of an agent that was removed from its tree is deleted after the time
// that is configured, and no other.
func TestOutputOfRemovedAgents(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	start := func(agent, tree, text string) {
		cmd := script(agent, 1, "echo secret; "+text)
		cmd.Tree = tree
		r.mustStart(t, cmd)
		r.outputOf(t, agent)
	}
	start("gone", "main", "exit 0")
	start("lives", "main", "exec sleep 1000")
	start("other", "another", "exit 0")
	start("again", "main", "exit 0")
	for _, agent := range []string{"gone", "other", "again"} {
		r.eventsOf(t, agent, 2)
	}
	r.o.KeepOutput = time.Hour
	r.Forget(contracts.ForgetCommand{Tree: "main", Agents: []string{"gone", "lives", "other", "again", "unknown"}})
	again := script("again", 2, "exec sleep 1000") // it was added again
	again.Tree = "main"
	r.mustStart(t, again)
	kept := func() (out []string) {
		for _, agent := range []string{"again", "gone", "lives", "other"} {
			if got, _, err := r.Logs(t.Context(), contracts.LogsRequest{Agent: agent}); err == nil && len(got.Kept) > 0 {
				out = append(out, agent)
			}
		}
		return out
	}
	now := time.Now()
	r.deleteOutput(now.Add(time.Minute))
	if got := kept(); len(got) != 4 {
		t.Errorf("after a minute of an hour there is output of %v", got)
	}
	r.deleteOutput(now.Add(2 * time.Hour))
	if got := kept(); !slices.Equal(got, []string{"again", "lives", "other"}) {
		t.Errorf("after two hours there is output of %v", got)
	}
	for _, a := range r.List() {
		if a.Removed != (a.Agent == "gone") {
			t.Errorf("listed as removed: %+v", a)
		}
	}
}
