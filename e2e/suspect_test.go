package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// asStuck makes this test binary an agent whose end never comes: after SIGTERM it
// says that it stops, and beats on.
const asStuck = "E2E_STUCK"

func runStuck() error {
	incarnation, err := strconv.ParseUint(os.Getenv(contracts.EnvIncarnation), 10, 64)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(os.Getenv(contracts.EnvNATSURL))
	if err != nil {
		return err
	}
	stopping, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	h := contracts.Heartbeat{Incarnation: incarnation, Interval: contracts.Duration(200 * time.Millisecond)}
	for tick := time.NewTicker(h.Interval.D()); ; <-tick.C {
		h.Seq++
		if stopping.Err() != nil {
			h.Status = contracts.StatusStopping
		}
		body, err := json.Marshal(h)
		if err != nil {
			return err
		}
		if err := nc.Publish(contracts.HeartbeatSubject(os.Getenv(contracts.EnvAgent)), body); err != nil {
			return err
		}
	}
}

const suspectConfig = `
supervision_tree:
  failure_detection: {heartbeat_interval: 500ms}
  tree:
    - {name: stuck, heartbeat_interval: 200ms, shutdown_timeout: 1s, env: {E2E_STUCK: "1"}, command: [SELF]}
    - {name: w, count: 3, heartbeats: runner, command: [sleep, "1000"]}
`

// TestSuspects lets a runner be away, which is not the silence of the agents for
// which it beats, and tells an agent to stop, which says so and does not end.
func TestSuspects(t *testing.T) {
	t.Parallel()
	s := deploy(t, strings.ReplaceAll(suspectConfig, "SELF", os.Args[0]))
	sleepers := []string{"w-1", "w-2", "w-3"}
	before := s.waitRunning(map[string]uint64{"stuck": 1, "w-1": 1, "w-2": 1, "w-3": 1})
	known := func(samples int, ok func(contracts.AgentView) bool) func() bool {
		return func() bool {
			for _, name := range sleepers {
				if v := s.agentView(name); v.Samples < samples || !ok(v) {
					return false
				}
			}
			return true
		}
	}
	healthy := func(v contracts.AgentView) bool { return v.Health == contracts.HealthHealthy }
	eventually(t, 30*time.Second, "the agents to be known", known(12, healthy))
	for _, end := range []func(){s.services["runner"].Kill, s.services["runner"].Stop} {
		had := s.agentView("w-1").Samples
		end()
		eventually(t, 30*time.Second, "verdicts that wait", known(0, func(v contracts.AgentView) bool { return v.AwaitsRunner }))
		s.services["runner"].Start()
		s.waitReady("runner")
		eventually(t, 30*time.Second, "the agents to beat on", known(had+10, healthy))
	}
	for _, name := range sleepers {
		if now := s.agents()[name]; now.PID != before[name].PID || s.failureOf(name, 1) != "" {
			t.Errorf("%s was process %d, is %+v; failed: %q", name, before[name].PID, now, s.failureOf(name, 1))
		}
	}

	if err := syscall.Kill(before["stuck"].PID, syscall.SIGTERM); before["stuck"].PID <= 1 || err != nil {
		t.Fatal(fmt.Errorf("tell stuck to stop: %w", err))
	}
	s.waitRunning(map[string]uint64{"stuck": 2})
	if reason := s.failureOf("stuck", 1); reason != contracts.ReasonStoppingTimeout {
		t.Errorf("found as %q", reason)
	}
}
