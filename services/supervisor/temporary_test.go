package supervisor

import (
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const temporaries = `
supervision_tree:
  tree:
    - {name: job, command: [x], restart: temporary}
    - {name: done, command: [x], restart: temporary}
    - name: tmp
      strategy: one_for_all
      restart: temporary
      policy: {max_restarts: 0, time_window: 60s}
      children:
        - {name: bad, command: [x]}
        - {name: web, command: [x]}
`

// TestTemporaryFailed: temporary nodes that failed are told apart from one that
// finished, by the tree, by the answer to why and by the gauges, also after a restart
// of the supervisor; and an order starts each again.
func TestTemporaryFailed(t *testing.T) {
	inWorld(t, temporaries, func(t *testing.T, w *world) {
		stop := w.up()
		w.runner.exit("job", 9)
		w.runner.exit("done", 0)
		w.runner.exit("bad", 4)
		failed := "root running, job failed 1, done stopped 1, tmp failed, bad failed 1, web stopped 1"
		w.want("what failed", w.settled(), failed)
		w.gauge("smith_supervisor_down", 3)
		w.gauge("smith_supervisor_gave_up", 1)
		stop()
		w.supervise("s2")
		w.want("as the successor sees it", w.settled(), failed)

		for node, want := range map[string]string{
			"job": "it failed and, being temporary, is not restarted: exited with code 9; smith child restart job starts it",
			"tmp": "it gave up and, being temporary, is not restarted: restart limit exceeded by child bad: exited with code 4; smith child restart tmp starts it",
		} {
			d, err := ask[contracts.Diagnosis](w, "why", contracts.NodeRequest{Node: node})
			if err != nil || d.State != contracts.StateFailed || d.Reason != want {
				t.Errorf("why %s: %+v, %v", node, d, err)
			}
		}
		_, err := ask[contracts.OrderReply](w, "restart", contracts.NodeRequest{Node: "web"})
		w.wantRefused("an order below it", err, "", "its supervisor tmp has given up; smith child restart tmp starts it")
		for _, node := range []string{"job", "done", "tmp"} {
			w.order("restart", contracts.NodeRequest{Node: node})
		}
		w.want("started by order", w.settled(), "root running, job running 2, done running 2, tmp running, bad running 2, web running 2")
		w.gauge("smith_supervisor_down", 0)
		w.gauge("smith_supervisor_gave_up", 0)
	})
}
