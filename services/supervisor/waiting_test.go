package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const patientGroup = `
supervision_tree:
  restart_policies:
    patient: {max_restarts: 3, time_window: 60s, restart_delay: 30s, backoff_strategy: {type: fixed, jitter: 0}}
  tree:
    - name: rest
      strategy: rest_for_one
      policy: patient
      children:
        - {name: first, command: [x]}
        - {name: crashed, command: [x]}
        - {name: last, command: [x]}
`

// TestWaitsWithItsGroup: a member that ended by itself and waits with its group,
// and one that was stopped for it, are shown as such by the tree, by the answer to
// why, by metrics, and by the next supervisor.
func TestWaitsWithItsGroup(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, patientGroup)
		stop := w.supervise("s1")
		w.settled()
		rest := func() string {
			var all []string
			for _, n := range w.tree().Root.Children[0].Children {
				s := fmt.Sprintf("%s %s (%s)", n.Name, n.Status, n.Reason)
				if n.Until != nil {
					s += " until"
				}
				all = append(all, s)
			}
			return strings.Join(all, "\n")
		}
		waits := func(what, want string) {
			t.Helper()
			for range 100 {
				if rest() == want {
					break
				}
				<-time.After(100 * time.Millisecond)
			}
			w.want(what, rest(), want)
		}
		w.runner.exit("last", 7)
		waits("the last member", "first running ()\ncrashed running ()\nlast restarting (exited with code 7, waits with its group) until")
		w.gauge("smith_supervisor_waiting", 1)
		w.gauge("smith_supervisor_down", 1)
		w.runner.exit("crashed", 7)
		both := "first running ()\ncrashed restarting (exited with code 7, waits with its group) until\nlast restarting (exited with code 7, waits with its group) until"
		waits("two members", both)
		stop()
		w.supervise("s2")
		waits("as the successor sees it", both)
		w.want("in the end", w.settled(), "root running, rest running, first running 1, crashed running 2, last running 2")

		w.runner.exit("crashed", 7)
		waits("a sibling", "first running ()\ncrashed restarting (exited with code 7, waits with its group) until\nlast restarting (waits with its group: crashed exited with code 7) until")
		d, err := shell.Call[contracts.Diagnosis](t.Context(), w.nc, "smith.supervisor.why", contracts.NodeRequest{Node: "last"})
		if err != nil || d.State != contracts.StateGroup || d.Because != "crashed" || d.Node.Status != contracts.NodeRestarting || d.Due == nil {
			t.Errorf("%+v, %v", d, err)
		}
		w.gauge("smith_supervisor_waiting", 2)
		w.gauge("smith_supervisor_down", 2)
		for _, made := range w.decisions() {
			for _, e := range made.Effects {
				if e.Kind == "stop" && !strings.Contains(e.Detail, "with its group") {
					t.Errorf("the stop of %s is said to be %q", e.Node, e.Detail)
				}
			}
		}
	})
}
