package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const verified = `
supervision_tree:
  verification: {stabilisation: 2s, allow_degraded: ALLOWED}
  restart_policies:
    patient: {max_restarts: 20, time_window: 60s, restart_delay: 100ms, backoff_strategy: {type: fixed}}
  tree:
    - name: sup
      strategy: one_for_one
      policy: patient
      children:
        - {name: a, command: [x], heartbeat_interval: 1s}
`

// TestVerifiedByStatus: what an agent says of itself while its start is verified
// decides whether it has come up. One that has not is killed and started anew.
func TestVerifiedByStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status  contracts.AgentStatus
		allowed string // whether a degraded one has come up
		up      bool
	}{
		{contracts.StatusBusy, "false", true},
		{contracts.StatusDegraded, "true", true},
		{contracts.StatusDegraded, "false", false},
		{contracts.StatusStopping, "true", false},
		{contracts.StatusStopped, "true", false},
	} {
		t.Run(string(c.status)+", degraded allowed "+c.allowed, func(t *testing.T) {
			inWorld(t, strings.Replace(verified, "ALLOWED", c.allowed, 1), func(t *testing.T, w *world) {
				w.runner.set(func() { w.runner.status["a"] = c.status })
				w.supervise("s1")
				if c.up {
					w.want("after its start", w.settled(), "root running, sup running, a running 1")
					w.want("done", w.runner.takeLog(), "start a 1")
					return
				}
				<-time.After(4 * time.Second) // a second until the runner is known, two for its first start
				w.want("after its start", w.runner.takeLog(), "start a 1, kill a 1, start a 2")
				w.wantFailure("a", contracts.ReasonUnverified)
				w.runner.set(func() { delete(w.runner.status, "a") })
				w.want("well again", w.settled(), "root running, sup running, a running 2")
				w.want("done then", w.runner.takeLog(), "")
			})
		})
	}
}
