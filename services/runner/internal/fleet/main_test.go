package fleet

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
	"github.com/mistersmith/mistersmith/services/runner/internal/reaper"
)

// runnerMode makes the test binary a runner process on the named state
// directory, which takes start commands as lines of JSON, and stop commands after the word
// stop, until it is killed.
const runnerMode = "FLEET_TEST_RUNNER"

// parent is what starts the agents of a rig.
type parent string

const (
	byReaper parent = "by a reaper"
	byRunner parent = "by the runner itself"
)

// runnerParent is the parent of the agents of that runner, a reaper by default.
const runnerParent = "FLEET_TEST_PARENT"

// runnerFleet is the NATS server of that runner, of which runners of one name
// share none in these tests unless they say so.
const runnerFleet = "FLEET_TEST_NATS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(runnerMode); dir != "" {
		serveLines(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func serveLines(dir string) {
	by := cmp.Or(parent(os.Getenv(runnerParent)), byReaper)
	r, err := newRig(context.Background(), dir, os.Getenv(runnerFleet), by, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	go r.Tidy(context.Background(), 5*time.Millisecond)
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		if text, isStop := bytes.CutPrefix(in.Bytes(), []byte("stop ")); isStop {
			go r.Stop(context.Background(), decode[contracts.StopCommand](text))
			continue
		}
		_ = out.Encode(r.Start(decode[contracts.StartCommand](in.Bytes())))
	}
}

func decode[T any](text []byte) (v T) {
	if err := json.Unmarshal(text, &v); err != nil {
		panic(err)
	}
	return v
}

const patience = 15 * time.Second

// rig is a fleet whose events and beats are kept for the test.
type rig struct {
	*Fleet
	ledger *ledger.Ledger
	reaper *reaper.Reaper // or nil
	dir    string

	mu     sync.Mutex
	events []contracts.Event
	beats  map[string]int
	notify chan string
	wg     sync.WaitGroup
}

func newRig(ctx context.Context, dir, fleet string, by parent, log *slog.Logger) (*rig, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l, err := ledger.Open(ctx, dir, "r1")
	if err != nil {
		return nil, err
	}
	r := &rig{ledger: l, dir: dir, beats: map[string]int{}, notify: make(chan string, 4096)}
	if err := process.BecomeReaper(); err != nil {
		return nil, err
	}
	if by == byReaper {
		if r.reaper, err = reaper.Open(dir, log); err != nil {
			return nil, err
		}
	}
	r.Fleet = New(Options{
		SubReaper: true, Reaper: r.reaper,
		Runner: "r1", Ledger: l, Log: log, WorkDir: dir, MaxAgents: 50, Output: output.Limits{Bytes: 1 << 20, Incarnations: 3}, TellOutput: true,
		Env:    Env{Base: Inherit(os.Environ(), "PATH"), NATSURL: cmp.Or(fleet, "nats://"+dir)},
		Notify: func(agent string) { r.notify <- agent },
		Beat: func(agent string, _ contracts.Heartbeat) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.beats[agent]++
		},
		Observe: noObserver{},
	})
	return r, r.Recover(ctx)
}

type noObserver struct{}

func (noObserver) Start(contracts.RunnerCode, time.Duration) {}
func (noObserver) Stop(contracts.RunnerCode, time.Duration)  {}
func (noObserver) Exit(contracts.Outcome)                    {}
func (noObserver) Adopted()                                  {}
func (noObserver) Running(int)                               {}

// open makes a rig on dir that acknowledges its events and is closed, its
// agents swept, when the test ends.
func open(t *testing.T, dir string) *rig { return openIn(t, dir, "") }

// openIn opens a rig of the fleet on a NATS server.
func openIn(t *testing.T, dir, fleet string) *rig { return openAs(t, dir, fleet, byReaper) }

// openBy opens a rig whose agents have that parent.
func openBy(t *testing.T, dir string, by parent) *rig { return openAs(t, dir, "", by) }

func openAs(t *testing.T, dir, fleet string, by parent) *rig {
	t.Helper()
	r, err := newRig(t.Context(), dir, fleet, by, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.wg.Go(func() {
		for agent := range r.notify {
			r.collect(agent)
		}
	})
	t.Cleanup(func() { r.leave(t, true) })
	return r
}

func (r *rig) collect(agent string) {
	for {
		ev, ok := r.Pending(agent)
		if !ok {
			return
		}
		r.mu.Lock()
		r.events = append(r.events, ev)
		r.mu.Unlock()
		r.Acknowledge(agent, ev.ID)
	}
}

// tidyUp lets the fleet tidy up all the time, until the test ends.
func (r *rig) tidyUp(t *testing.T) {
	r.o.SubReaper = false // other fleets of this process have children, too
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Tidy(ctx, 5*time.Millisecond) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// leave ends the rig once; its agents are ended too, or left alone.
func (r *rig) leave(t *testing.T, stopAgents bool) {
	if r.Fleet == nil {
		return
	}
	if stopAgents {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, a := range r.List() {
			if reply := r.Stop(ctx, contracts.StopCommand{Agent: a.Agent, Incarnation: 1 << 40, Kill: true}); reply.Code != contracts.RunnerOK {
				t.Errorf("cleaning up: %+v", reply)
			}
		}
	}
	r.close()
	close(r.notify)
	r.wg.Wait()
	r.Fleet = nil
}

// close leaves the agents alone.
func (r *rig) close() {
	r.Close()
	if r.reaper != nil {
		r.reaper.Close()
	}
	r.ledger.Close()
}

// remote is a runner in a process of its own.
type remote struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *json.Decoder
}

// startRemote starts a runner process, which is killed with -9 when the test
// ends, or before.
func startRemote(t *testing.T, dir string) *remote { return startRemoteIn(t, dir, "") }

func startRemoteIn(t *testing.T, dir, fleet string) *remote {
	t.Helper()
	return startRemoteAs(t, dir, fleet, byReaper)
}

func startRemoteAs(t *testing.T, dir, fleet string, by parent) *remote {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runnerMode+"="+dir, runnerFleet+"="+fleet, runnerParent+"="+string(by))
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{t: t, cmd: cmd, in: in, out: json.NewDecoder(out)}
	t.Cleanup(r.kill)
	return r
}

func (r *remote) start(cmd contracts.StartCommand) (reply contracts.RunnerReply) {
	r.t.Helper()
	line, err := json.Marshal(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.in.Write(append(line, '\n')); err != nil {
		r.t.Fatal(err)
	}
	if err := r.out.Decode(&reply); err != nil {
		r.t.Fatalf("runner process: %v", err)
	}
	return reply
}

// stop orders a stop and waits for nothing.
func (r *remote) stop(agent string, incarnation uint64) {
	r.t.Helper()
	if _, err := fmt.Fprintf(r.in, "stop {\"agent\":%q,\"incarnation\":%d}\n", agent, incarnation); err != nil {
		r.t.Fatal(err)
	}
}

func (r *remote) kill() {
	if r.cmd.ProcessState == nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
}

// killedRunner runs the commands in a runner process, which is then killed
// with -9, and returns its replies.
func killedRunner(t *testing.T, dir string, cmds ...contracts.StartCommand) []contracts.RunnerReply {
	t.Helper()
	return killedRunnerOf(t, dir, byReaper, cmds...)
}

func killedRunnerOf(t *testing.T, dir string, by parent, cmds ...contracts.StartCommand) []contracts.RunnerReply {
	t.Helper()
	r := startRemoteAs(t, dir, "", by)
	defer r.kill()
	var replies []contracts.RunnerReply
	for _, cmd := range cmds {
		replies = append(replies, r.start(cmd))
	}
	return replies
}

func script(agent string, incarnation uint64, text string) contracts.StartCommand {
	return contracts.StartCommand{Agent: agent, Incarnation: incarnation, Command: []string{"/bin/sh", "-c", text}}
}

// mustStart starts and gives the pid.
func (r *rig) mustStart(t *testing.T, cmd contracts.StartCommand) int {
	t.Helper()
	reply := r.Start(cmd)
	if reply.Code != contracts.RunnerOK || reply.PID == 0 {
		t.Fatalf("start %s %d: %+v", cmd.Agent, cmd.Incarnation, reply)
	}
	return reply.PID
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

// eventsOf waits for n events about an agent.
func (r *rig) eventsOf(t *testing.T, agent string, n int) []contracts.Event {
	t.Helper()
	var found []contracts.Event
	eventually(t, fmt.Sprintf("%d events about %s", n, agent), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		found = nil
		for _, ev := range r.events {
			if ev.Entity == agent {
				found = append(found, ev)
			}
		}
		return len(found) >= n
	})
	return found
}

// outputOf waits for a whole line in an agent's output and returns all that its
// newest incarnation printed.
func (r *rig) outputOf(t *testing.T, agent string) string {
	t.Helper()
	var text string
	eventually(t, "output of "+agent, func() bool {
		var whole bool
		text, whole = r.printed(t, contracts.LogsRequest{Agent: agent})
		return whole && text != ""
	})
	return text
}

// printed returns the text of an agent's output, and whether it ends with a whole
// line.
func (r *rig) printed(t *testing.T, req contracts.LogsRequest) (text string, whole bool) {
	t.Helper()
	for {
		reply, data, err := r.Logs(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			l, err := contracts.ParseOutputLine(line)
			if err != nil {
				t.Fatal(err)
			}
			whole = bytes.HasSuffix(line, []byte{'\n'})
			text += string(l.Text)
		}
		if len(data) == 0 {
			return text, whole
		}
		req = contracts.LogsRequest{Agent: req.Agent, Incarnation: reply.Incarnation, At: &reply.Next}
	}
}

// outputDisk is how much disk the output of an agent takes.
func (r *rig) outputDisk(t *testing.T, agent string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(r.ledger.OutputDir(agent))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			size += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return size
}

func data[T any](t *testing.T, ev contracts.Event) T {
	t.Helper()
	v, err := contracts.DecodeData[T](ev)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// alive tells the living from the dead and from zombies, which for orphans are
// the init process's to reap.
func alive(pid int) bool {
	s, err := procfs.ReadStat(pid)
	return err == nil && s.Alive()
}

func touch(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
