package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const nodeConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 200ms}
  synadia: {subject: agents.hb.*.*.*}
`

// TestNodeAgents: agents of another language, one that sends empty heartbeats
// and one that speaks the Synadia Agent Protocol, are watched as they are. Each
// is a process of Node with the package @nats-io/transport-node from
// examples/node_modules, or the directory that $NODE_MODULES names.
func TestNodeAgents(t *testing.T) {
	t.Parallel()
	node, dir := nodeScripts(t, "heartbeat.mjs", "synadia.mjs")
	s := deploy(t, nodeConfig)
	env := []string{contracts.EnvNATSURL + "=" + s.url}
	agents := map[string]*process{
		"plain":                 start(t, node, env, filepath.Join(dir, "heartbeat.mjs"), "plain", "0.2"),
		"claude-code-acme-main": start(t, node, env, filepath.Join(dir, "synadia.mjs"), "claude-code", "acme", "main", "0.2"),
	}
	for name := range agents {
		eventually(t, 20*time.Second, name+" to be healthy", func() bool {
			v := s.agentView(name)
			return v.Health == contracts.HealthHealthy && v.Samples >= 10 && v.Interval.D() < time.Second
		})
	}
	if v := s.agentView("claude-code-acme-main"); v.Type != "claude-code" || v.Interval.D() != 200*time.Millisecond {
		t.Errorf("%+v", v)
	}
	told := s.tellings()
	for name, p := range agents {
		killed := time.Now()
		p.Kill()
		told.await(t, name, contracts.AgentFailed)
		t.Logf("%s was killed and found after %s", name, time.Since(killed).Round(time.Millisecond))
	}
	for name, p := range agents {
		p.Start()
		want := contracts.AgentRecovered // nobody can know that it is another process
		if name != "plain" {
			want = contracts.AgentCreated
		}
		told.await(t, name, want)
	}
	if err := s.nc.Publish("agents.hb.claude-code.acme.main", []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	s.metricsReach(t, `smith_messages_rejected_total{kind="synadia_heartbeat",service="detector"}`, 1)
	taken := 0.0
	for name, n := range s.metrics(t) {
		if strings.HasPrefix(name, "smith_detector_mistakes_total{") {
			taken += n
		}
	}
	if taken != 1 {
		t.Errorf("%g mistakes; another process of an agent is none of the detector's", taken)
	}
}

// nodeScripts copies scripts of examples beside the modules that they need.
func nodeScripts(t *testing.T, names ...string) (node, dir string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node on PATH")
	}
	modules := os.Getenv("NODE_MODULES")
	if modules == "" {
		modules = "../examples/node_modules"
	}
	if modules, err = filepath.Abs(modules); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@nats-io", "transport-node")); err != nil {
		t.Skipf("no @nats-io/transport-node in %s: run `npm install` in examples, or set NODE_MODULES", modules)
	}
	dir = t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		source, err := os.ReadFile(filepath.Join("../examples", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), source, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return node, dir
}

// tellings are events about agents as they come.
type tellings struct {
	sub  *nats.Subscription
	seen []contracts.Event
}

func (s *system) tellings() *tellings {
	s.t.Helper()
	sub, err := s.nc.SubscribeSync("smith.event.agent.>")
	if err == nil {
		err = s.nc.Flush()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return &tellings{sub: sub}
}

// await waits for an event about an agent, which may have come already.
func (x *tellings) await(t *testing.T, agent string, typ contracts.EventType) {
	t.Helper()
	for i := 0; ; i++ {
		if i == len(x.seen) {
			msg, err := x.sub.NextMsg(20 * time.Second)
			if err != nil {
				t.Fatalf("no %s of %s among %d events: %v", typ, agent, len(x.seen), err)
			}
			ev, err := contracts.DecodeEvent(msg.Subject, msg.Data)
			if err != nil {
				t.Fatal(err)
			}
			x.seen = append(x.seen, ev)
		}
		if x.seen[i].Entity == agent && x.seen[i].Type == typ {
			x.seen = append(x.seen[:i], x.seen[i+1:]...)
			return
		}
	}
}
