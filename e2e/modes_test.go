package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const modesConfig = `
supervision_tree:
  root_mode: shadow
  failure_detection: {heartbeat_interval: 1s}
  tree:
    - {name: w, heartbeat_interval: 1s, stabilisation: 100ms, command: [WORKER, --records, RECORDS]}
`

// TestRollingOut brings an agent under supervision that something else keeps
// alive, played here by the test, and takes it back: first proposals only, beside
// what really happened; then the hand-over; then the brake.
func TestRollingOut(t *testing.T) {
	t.Parallel()
	s := deploy(t, modesConfig)
	smith := func(args ...string) string {
		t.Helper()
		out, errOut, code := run(t, nil, bin("smith"), append(args, "--server", s.url)...)
		if code != 0 {
			t.Fatalf("smith %s: exit code %d\n%s\n%s", strings.Join(args, " "), code, out, errOut)
		}
		return out
	}
	became := func(status contracts.NodeStatus, incarnation uint64) contracts.NodeView {
		t.Helper()
		eventually(t, 20*time.Second, "w to be "+string(status), func() bool {
			w := s.agents()["w"]
			return w.Status == status && w.Incarnation == incarnation
		})
		return s.agents()["w"]
	}
	systemd := start(t, bin("worker"), []string{
		contracts.EnvAgent + "=w", contracts.EnvNATSURL + "=" + s.url, contracts.EnvHeartbeatInterval + "=200ms",
	}, "--records", s.records())
	eventually(t, 20*time.Second, "w to be known", func() bool {
		v := s.agentView("w")
		return v.Health == contracts.HealthHealthy && v.Samples >= 10
	})
	became(contracts.NodeWatched, 0)

	systemd.Kill()
	became(contracts.NodeFailed, 0)
	systemd.Start()
	became(contracts.NodeWatched, 0)
	var diff contracts.ProposalsReply
	if err := json.Unmarshal([]byte(smith("mode", "diff", "w", "--from", "10m", "--json")), &diff); err != nil {
		t.Fatal(err)
	}
	if diff.Total != 1 || diff.Proposals[0].Action != "restart" || diff.Proposals[0].Outcome != contracts.OutcomeSame {
		t.Fatalf("proposals: %+v", diff)
	}
	t.Log(smith("mode", "diff"))

	smith("mode", "set", "root", "enforce", "--reason", "week two")
	s.services["supervisor"].Kill()
	s.services["supervisor"].Start()
	s.waitReady("supervisor")
	became(contracts.NodeForeign, 0)
	if list := s.list(); len(list) > 0 {
		t.Fatalf("a second one was started: %+v", list)
	}
	systemd.Kill()
	first := became(contracts.NodeRunning, 1)

	smith("mode", "set", "root", "off")
	if w := became(contracts.NodeWatched, 1); w.PID != first.PID || syscall.Kill(w.PID, 0) != nil {
		t.Fatalf("it was not left alone: %+v", w)
	}
	if text := smith("tree"); !strings.Contains(text, "MODE") || !strings.Contains(text, "off") {
		t.Errorf("smith tree does not show modes:\n%s", text)
	}
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the runner to tell of the end", func() bool {
		agents := s.list()
		return len(agents) == 1 && agents[0].State == "exited"
	})
	smith("mode", "set", "root", "enforce")
	if w := became(contracts.NodeRunning, 2); w.PID == first.PID {
		t.Errorf("%+v", w)
	}
}
