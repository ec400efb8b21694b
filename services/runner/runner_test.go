package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner"
)

const forever = "echo up; exec sleep 1000"

func TestCommandsAndEvents(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	h.run(h.config())

	started := h.mustStart(script("a", 1, forever))
	list := ask[contracts.RunnerList](h, "list", nil)
	if list.Runner != "r1" || len(list.Agents) != 1 || list.Agents[0].PID != started.PID || list.Agents[0].State != "running" {
		t.Errorf("list %+v", list)
	}
	if ev := h.stored("smith.event.agent.started.a", 1); len(ev) != 1 || ev[0].Source != "runner/r1" {
		t.Errorf("started events %+v", ev)
	}
	if got := testutil.CollectAndCount(h.reg, "smith_runner_agent_memory_bytes", "smith_runner_agents_memory_bytes"); got != 2 {
		t.Errorf("%d metrics of what it uses", got)
	}
	if err := syscall.Kill(started.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	failed := data[contracts.AgentFailedData](t, h.stored("smith.event.agent.failed.a", 1)[0])
	if failed.Exit.Signal != "SIGKILL" || failed.Exit.Tail != "" || failed.Incarnation != 1 || failed.Runner != "r1" {
		t.Errorf("failed %+v, exit %+v", failed, failed.Exit)
	}
	again := h.mustStart(script("a", 2, forever))
	if reply := h.stop("a", 2); reply.Code != contracts.RunnerOK || reply.Exit == nil || alive(again.PID) {
		t.Errorf("stop %+v, alive %v", reply, alive(again.PID))
	}
	if ev := h.stored("smith.event.agent.stopped.a", 1); len(ev) != 1 {
		t.Errorf("stopped events %+v", ev)
	}
	if got := testutil.CollectAndCount(h.reg, "smith_runner_starts_total", "smith_runner_start_seconds", "smith_runner_exits_total"); got < 3 {
		t.Errorf("%d metrics", got)
	}
	if got := testutil.CollectAndCount(h.reg, "smith_runner_agent_memory_bytes"); got != 0 {
		t.Errorf("%d metrics of agents that have ended", got)
	}
}

// Over the wire: what was sent for another boot of the host, or by a supervisor
// that another has overtaken, is not carried out.
func TestLateStartsAreFenced(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	announced, err := h.nc.SubscribeSync(contracts.AnnounceWildcard)
	if err != nil {
		t.Fatal(err)
	}
	h.run(h.config())
	msg, err := announced.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	var a contracts.RunnerAnnouncement
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		t.Fatal(err)
	}
	start := func(boot string, decision uint64) contracts.RunnerReply {
		cmd := script("a", 1, forever)
		cmd.BootID, cmd.Term = boot, decision
		return ask[contracts.RunnerReply](h, "start", cmd)
	}
	if reply := start("another-boot", 12); reply.Code != contracts.RunnerFenced {
		t.Errorf("for another boot: %+v", reply)
	}
	if list := ask[contracts.RunnerList](h, "list", contracts.ListCommand{Term: 12}); len(list.Agents) != 0 {
		t.Errorf("list %+v", list)
	}
	if reply := start(a.BootID, 11); reply.Code != contracts.RunnerFenced {
		t.Errorf("by one who knows less: %+v", reply)
	}
	if reply := start(a.BootID, 12); reply.Code != contracts.RunnerOK {
		t.Errorf("as it should be: %+v", reply)
	}
}

func TestDiscovery(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	announced, err := h.nc.SubscribeSync(contracts.AnnounceWildcard)
	if err != nil {
		t.Fatal(err)
	}
	beats, err := h.nc.SubscribeSync(contracts.HeartbeatSubject("r1"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := h.config()
	cfg.Labels = map[string]string{"zone": "x"}
	stop := h.run(cfg)

	msg, err := announced.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	var a contracts.RunnerAnnouncement
	if err := json.Unmarshal(msg.Data, &a); err != nil || a.Runner != "r1" || a.Kind != "process" || a.Capacity != 1000 || a.Labels["zone"] != "x" || a.BootID == "" || a.Session == "" {
		t.Errorf("announcement %+v, %v", a, err)
	}
	msg, err = beats.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := contracts.DecodeHeartbeat(msg.Data); err != nil || b.Type != contracts.TypeRunner || b.Interval.D() != time.Second {
		t.Errorf("heartbeat %+v, %v", b, err)
	}
	msg, err = h.nc.Request("$SRV.INFO.smith-runner", nil, patience)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(msg.Data, &info); err != nil || info.Metadata["runner"] != "r1" || len(info.Endpoints) != 5 {
		t.Errorf("info %+v, %v", info, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for {
		msg, err := beats.NextMsg(patience)
		if err != nil {
			t.Fatalf("no heartbeat says that the runner stopped: %v", err)
		}
		if b, _ := contracts.DecodeHeartbeat(msg.Data); b.Status == contracts.StatusStopped {
			break
		}
	}
}

func TestBadCommands(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	h.run(h.config())
	good := h.mustStart(script("good", 1, forever))
	bad := map[string]struct{ verb, body string }{
		"not JSON":        {"start", `{"agent":`},
		"wrong type":      {"start", `{"agent":5}`},
		"empty":           {"start", ``},
		"no command":      {"start", `{"agent":"a","incarnation":1}`},
		"no incarnation":  {"start", `{"agent":"a","command":["x"]}`},
		"dotted id":       {"start", `{"agent":"a.b","incarnation":1,"command":["x"]}`},
		"wildcard id":     {"stop", `{"agent":"*","incarnation":1}`},
		"path id":         {"stop", `{"agent":"../x","incarnation":1}`},
		"huge id":         {"stop", `{"agent":"` + strings.Repeat("a", 10<<10) + `","incarnation":1}`},
		"too large":       {"start", `{"agent":"a","dir":"` + strings.Repeat("a", contracts.MaxRequestBytes) + `"}`},
		"negative":        {"stop", `{"agent":"a","incarnation":-1}`},
		"two mistakes":    {"start", `{"agent":"a"}`},
		"secret in error": {"start", `{"agent":"a b","incarnation":1,"command":["x"],"env":{"TOKEN":"hunter2"}}`},
	}
	// The first is the one that is reported, and its requester alone is told of it.
	quoted := []byte(`{"agent":"a","incarnation":1,"command":["x"],"env":{"TOKEN=hunter2":""}}`)
	if msg, err := h.nc.Request(contracts.RunnerSubject("r1", "start"), quoted, patience); err != nil || !bytes.Contains(msg.Data, []byte("hunter2")) {
		t.Fatalf("answered %+v, %v", msg, err)
	}
	for name, tt := range bad {
		msg, err := h.nc.Request(contracts.RunnerSubject("r1", tt.verb), []byte(tt.body), patience)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var reply contracts.RunnerReply
		if err := json.Unmarshal(msg.Data, &reply); err != nil || reply.Code != contracts.RunnerInvalid || reply.Error == "" {
			t.Errorf("%s: reply %q, %v", name, msg.Data, err)
		}
		if msg.Header.Get(micro.ErrorCodeHeader) != contracts.CodeBadRequest {
			t.Errorf("%s: headers %v", name, msg.Header)
		}
		if text := msg.Header.Get(micro.ErrorHeader); name == "two mistakes" && !strings.Contains(text, "at least 1; command: ") {
			t.Errorf("%s: header %q", name, text)
		}
		if bytes.Contains(msg.Data, []byte("hunter2")) {
			t.Errorf("%s: the reply holds a secret", name)
		}
	}
	rejected := h.stored("smith.event.system.message_rejected.*", 1)
	if d := data[contracts.SystemRejectedData](t, rejected[0]); !strings.HasPrefix(d.Origin, "smith.runner.r1.") || len(rejected) != 1 ||
		d.Cause == "" || strings.Contains(d.Cause, "hunter2") {
		t.Errorf("%d reports of rejected commands, the first %+v", len(rejected), d)
	}
	list := ask[contracts.RunnerList](h, "list", nil)
	if len(list.Agents) != 1 || list.Agents[0].PID != good.PID || !alive(good.PID) {
		t.Errorf("list %+v", list)
	}
}

// TestAnswersNothingIntoTheSystem: an answer on a subject of the sender's choice
// would be a message in the runner's name.
func TestAnswersNothingIntoTheSystem(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	h.run(h.config())
	good := h.mustStart(script("good", 1, forever))
	stop, err := json.Marshal(contracts.StopCommand{Agent: "good", Incarnation: 1, Kill: true})
	if err != nil {
		t.Fatal(err)
	}
	const forged = "smith.event.custom.forged.r1"
	for _, reply := range []string{forged, "$JS.API.STREAM.PURGE.SMITH_EVENTS", ""} {
		if err := h.nc.PublishMsg(&nats.Msg{Subject: contracts.RunnerSubject("r1", "stop"), Reply: reply, Data: stop}); err != nil {
			t.Fatal(err)
		}
	}
	rejected := h.stored("smith.event.system.message_rejected.*", 1)
	if d := data[contracts.SystemRejectedData](t, rejected[0]); !strings.Contains(d.Cause, "no inbox; send it as a request") {
		t.Errorf("rejected because of %q", d.Cause)
	}
	list := ask[contracts.RunnerList](h, "list", nil)
	if len(list.Agents) != 1 || list.Agents[0].State != "running" || !alive(good.PID) {
		t.Errorf("list %+v", list)
	}
	events, err := h.js.Stream(t.Context(), contracts.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := events.GetLastMsgForSubject(t.Context(), forged); err == nil {
		t.Errorf("the runner published %s on %s", msg.Data, forged)
	}
}

func TestSecondRunnerIsRefused(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	h.run(h.config())

	sameDir := h.config()
	sameDir.Name = "r2"
	if err := h.refused(sameDir); !errors.Is(err, runner.ErrStateInUse) || !strings.Contains(err.Error(), `runner "r1"`) {
		t.Errorf("same state directory: %v", err)
	}
	sameName := h.config()
	sameName.StateDir = t.TempDir()
	if err := h.refused(sameName); !errors.Is(err, runner.ErrNameTaken) || !strings.Contains(err.Error(), "--name") {
		t.Errorf("same name: %v", err)
	}
}

func TestYoungerOfTwoRunnersYields(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	announced, err := h.nc.SubscribeSync(contracts.AnnounceSubject("r1"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		done <- runOn(context.Background(), h.server.Connect(t), h.config(), slog.New(slog.DiscardHandler), h.reg, nil)
	}()
	if _, err := announced.NextMsg(patience); err != nil {
		t.Fatal(err)
	}
	for _, rival := range []contracts.RunnerAnnouncement{
		{Runner: "r1", Session: "younger", Started: time.Now().Add(time.Hour)},
		{Runner: "r1", Session: "older", Host: "elsewhere", Started: time.Now().Add(-time.Hour)},
	} {
		body, _ := json.Marshal(rival)
		if err := h.nc.Publish(contracts.AnnounceSubject("r1"), body); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, runner.ErrNameTaken) || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("the younger runner ended with %v", err)
	}
}

func TestUnusableConfig(t *testing.T) {
	t.Parallel()
	bad := runner.Config{Name: "a b", MaxAgents: -1, MaxOutput: 5, PassEnv: []string{"A=B"}, WorkDir: "/no/such/dir"}
	err := bad.Validate()
	for _, want := range []string{"runner name", "max agents", "max output", "pass env", "work directory"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %q: %v", want, err)
		}
	}
	if err := (runner.Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestKilledRunnerAndItsSuccessor(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	kill := h.process()
	a := h.mustStart(script("a", 1, forever))
	b := h.mustStart(script("b", 1, forever))
	h.stored("smith.event.agent.started.*", 2)
	kill()
	if err := syscall.Kill(b.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !alive(a.PID) {
		t.Fatal("the agent died with its runner")
	}

	h.run(h.config())
	if reply := ask[contracts.RunnerReply](h, "start", script("a", 1, forever)); reply.PID != a.PID {
		t.Errorf("the same start again: %+v, want process %d", reply, a.PID)
	}
	if ev := h.stored("smith.event.agent.failed.*", 1); len(ev) != 1 || ev[0].Entity != "b" {
		t.Errorf("failed events %+v", ev)
	}
	if ev := h.stored("smith.event.agent.started.*", 2); len(ev) != 2 {
		t.Errorf("%d started events, want 2", len(ev))
	}
	if reply := h.stop("a", 1); reply.Code != contracts.RunnerOK || alive(a.PID) {
		t.Errorf("stop: %+v", reply)
	}
}

func TestShutdownLeavesOrStopsAgents(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	stop := h.run(h.config())
	a := h.mustStart(script("a", 1, forever))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !alive(a.PID) {
		t.Fatal("the agent ended with its runner")
	}
	cfg := h.config()
	cfg.StopAgents = true
	if err := h.run(cfg)(); err != nil {
		t.Error(err)
	}
	if alive(a.PID) {
		t.Error("the agent lives")
	}
	// Nobody ordered it to end, so it is started again when the runner is back.
	got, err := contracts.DecodeData[contracts.AgentFailedData](h.stored("smith.event.agent.failed.a", 1)[0])
	if err != nil || got.Reason != contracts.ReasonHostLost || !strings.HasPrefix(got.Detail, "runner r1 was ended, and process ") {
		t.Errorf("told %+v, %v", got, err)
	}
}

func TestHeartbeatsAndEnvironmentOfAnAgent(t *testing.T) {
	t.Setenv("SOME_SECRET", "hunter2")
	h := newHost(t)
	natstest.Streams(t, h.js)
	beats, err := h.nc.SubscribeSync(contracts.HeartbeatSubject("plain"))
	if err != nil {
		t.Fatal(err)
	}
	h.run(h.config())
	cmd := script("plain", 7, "env; exec sleep 1000")
	cmd.Heartbeats, cmd.HeartbeatInterval, cmd.Type = contracts.HeartbeatsByRunner, contracts.Duration(20*time.Millisecond), "tool"
	h.mustStart(cmd)
	var msg *nats.Msg
	for range 3 {
		if msg, err = beats.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := contracts.DecodeHeartbeat(msg.Data); err != nil || b.Incarnation != 7 || b.Seq != 3 || b.Type != "tool" {
		t.Errorf("heartbeat %+v, %v", b, err)
	}
	h.eventually("output", func() bool {
		b, _ := os.ReadFile(h.dir + "/agents/plain/output/7-000000000000000.log")
		return bytes.Contains(b, []byte("SMITH_NATS_URL="+h.server.URL()+"\n")) && !bytes.Contains(b, []byte("hunter2"))
	})
}
