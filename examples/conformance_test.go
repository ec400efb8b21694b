// Package examples holds agents in several languages, and the test that all of
// them speak the protocol.
package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func TestShell(t *testing.T) {
	cli := natsCLI(t)
	need(t, "jq", "timeout", "sha1sum")
	conform(t, exec.Command("./agent.sh"), "NATS_CLI="+cli, "HOME="+t.TempDir())
}

// The Node client comes from examples/node_modules, or the directory that
// $NODE_MODULES names.
func TestNode(t *testing.T) {
	need(t, "node")
	modules := os.Getenv("NODE_MODULES")
	if modules == "" {
		modules = "node_modules"
	}
	modules, err := filepath.Abs(modules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@nats-io", "transport-node")); err != nil {
		t.Skipf("no @nats-io/transport-node in %s: run `npm install` in examples, or set NODE_MODULES", modules)
	}
	dir := t.TempDir()
	source, err := os.ReadFile("agent.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agent.mjs"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	conform(t, exec.Command("node", filepath.Join(dir, "agent.mjs")))
}

func natsCLI(t *testing.T) string {
	t.Helper()
	if cli := os.Getenv("NATS_CLI"); cli != "" {
		return cli
	}
	cli, err := exec.LookPath("nats")
	if err != nil {
		t.Skip("no nats CLI: put it on PATH, or set NATS_CLI")
	}
	return cli
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s on PATH", p)
		}
	}
}

// trial is an agent on trial.
type trial struct {
	*testing.T
	nc    *nats.Conn
	beats *nats.Subscription
}

// conform runs a program as incarnation 2 of agent a1 and checks all that the
// protocol asks of an agent that takes one task at a time and sends its payload
// back.
func conform(t *testing.T, cmd *exec.Cmd, env ...string) {
	server := natstest.Listen(t)
	x := trial{T: t, nc: server.Connect(t)}
	natstest.Streams(t, natstest.JetStream(t, x.nc))
	x.beats = x.subscribe(contracts.HeartbeatSubject("a1"))
	results := x.subscribe("smith.event.task.*.echo")

	cmd.Env = append(append(os.Environ(),
		contracts.EnvAgent+"=a1", contracts.EnvIncarnation+"=2", contracts.EnvType+"=echo", contracts.EnvCapacity+"=1",
		contracts.EnvHeartbeatInterval+"=200ms", contracts.EnvNATSURL+"="+server.URL()), env...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })

	first := x.beat()
	if first.Incarnation != 2 || first.Seq != 1 || first.Type != "echo" || first.Status != contracts.StatusRunning || first.Interval.D() != 200*time.Millisecond {
		t.Errorf("first beat %+v", first)
	}
	if second := x.beat(); second.Seq != 2 {
		t.Errorf("second beat %+v", second)
	}
	var pong contracts.PingReply
	x.ask(contracts.AgentPingSubject("a1"), nil, &pong)
	if pong.Incarnation != 2 || pong.Status != contracts.StatusRunning {
		t.Errorf("ping: %+v", pong)
	}

	d := contracts.TaskDispatch{Task: "t1", Type: "echo", Attempt: 1, Agent: "a1", Incarnation: 2, Payload: []byte(`{"say":"it's {{all}} \"quoted\""}`), CausationID: contracts.DerivedID("c")}
	stale := d
	stale.Incarnation = 1
	if r := x.dispatch(stale); r.Accepted || r.Reason != "stale_incarnation" {
		t.Errorf("task for an older incarnation: %+v", r)
	}
	for range 2 {
		if r := x.dispatch(d); !r.Accepted {
			t.Errorf("task: %+v", r)
		}
	}
	x.check(results, d)
	d.Attempt = 2
	if r := x.dispatch(d); !r.Accepted {
		t.Errorf("the next attempt: %+v", r)
	}
	x.check(results, d)

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for h := x.beat(); h.Status != contracts.StatusStopped; {
		h = x.beat()
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("end: %v", err)
	}
	if n, _, _ := results.Pending(); n != 0 {
		t.Errorf("%d results too many", n)
	}
}

func (x trial) subscribe(subject string) *nats.Subscription {
	s, err := x.nc.SubscribeSync(subject)
	if err != nil {
		x.Fatal(err)
	}
	return s
}

func (x trial) next(s *nats.Subscription) *nats.Msg {
	x.Helper()
	msg, err := s.NextMsg(10 * time.Second)
	if err != nil {
		x.Fatalf("nothing came on %s: %v", s.Subject, err)
	}
	return msg
}

func (x trial) beat() contracts.Heartbeat {
	x.Helper()
	msg := x.next(x.beats)
	h, err := contracts.DecodeHeartbeat(msg.Data)
	if err != nil {
		x.Fatalf("%v: %s", err, msg.Data)
	}
	return h
}

func (x trial) ask(subject string, v, answer any) {
	x.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		x.Fatal(err)
	}
	msg, err := x.nc.Request(subject, body, 5*time.Second)
	if err != nil {
		x.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(msg.Data, answer); err != nil {
		x.Fatalf("%s: %v: %s", subject, err, msg.Data)
	}
}

func (x trial) dispatch(d contracts.TaskDispatch) (r contracts.TaskReply) {
	x.Helper()
	x.ask(contracts.AgentTaskSubject("a1"), d, &r)
	return r
}

// check reads a result and compares it with what was asked for.
func (x trial) check(results *nats.Subscription, d contracts.TaskDispatch) {
	x.Helper()
	msg := x.next(results)
	e, err := contracts.DecodeEvent(msg.Subject, msg.Data)
	if err != nil {
		x.Fatalf("%v: %s", err, msg.Data)
	}
	r, err := contracts.DecodeData[contracts.TaskResultData](e)
	if err != nil {
		x.Fatal(err)
	}
	if e.Type != contracts.TaskCompleted || e.CorrelationID != "t1" || e.CausationID != d.CausationID || e.Source != "agent/a1" ||
		time.Since(e.Time).Abs() > time.Minute || msg.Header.Get(nats.MsgIdHdr) != e.ID || msg.Header.Get("Content-Type") != contracts.ContentType {
		x.Errorf("event %+v, headers %v", e, msg.Header)
	}
	if r.Task != d.Task || r.Type != d.Type || r.Agent != d.Agent || r.Incarnation != d.Incarnation || r.Attempt != d.Attempt ||
		string(r.Result) != string(d.Payload) {
		x.Errorf("result %+v of %+v", r, d)
	}
}
