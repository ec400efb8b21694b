package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const watchdogTree = `
supervision_tree:
  verification: {stabilisation: 100ms}
  tree:
    - {name: w, type: echo, command: [WORKER, -watchdog, 300ms, -fault-rate, "1", -fault-kinds, hang], heartbeat_interval: 10s, shutdown_timeout: 500ms}
`

// TestAgentThatHangsIsRestartedByItsOwnWatchdog: long before its heartbeats are missed,
// and with the reason where people look for it.
func TestAgentThatHangsIsRestartedByItsOwnWatchdog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := &edited{t: t, file: filepath.Join(dir, "config.yaml")}
	e.write(strings.ReplaceAll(watchdogTree, "WORKER", bin("worker")))
	e.up = start(t, bin("smith"), nil, "up", "--listen", "127.0.0.1:0", "--store-dir", filepath.Join(dir, "store"), "--config", e.file)
	e.url = readyURL(t, e.up)
	if out, errOut, code := e.smith("task", "submit", "echo", "{}", "--id", "t1"); code != 0 {
		t.Fatal(out, errOut)
	}
	eventually(t, 10*time.Second, "the agent to be restarted", func() bool { return e.agents()["w"].Incarnation > 1 })
	if out, errOut, _ := e.smith("why", "w"); !strings.Contains(strings.Join(strings.Fields(out), " "), "w#1 hung: its own watchdog ran out: task t1 has made no progress for 3") {
		t.Errorf("why says %s%s", out, errOut)
	}
	if out, errOut, _ := e.smith("logs", "w", "--incarnation", "1"); !strings.Contains(out, "watchdog ran out") || !strings.Contains(out, "agent.(*Faults)") {
		t.Errorf("the log does not say where it hangs: %s%s", out, errOut)
	}
}
