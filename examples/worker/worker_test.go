package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// bench has the built worker and a server to run it against.
type bench struct {
	program, records string
	server           *natstest.Server
	nc               *nats.Conn
}

// worker starts the program as incarnation 2 of agent w1.
func (b bench) worker(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(b.program, append(args, "-records", b.records)...)
	cmd.Env = append(os.Environ(),
		contracts.EnvAgent+"=w1", contracts.EnvIncarnation+"=2", contracts.EnvHeartbeatInterval+"=100ms",
		contracts.EnvNATSURL+"="+b.server.URL(), "WORKER_SERVICE_TIME=10ms")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

func (b bench) awaitBeat(t *testing.T, status contracts.AgentStatus) {
	t.Helper()
	beats, err := b.nc.SubscribeSync(contracts.HeartbeatSubject("w1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beats.Unsubscribe() }()
	for {
		msg, err := beats.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := contracts.DecodeHeartbeat(msg.Data); err == nil && h.Status == status {
			return
		}
	}
}

// events are the records so far, in short.
func (b bench) events(t *testing.T) string {
	t.Helper()
	f, err := os.Open(b.records)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if r.Agent != "w1" || r.Incarnation != 2 || r.PID == 0 || time.Since(r.Time) > time.Minute {
			t.Errorf("record %+v", r)
		}
		all = append(all, r.Event)
	}
	return strings.Join(all, " ")
}

func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestWorker(t *testing.T) {
	program := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	server := natstest.Listen(t)
	nc := server.Connect(t)
	natstest.Streams(t, natstest.JetStream(t, nc))
	sub := func(name string, f func(*testing.T, bench)) {
		t.Run(name, func(t *testing.T) {
			f(t, bench{program, filepath.Join(t.TempDir(), "records"), server, nc})
		})
	}
	sub("works and ends on SIGTERM", testLife)
	sub("crashes at its first starts", testCrashes)
	sub("ignores SIGTERM", testIgnores)
	sub("ends by itself", testRunFor)
	sub("tells of a double run", testDouble)
	sub("does what a task says", testOrders)
}

func (b bench) give(t *testing.T, task, payload string) {
	t.Helper()
	body, err := json.Marshal(contracts.TaskDispatch{Task: task, Type: "job", Attempt: 1, Agent: "w1", Incarnation: 2, Payload: []byte(payload)})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := b.nc.Request(contracts.AgentTaskSubject("w1"), body, 5*time.Second)
	if err != nil || !strings.Contains(string(msg.Data), "true") {
		t.Fatalf("task %s: %v, %v", task, msg, err)
	}
}

func testLife(t *testing.T, b bench) {
	results, err := b.nc.SubscribeSync("smith.event.task.*.job")
	if err != nil {
		t.Fatal(err)
	}
	cmd := b.worker(t, "-record-tasks")
	b.awaitBeat(t, contracts.StatusRunning)
	b.give(t, "t1", `"any"`)
	msg, err := results.NextMsg(10 * time.Second)
	if err != nil || msg.Subject != "smith.event.task.completed.job" {
		t.Fatalf("result: %v, %v", msg, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := b.events(t); got != "start task stop" {
		t.Errorf("records: %s", got)
	}
}

func testCrashes(t *testing.T, b bench) {
	args := []string{"-crash-starts", "2", "-crash-counter", b.records + ".count", "-exit-code", "7"}
	for range 2 {
		if code := exitCode(t, b.worker(t, args...)); code != 7 {
			t.Errorf("exit code %d", code)
		}
	}
	cmd := b.worker(t, args...)
	b.awaitBeat(t, contracts.StatusRunning)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := b.events(t); got != "start stop start stop start" {
		t.Errorf("records: %s", got)
	}
}

func testIgnores(t *testing.T, b bench) {
	cmd := b.worker(t, "-ignore-sigterm")
	b.awaitBeat(t, contracts.StatusRunning)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.awaitBeat(t, contracts.StatusRunning)
	_ = cmd.Process.Kill()
	if exitCode(t, cmd) != -1 {
		t.Error("it ended before it was killed")
	}
}

func testRunFor(t *testing.T, b bench) {
	if code := exitCode(t, b.worker(t, "-run-for", "50ms", "-exit-code", "0")); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if code := exitCode(t, b.worker(t, "-run-for", "50ms", "-exit-code", "9")); code != 9 {
		t.Errorf("exit code %d, want 9", code)
	}
}

func testDouble(t *testing.T, b bench) {
	first := b.worker(t)
	b.awaitBeat(t, contracts.StatusRunning)
	if code := exitCode(t, b.worker(t)); code != 1 {
		t.Errorf("the second copy ended with %d", code)
	}
	if got := b.events(t); got != "start double_run start stop" {
		t.Errorf("records: %s", got)
	}
	_ = first.Process.Kill()
}

func testOrders(t *testing.T, b bench) {
	results, err := b.nc.SubscribeSync("smith.event.task.failed.job")
	if err != nil {
		t.Fatal(err)
	}
	cmd := b.worker(t)
	b.awaitBeat(t, contracts.StatusRunning)
	for task, payload := range map[string]string{"f": `{"fail":"no luck"}`, "p": `{"panic":true,"sleep":"1ms"}`, "s": `{"sleep":"soon"}`} {
		b.give(t, task, payload)
		if _, err := results.NextMsg(10 * time.Second); err != nil {
			t.Errorf("task %s: %v", payload, err)
		}
	}
	b.give(t, "e", `{"exit":5,"sleep":"1s"}`)
	if code := exitCode(t, cmd); code != 5 {
		t.Errorf("exit code %d", code)
	}
}

func TestFlags(t *testing.T) {
	none := func(string) string { return "" }
	h, err := parse(nil, func(name string) string {
		return map[string]string{"WORKER_SERVICE_TIME": "7ms", "WORKER_FAULT_KINDS": "panic, hang"}[name]
	})
	if err != nil || h.serviceTime != 7*time.Millisecond || len(h.faults.Kinds) != 2 {
		t.Errorf("from the environment: %+v, %v", h, err)
	}
	for _, args := range [][]string{{"-crash-starts", "2"}, {"-exit-code", "300"}, {"-fault-rate", "2"}, {"-fault-kinds", "flood"}, {"-service-time", "-1s"}, {"more"}, {"-what"}} {
		if _, err := parse(args, none); err == nil {
			t.Errorf("%v: accepted", args)
		}
	}
}
