package fleet

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

const forever = "echo up; exec sleep 1000"

func TestStartAndExitAreTold(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	tests := []struct {
		agent, script string
		wantType      contracts.EventType
		wantExit      contracts.Exit
	}{
		{"fails", "echo one; echo two; exit 3", contracts.AgentFailed, contracts.Exit{Code: 3, Tail: "one\ntwo"}},
		{"killed", "echo bye; kill -9 $$", contracts.AgentFailed, contracts.Exit{Code: -1, Signal: "SIGKILL", Tail: "bye"}},
		{"completes", "echo done", contracts.AgentStopped, contracts.Exit{Tail: "done"}},
	}
	for _, tt := range tests {
		cmd := script(tt.agent, 4, tt.script)
		cmd.Type, cmd.CausationID, cmd.CorrelationID = "worker", "the-decision", "the-story"
		pid := r.mustStart(t, cmd)
		evs := r.eventsOf(t, tt.agent, 2)
		started := data[contracts.AgentStartedData](t, evs[0])
		if evs[0].Type != contracts.AgentStarted || started.PID != pid || started.Incarnation != 4 || started.Runner != "r1" ||
			evs[0].CausationID != "the-decision" || evs[0].CorrelationID != "the-story" {
			t.Errorf("%s: started event %+v, data %+v", tt.agent, evs[0], started)
		}
		if evs[1].Type != tt.wantType || evs[1].CorrelationID != evs[1].ID {
			t.Errorf("%s: exit event %+v, want type %s and a story of its own", tt.agent, evs[1], tt.wantType)
		}
		exit := data[contracts.AgentFailedData](t, evs[1]).Exit // the same field in both types
		if exit == nil || exit.At.IsZero() || exit.Lived == 0 || exit.Used == nil {
			t.Fatalf("%s: exit %+v", tt.agent, exit)
		}
		exit.At, exit.Lived, exit.Used = time.Time{}, 0, nil
		if *exit != tt.wantExit {
			t.Errorf("%s: exit %+v, want %+v", tt.agent, *exit, tt.wantExit)
		}
	}
}

func TestStartIsIdempotentAndFencedByIncarnation(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	pid := r.mustStart(t, script("a", 5, forever))
	for name, tt := range map[string]struct {
		incarnation uint64
		code        contracts.RunnerCode
		says        uint64
	}{
		"the same": {5, contracts.RunnerOK, 5},
		"an older": {4, contracts.RunnerStale, 5},
		"a newer":  {6, contracts.RunnerStillRunning, 5},
	} {
		reply := r.Start(script("a", tt.incarnation, forever))
		if reply.Code != tt.code || reply.Incarnation != tt.says || reply.Code == contracts.RunnerOK && reply.PID != pid {
			t.Errorf("%s: %+v", name, reply)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.eventsOf(t, "a", 2)
	reply := r.Start(script("a", 5, forever))
	if reply.Code != contracts.RunnerAlreadyExited || reply.Exit == nil || reply.Exit.Signal != "SIGKILL" {
		t.Errorf("after its end: %+v", reply)
	}
	r.mustStart(t, script("a", 6, forever))
}

// A start that was under way when its sender, or the host, became another one
// changes nothing; and a list has all that came before its fence.
func TestStartsAreFenced(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.o.BootID = "this-boot"
	start := func(agent, boot string, decision uint64) contracts.RunnerCode {
		cmd := script(agent, 1, forever)
		cmd.BootID, cmd.Term = boot, decision
		return r.Start(cmd).Code
	}
	for _, c := range []struct {
		agent, boot string
		decision    uint64
		fence       uint64
		want        contracts.RunnerCode
	}{
		{"a", "this-boot", 7, 0, contracts.RunnerOK},
		{"b", "that-boot", 7, 0, contracts.RunnerFenced},
		{"c", "this-boot", 7, 8, contracts.RunnerFenced},
		{"a", "this-boot", 7, 8, contracts.RunnerFenced}, // though it runs: who knows what has been decided since
		{"c", "this-boot", 8, 3, contracts.RunnerOK},     // a fence does not fall
		{"d", "", 0, 0, contracts.RunnerOK},              // a sender who says neither
	} {
		r.Fence(c.fence)
		if got := start(c.agent, c.boot, c.decision); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if got := len(r.List()); got != 3 {
		t.Errorf("%d agents are listed", got)
	}
	// Whatever the interleaving: a start that was carried out is in the list, or
	// its sender knew the fence.
	codes := make(chan contracts.RunnerCode)
	go func() { codes <- start("e", "this-boot", 8) }()
	r.Fence(9)
	listed := false
	for _, a := range r.List() {
		listed = listed || a.Agent == "e"
	}
	if code := <-codes; (code == contracts.RunnerOK) != listed {
		t.Errorf("the start's answer is %s, listed: %t", code, listed)
	}
}

func TestConcurrentStartsOfOneIncarnationGiveOneProcess(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	replies := make(chan contracts.RunnerReply)
	const n = 10
	for range n {
		go func() { replies <- r.Start(script("a", 1, forever)) }()
	}
	pids := map[int]bool{}
	for range n {
		reply := <-replies
		pids[reply.PID] = true
	}
	if len(pids) != 1 || pids[0] {
		t.Errorf("pids %v, want one", pids)
	}
}

func TestStopEndsTheWholeGroupAndOnlyOldIncarnations(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	pid := r.mustStart(t, script("a", 3, "sleep 1000 & echo $!; wait"))
	child, _ := strconv.Atoi(strings.TrimSpace(r.outputOf(t, "a")))

	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 2}); reply.Code != contracts.RunnerOK || !alive(pid) {
		t.Fatalf("a stop for an older incarnation: %+v, process alive: %v", reply, alive(pid))
	}
	reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 3, CausationID: "why", CorrelationID: "story"})
	if reply.Code != contracts.RunnerOK || reply.Exit == nil || reply.Exit.Signal != "SIGTERM" {
		t.Errorf("stop: %+v", reply)
	}
	for _, p := range []int{pid, child} {
		if alive(p) {
			t.Errorf("process %d lives after the stop", p)
		}
	}
	ev := r.eventsOf(t, "a", 2)[1]
	if d := data[contracts.AgentStoppedData](t, ev); ev.Type != contracts.AgentStopped || d.Reason != contracts.StopRequested || ev.CausationID != "why" || ev.CorrelationID != "story" {
		t.Errorf("event %+v, data %+v", ev, d)
	}
	if again := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 3}); again.Code != contracts.RunnerOK || again.Exit == nil {
		t.Errorf("stopping again: %+v", again)
	}
}

func TestStopKillsWhatIgnoresIt(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.mustStart(t, script("deaf", 1, `trap '' TERM; echo up; while :; do sleep 0.01; done`))
	r.mustStart(t, script("hung", 1, forever))
	r.outputOf(t, "deaf")
	r.outputOf(t, "hung")
	hung := r.List()[1]
	if err := syscall.Kill(hung.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for agent, want := range map[string]string{"deaf": "SIGKILL", "hung": "SIGTERM"} {
		timeout := 50 * time.Millisecond
		if want == "SIGTERM" {
			timeout = patience
		}
		reply := r.Stop(t.Context(), contracts.StopCommand{Agent: agent, Incarnation: 1, Timeout: contracts.Duration(timeout)})
		if reply.Code != contracts.RunnerOK || reply.Exit == nil || reply.Exit.Signal != want {
			t.Errorf("%s: %+v, want %s", agent, reply, want)
		}
	}
}

func TestASlowStopDelaysNobodyAndCanBeHastened(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.mustStart(t, script("slow", 1, `trap '' TERM; echo up; while :; do sleep 0.01; done`))
	r.outputOf(t, "slow")
	slow := make(chan contracts.RunnerReply)
	go func() {
		slow <- r.Stop(context.Background(), contracts.StopCommand{Agent: "slow", Incarnation: 1, Timeout: contracts.Duration(time.Hour)})
	}()
	eventually(t, "the stop's begin", func() bool { return r.List()[0].State == "stopping" })
	r.mustStart(t, script("other", 1, forever))
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "other", Incarnation: 1}); reply.Code != contracts.RunnerOK {
		t.Errorf("stop of another: %+v", reply)
	}
	if reply := r.Start(script("slow", 2, forever)); reply.Code != contracts.RunnerStillRunning {
		t.Errorf("start while stopping: %+v", reply)
	}
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "slow", Incarnation: 1, Kill: true}); reply.Code != contracts.RunnerOK {
		t.Errorf("kill: %+v", reply)
	}
	if reply := <-slow; reply.Code != contracts.RunnerOK || reply.Exit == nil || reply.Exit.Signal != "SIGKILL" {
		t.Errorf("slow stop: %+v", reply)
	}
}

func TestAStopThatOvertakesItsStart(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 7}); reply.Code != contracts.RunnerOK {
		t.Fatalf("stop: %+v", reply)
	}
	if reply := r.Start(script("a", 7, forever)); reply.Code != contracts.RunnerAlreadyExited {
		t.Errorf("start of the stopped incarnation: %+v", reply)
	}
	if reply := r.Start(script("a", 6, forever)); reply.Code != contracts.RunnerStale {
		t.Errorf("start of an older one: %+v", reply)
	}
	r.mustStart(t, script("a", 8, forever))
}

// TestAFailedStartIsFinal: whoever was told of it may have started the next
// incarnation elsewhere, so a repeated command must not succeed after all.
func TestAFailedStartIsFinal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, dir)
	incarnation := uint64(0)
	for name, cmd := range map[string]contracts.StartCommand{
		"no such program":   {Command: []string{"/no/such/program"}},
		"no such directory": {Command: []string{"sleep", "1"}, Dir: "nowhere"},
		"argument too long": {Command: []string{"sleep", strings.Repeat("x", 200<<10)}},
	} {
		incarnation++
		cmd.Agent, cmd.Incarnation = "a", incarnation
		first := r.Start(cmd)
		if first.Code != contracts.RunnerStartFailed || first.Agent != "a" || first.Incarnation != incarnation {
			t.Errorf("%s: %+v", name, first)
		}
		for _, said := range []string{"incarnation", "start_failed", "program: stat"} { // the cause alone: the reply has the rest
			if strings.Contains(first.Error, said) {
				t.Errorf("%s: %s", name, first.Error)
			}
		}
		if again := r.Start(script("a", incarnation, forever)); again.Code != first.Code || again.Error != first.Error {
			t.Errorf("%s: the same incarnation, with nothing wrong: %+v", name, again)
		}
	}
	if n := r.Running(); n != 0 {
		t.Errorf("%d agents count as running", n)
	}
	r.mustStart(t, script("a", incarnation+1, forever))
}

func TestAgentMayNotHaveTheRunnersName(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	if reply := r.Start(script("r1", 1, forever)); reply.Code != contracts.RunnerInvalid {
		t.Errorf("start: %+v", reply)
	}
}

func TestLimitOfAgents(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.o.MaxAgents = 1
	r.mustStart(t, script("a", 1, forever))
	if reply := r.Start(script("b", 1, forever)); reply.Code != contracts.RunnerFull {
		t.Errorf("second agent: %+v", reply)
	}
	r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 1})
	r.mustStart(t, script("b", 1, forever))
}

func TestEnvironmentOfAnAgent(t *testing.T) {
	t.Setenv("RUNNER_SECRET", "hunter2")
	r := open(t, t.TempDir())
	r.o.Env.NATSURL = "nats://example:4222"
	cmd := script("a", 9, "env | sort")
	cmd.Type, cmd.Capabilities, cmd.Capacity = "coder", []string{"go", "web"}, 4
	cmd.HeartbeatInterval = contracts.Duration(time.Second)
	cmd.Env = map[string]string{"KEY": "a b$c", "SMITH_AGENT": "forged", "SMITH_START": "forged"}
	r.mustStart(t, cmd)
	r.eventsOf(t, "a", 2)
	got := r.outputOf(t, "a")
	for _, want := range []string{
		"KEY=a b$c\n", "SMITH_AGENT=a\n", "SMITH_INCARNATION=9\n", "SMITH_RUNNER=r1\n", "SMITH_TYPE=coder\n",
		"SMITH_CAPABILITIES=go,web\n", "SMITH_CAPACITY=4\n", "SMITH_HEARTBEAT_INTERVAL=1s\n", "SMITH_NATS_URL=nats://example:4222\n", "PATH=",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("environment lacks %q", want)
		}
	}
	if strings.Contains(got, "hunter2") || strings.Contains(got, "forged") {
		t.Error("the runner's secret, or a forged identity, reached the agent")
	}
	rec, err := r.ledger.Load("a")
	if err != nil || len(rec.Start.Env) > 0 {
		t.Errorf("the record holds the agent's environment %v, %v", rec.Start.Env, err)
	}
}

func TestRunnerBeatsForAgentsThatDoNot(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	cmd := script("plain", 1, forever)
	cmd.Heartbeats, cmd.HeartbeatInterval = contracts.HeartbeatsByRunner, contracts.Duration(10*time.Millisecond)
	pid := r.mustStart(t, cmd)
	r.mustStart(t, script("own", 1, forever))
	beats := func(agent string) int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.beats[agent]
	}
	more := func(n int) func() bool {
		from := beats("plain")
		return func() bool { return beats("plain") >= from+n }
	}
	eventually(t, "beats", more(3))
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Stopping takes effect at the latest when the kernel says so; from then
	// on at most the beat in hand comes.
	eventually(t, "the stop", func() bool { return !r.agents["plain"].proc.Active() })
	from := beats("plain")
	pause := time.NewTimer(100 * time.Millisecond)
	<-pause.C
	if got := beats("plain"); got > from+1 {
		t.Errorf("%d beats for a stopped process", got-from)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "beats again", more(3))
	if n := beats("own"); n != 0 {
		t.Errorf("%d beats for an agent that beats itself", n)
	}
}

func TestWithdrawAll(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	for _, name := range []string{"a", "b", "c"} {
		r.mustStart(t, script(name, 1, forever))
	}
	if err := r.WithdrawAll(t.Context()); err != nil {
		t.Error(err)
	}
	if n := r.Running(); n != 0 {
		t.Errorf("%d agents run", n)
	}
	if reply := r.Start(script("d", 1, forever)); reply.Code != contracts.RunnerStopping {
		t.Errorf("start afterwards: %+v", reply)
	}
}

func TestAcknowledgedEventsLeaveTheDisk(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.mustStart(t, script("a", 1, "exit 0"))
	r.eventsOf(t, "a", 2)
	r.tidyUp(t)
	eventually(t, "an empty outbox on disk", func() bool {
		rec, err := r.ledger.Load("a")
		return err == nil && rec.State == ledger.Exited && len(rec.Outbox) == 0
	})
}

func TestOutputOfARunningAgentIsBounded(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.o.Output.Bytes = 64 << 10
	const loud = `while :; do echo 0123456789012345678901234567890123456789; done`
	r.mustStart(t, script("loud", 1, loud))
	more := script("more", 1, loud)
	more.Output = &contracts.OutputLimits{MaxBytes: 512 << 10} // its own
	r.mustStart(t, more)
	r.printsBeyond(t, "loud")
	eventually(t, "more to be kept of the other", func() bool { return r.outputDisk(t, "more") > 256<<10 })
	eventually(t, "output beyond its bound", func() bool {
		if disk := r.outputDisk(t, "more"); disk > more.Output.MaxBytes {
			t.Fatalf("output takes %d bytes of disk, at most %d allowed", disk, more.Output.MaxBytes)
		}
		reply, _, err := r.Logs(t.Context(), contracts.LogsRequest{Agent: "more", Lines: 1})
		return err == nil && reply.Next > 2*more.Output.MaxBytes
	})
}

// printsBeyond waits until an agent has printed far more than is kept of it.
func (r *rig) printsBeyond(t *testing.T, agent string) {
	t.Helper()
	eventually(t, "output beyond the bound, cut to it", func() bool {
		if disk := r.outputDisk(t, agent); disk > r.o.Output.Bytes {
			t.Fatalf("output takes %d bytes of disk, at most %d allowed", disk, r.o.Output.Bytes)
		}
		reply, _, err := r.Logs(t.Context(), contracts.LogsRequest{Agent: agent, Lines: 1})
		return err == nil && reply.Next > 2*r.o.Output.Bytes
	})
}
