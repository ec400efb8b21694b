package supervisor

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestShutdownTimeout: what a supervisor has below it is down within the
// supervisor's own time, over a change of supervisors too.
func TestShutdownTimeout(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, `
supervision_tree:
  tree:
    - name: sup
      strategy: one_for_one
      shutdown_timeout: 10s
      children:
        - {name: a, command: [x]}
        - {name: b, command: [x]}
        - {name: c, command: [x]}
        - {name: d, command: [x]}
`)
		stop, _ := w.supervise("s1")
		w.settled()
		w.runner.takeLog()
		w.runner.slow["d"], w.runner.slow["c"] = 4*time.Second, 4*time.Second
		w.runner.slow["b"], w.runner.slow["a"] = 4*time.Second, 4*time.Second
		begin := time.Now()
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = shell.Call[contracts.OK](t.Context(), w.nc, "smith.supervisor.terminate", contracts.NodeRequest{Node: "sup"})
		}()
		<-time.After(6 * time.Second)
		w.want("so far", w.runner.takeLog(), "stop d 1")
		stop()
		w.supervise("s2")
		w.want("it is down", w.settled(), "root running, sup stopped, a stopped 1, b stopped 1, c stopped 1, d stopped 1")
		w.want("in the end", w.runner.takeLog(), "stop c 1, kill b 1, kill a 1")
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("it took %s", took)
		}
		<-over
	})
}
