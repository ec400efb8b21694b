package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const crashLoop = `
supervision_tree:
  verification: {stabilisation: 100ms}
  restart_policies:
    quick: {max_restarts: 1000, time_window: 30s, restart_delay: 100ms, backoff_strategy: {type: fixed, jitter: 0}}
  tree:
    - name: group
      policy: quick
      children:
        - {name: slow, command: [x], policy: quick}
        - {name: well, command: [x], policy: quick}
`

// TestCrashLoopBelowTheLimit: an agent that runs for two seconds at a time is never
// shown as well, by the tree, by the answer to why, by the metric and by a successor,
// until it has run for its reset_after.
func TestCrashLoopBelowTheLimit(t *testing.T) {
	inWorld(t, crashLoop, func(t *testing.T, w *world) {
		stop := w.up()
		node := func(name string) contracts.NodeView {
			t.Helper()
			for _, n := range w.tree().Root.Children[0].Children {
				if n.Name == name {
					return n
				}
			}
			t.Fatalf("there is no %s", name)
			return contracts.NodeView{}
		}
		if u := node("slow").Unsteady; u != nil {
			t.Errorf("at first: %+v", u)
		}
		const crashes = 5
		for i := range crashes {
			w.runner.exit("slow", 7)
			for began := time.Now(); time.Since(began) < 2*time.Second; <-time.After(50 * time.Millisecond) {
				n := node("slow")
				if began.Equal(time.Now()) || n.Incarnation == uint64(i+1) {
					continue // the event has not been handled yet
				}
				if n.Status != contracts.NodeRestarting && (n.Unsteady == nil || n.Unsteady.Restarts != i+1 || n.Unsteady.Reason != "exited with code 7") {
					t.Errorf("after %d crashes it is %s: %+v", i+1, n.Status, n.Unsteady)
				}
			}
		}
		if n := node("well"); n.Unsteady != nil {
			t.Errorf("a sibling: %+v", n.Unsteady)
		}
		w.gauge("smith_supervisor_unsteady", 1)
		n := node("slow")
		if n.Unsteady == nil || n.Unsteady.Steady == nil || time.Until(*n.Unsteady.Steady) > 30*time.Second || n.LastRestart == nil || !n.LastRestart.Equal(n.Unsteady.Last) {
			t.Fatalf("%+v", n)
		}
		d, err := ask[contracts.Diagnosis](w, "why", contracts.NodeRequest{Node: "slow"})
		if err != nil || d.State != contracts.StateRunning || !strings.HasPrefix(d.Reason, "it runs, but was restarted 5 times, last 2s ago: exited with code 7; it is steady when it has run for another 2") {
			t.Errorf("%+v, %v", d, err)
		}
		stop()
		stop = w.supervise("s2")
		w.settled()
		if u := node("slow").Unsteady; u == nil || u.Restarts != crashes {
			t.Errorf("by a successor: %+v", u)
		}
		past := w.treeAt(contracts.Moment{Sequence: w.tree().Sequence})
		if u := past.Root.Children[0].Children[0].Unsteady; u == nil || u.Restarts != crashes {
			t.Errorf("in the past: %+v", u)
		}
		<-time.After(time.Until(*n.Unsteady.Steady))
		w.gauge("smith_supervisor_unsteady", 0)
		if u := node("slow").Unsteady; u != nil {
			t.Errorf("when it has run long enough: %+v", u)
		}
		if d, err = ask[contracts.Diagnosis](w, "why", contracts.NodeRequest{Node: "slow"}); err != nil || d.Reason != "" {
			t.Errorf("%+v, %v", d, err)
		}
		stop()
	})
}
