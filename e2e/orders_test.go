package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const orderedTree = `
supervision_tree:
  verification: {stabilisation: 1500ms}
  tree:
    - name: g
      strategy: one_for_one
      children:
        - {name: dies, command: [sh, -c, 'sleep 0.5; exit 7'], heartbeats: runner}
        - {name: fine, command: [sleep, "1001"], heartbeats: runner}
    - {name: hung, command: [sleep, "1002"], start_deadline: 5m}
`

// TestOrdersEndWhenTheirEffectHolds: with real processes, an order is done when what
// it starts is verified, and one that stops an agent does not wait for its start.
func TestOrdersEndWhenTheirEffectHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := &edited{t: t, file: filepath.Join(dir, "config.yaml")}
	e.write(orderedTree)
	e.up = start(t, bin("smith"), nil, "up", "--listen", "127.0.0.1:0", "--store-dir", filepath.Join(dir, "store"), "--config", e.file)
	e.url = readyURL(t, e.up)
	order := func(least time.Duration, wantErr string, args ...string) {
		t.Helper()
		begin := time.Now()
		_, errOut, code := e.smith(append([]string{"child"}, args...)...)
		if took := time.Since(begin); took < least {
			t.Errorf("%v took %s, and its agent cannot be verified before %s", args, took, least)
		}
		if (code == 0) != (wantErr == "") || !strings.Contains(errOut, wantErr) {
			t.Errorf("%v ended with %d: %q, want %q", args, code, errOut, wantErr)
		}
	}
	order(1500*time.Millisecond, "", "restart", "fine")
	order(500*time.Millisecond, "restart of dies: it was carried out, but it could not be verified: exited with code 7", "restart", "dies")
	order(500*time.Millisecond, "restart of g: it was carried out, but dies could not be verified: exited with code 7", "restart", "g")
	order(500*time.Millisecond, "add of brief: it was carried out, but it could not be verified: exited with code 3; it is removed again",
		"add", "g", "brief", "--heartbeats", "runner", "--", "sh", "-c", "sleep 0.5; exit 3")
	if out, errOut, code := e.smith("tree", "brief"); code != 1 || !strings.Contains(errOut, "no node") {
		t.Errorf("the agent that could not be verified is there: %d, %s%s", code, out, errOut)
	}

	verifying := func() bool { return strings.Contains(e.agents()["hung"].Reason, "first heartbeat") }
	eventually(t, 10*time.Second, "a process that never beats", verifying)
	superseded := make(chan string, 1)
	restart := func() {
		_, errOut, _ := e.smith("child", "restart", "hung", "--reason", "try")
		superseded <- errOut
	}
	before := e.agents()["hung"].Incarnation
	go restart()
	eventually(t, 10*time.Second, "a restart that never ends", func() bool { return e.agents()["hung"].Incarnation > before && verifying() })
	order(0, "", "terminate", "hung")
	if got := <-superseded; !strings.Contains(got, "restart of hung was superseded by terminate") {
		t.Errorf("the restart ended with %q", got)
	}
	if got := e.agents()["hung"].Status; got != contracts.NodeStopped {
		t.Errorf("hung is %s", got)
	}

	before = e.agents()["hung"].Incarnation
	go restart()
	eventually(t, 10*time.Second, "a restart that never ends", func() bool { return e.agents()["hung"].Incarnation > before && verifying() })
	e.write(orderedTree[:strings.Index(orderedTree, "    - {name: hung")])
	if out, errOut, code := e.smith("config", "apply", e.file); code != 0 {
		t.Errorf("a configuration without it is refused with %d: %s%s", code, out, errOut)
	}
	if got := <-superseded; !strings.Contains(got, "restart of hung was superseded by its removal") {
		t.Errorf("the restart ended with %q", got)
	}
	eventually(t, 10*time.Second, "its removal", func() bool { return e.agents()["hung"].Name == "" })
}
