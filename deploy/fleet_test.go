package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/capture"
	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
	"github.com/mistersmith/mistersmith/services/eventstore"
	"github.com/mistersmith/mistersmith/services/router"
	"github.com/mistersmith/mistersmith/services/runner"
	"github.com/mistersmith/mistersmith/services/supervisor"
)

// asAgent makes this test binary the agent that the test supervises.
const asAgent = "DEPLOY_TEST_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		agent.Main(func(ctx context.Context, o agent.Options) error {
			o.Handle = func(_ context.Context, t *agent.Task) (any, error) { return "done", nil }
			return agent.Run(ctx, o)
		})
	}
	natstest.Main(m)
}

// fleet is every service under the user of its role, against a server with
// nats-server.conf.
type fleet struct {
	server *natstest.Server
	file   *config.File
	dir    string
	log    *slog.Logger
	output *capture.Buffer
	health *shell.Health
	stops  []func()
}

// TestRolesAtWork runs the whole system with those permissions: an agent is
// started, does a task, is killed, is restarted, and the operator asks why.
// Nobody may be refused anything.
func TestRolesAtWork(t *testing.T) {
	setPasswords(t)
	f := newFleet(t)
	defer func() {
		if t.Failed() {
			t.Log(f.output.String())
		}
	}()
	f.start(t)
	defer f.stop()
	op, observer := connect(t, f.server, "operator"), connect(t, f.server, "observer")
	failures := listen(t, observer)

	first := f.running(t, op, 1)
	f.task(t, op)
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.running(t, op, 2)
	f.task(t, op)
	if e := <-failures; e.Entity != "crawler" {
		t.Errorf("the observer saw %s of %s", e.Type, e.Entity)
	}

	why := call[contracts.WhyReply](t, op, "eventstore.why", contracts.AgentRequest{Agent: "crawler"})
	if len(why.Chain) == 0 {
		t.Error("nobody knows why the agent was restarted")
	}
	// What is added with an environment is started with it, again too.
	call[contracts.OK](t, op, "supervisor.add", contracts.AddRequest{Parent: f.file.Tree.Root.Name, Child: contracts.ChildSpec{
		Name: "added", Command: []string{os.Args[0]}, Env: map[string]string{asAgent: "1"}, HeartbeatInterval: contracts.Duration(time.Second),
	}})
	call[contracts.OK](t, op, "supervisor.restart", contracts.NodeRequest{Node: "added"})
	call[contracts.OK](t, op, "supervisor.remove", contracts.NodeRequest{Node: "added"})
	call[contracts.AgentsReply](t, op, "detector.agents", contracts.AgentsRequest{})
	call[contracts.RouterView](t, op, "router.agents", struct{}{})
	endpointsAreDescribed(t, op)
	f.stop()

	if refused := append(op.violations(t), observer.violations(t)...); len(refused) > 0 {
		t.Errorf("operator or observer were refused %v", refused)
	}
	for line := range strings.Lines(f.output.String() + f.agentOutput(t)) {
		if strings.Contains(strings.ToLower(line), "permissions violation") {
			t.Errorf("refused: %s", line)
		}
	}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	conf := loadConf(t)
	f := &fleet{dir: t.TempDir(), output: &capture.Buffer{}, health: shell.NewHealth()}
	f.log = slog.New(slog.NewTextHandler(f.output, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.server = natstest.Listen(t, conf.listening)
	file, err := config.Parse("test.yaml", fmt.Appendf(nil, `
supervision_tree:
  restart_policies:
    default: {restart_delay: 10ms}
  tree:
    - name: crawler
      type: researcher
      command: [%q]
      env: {%s: "1"}
      heartbeat_interval: 1s
`, os.Args[0], asAgent))
	if err != nil {
		t.Fatal(err)
	}
	f.file = file
	return f
}

// start starts the services, each as its own user.
func (f *fleet) start(t *testing.T) {
	t.Helper()
	address := strings.TrimPrefix(f.server.URL(), "nats://")
	for _, s := range []struct {
		name string
		run  func(context.Context, shell.Env) error
	}{
		{"eventstore", func(ctx context.Context, env shell.Env) error {
			return eventstore.Run(ctx, env, eventstore.FromFile(f.file))
		}},
		{"runner", func(ctx context.Context, env shell.Env) error {
			cfg := runner.FromFile(f.file)
			cfg.Name, cfg.StateDir, cfg.StopAgents = "host-1", filepath.Join(f.dir, "runner"), true
			cfg.AgentServer = "nats://agent:agent-secret@" + address
			return runner.Run(ctx, env, cfg)
		}},
		{"detector", func(ctx context.Context, env shell.Env) error {
			return detector.Run(ctx, env, detector.FromFile(f.file))
		}},
		{"router", func(ctx context.Context, env shell.Env) error { return router.Run(ctx, env, router.FromFile(f.file)) }},
		{"supervisor", func(ctx context.Context, env shell.Env) error {
			return supervisor.Run(ctx, env, supervisor.FromFile(f.file))
		}},
	} {
		f.startOne(t, s.name, s.run)
	}
}

func (f *fleet) startOne(t *testing.T, name string, run func(context.Context, shell.Env) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	nc, err := shell.NATSFlags{
		Server: f.server.URL(), User: name, Password: name + "-secret", InboxPrefix: "_INBOX_" + name, Timeout: 10 * time.Second,
	}.Connect(ctx, name, f.log)
	if err != nil {
		t.Fatal(err)
	}
	env, err := shell.NewEnv(ctx, name, "", nc, f.log, prometheus.NewRegistry(), f.health)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := shell.Run(ctx, env, run); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}()
	f.stops = append(f.stops, func() { cancel(); <-done })
	deadline := time.After(20 * time.Second)
	for {
		ready, changed := f.health.IsReady(name)
		if ready {
			return
		}
		select {
		case <-changed:
		case <-done:
			t.Fatalf("%s ended before it was ready", name)
		case <-deadline:
			t.Fatalf("%s is not ready", name)
		}
	}
}

// stop stops the services in reverse order; twice is once.
func (f *fleet) stop() {
	for _, stop := range slices.Backward(f.stops) {
		stop()
	}
	f.stops = nil
}

// endpointsAreDescribed asks every service for its endpoints, as `nats micro
// info` does, and looks for them in the list of messages.
func endpointsAreDescribed(t *testing.T, op *client) {
	t.Helper()
	described := read(t, "../docs/schema/README.md")
	for _, service := range []string{"eventstore", "runner", "detector", "router", "supervisor"} {
		msg, err := op.Request("$SRV.INFO.smith-"+service, nil, 5*time.Second)
		if err != nil {
			t.Errorf("nats micro info smith-%s: %v", service, err)
			continue
		}
		var info micro.Info
		if err := json.Unmarshal(msg.Data, &info); err != nil || len(info.Endpoints) == 0 {
			t.Errorf("smith-%s tells of no endpoints: %v", service, err)
		}
		for _, e := range info.Endpoints {
			if subject := strings.Replace(e.Subject, ".host-1.", ".<runner>.", 1); !strings.Contains(described, "`"+subject+"`") {
				t.Errorf("docs/schema does not describe %s; add it to messages in pkg/contracts", subject)
			}
		}
	}
}

// listen gives the failures of agents, as programs of others read them.
func listen(t *testing.T, observer *client) <-chan contracts.Event {
	t.Helper()
	failures, ready := make(chan contracts.Event, 16), make(chan struct{})
	l := &agent.Listener{Conn: observer.Conn, Ready: func() { close(ready) }}
	l.Handle("failures", contracts.EventFilter{Types: []contracts.EventType{contracts.AgentFailed}}, func(_ context.Context, e contracts.Event) error {
		failures <- e
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-ready
	return failures
}

// running waits until the agent runs in an incarnation and says where.
func (f *fleet) running(t *testing.T, op *client, incarnation uint64) contracts.NodeView {
	t.Helper()
	var node contracts.NodeView
	eventually(t, func() bool {
		tree := call[contracts.TreeReply](t, op, "supervisor.tree", contracts.TreeRequest{})
		if len(tree.Root.Children) == 1 {
			node = tree.Root.Children[0]
		}
		return node.Status == contracts.NodeRunning && node.Incarnation == incarnation && node.PID != 0
	}, func() string {
		return fmt.Sprintf("the agent is not running in incarnation %d: %+v", incarnation, node)
	})
	return node
}

// task has a task done.
func (f *fleet) task(t *testing.T, op *client) {
	t.Helper()
	submitted := call[contracts.SubmitReply](t, op, "router.submit", contracts.Task{Type: "research", Payload: json.RawMessage(`{}`)})
	var view contracts.TaskView
	eventually(t, func() bool {
		view = call[contracts.TaskView](t, op, "router.status", contracts.TaskRequest{Task: submitted.Task})
		return view.Status == "completed"
	}, func() string { return fmt.Sprintf("the task is not done: %+v", view) })
}

func call[Resp any](t *testing.T, op *client, verb string, req any) Resp {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := shell.Call[Resp](ctx, op.Conn, "smith."+verb, req)
	if err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	return resp
}

// eventually asks every 20 ms for at most 20 s.
func eventually(t *testing.T, ok func() bool, complaint func() string) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal(complaint())
		case <-tick.C:
		}
	}
}

// agentOutput is all that agents wrote.
func (f *fleet) agentOutput(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
