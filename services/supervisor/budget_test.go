package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

// More crashes than the budget allows wait their turn, visibly, over a change of
// supervisors.
func TestRestartBudget(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, `
supervision_tree:
  restart_budget: {fleet_restarts: 2, fleet_window: 60s}
  restart_policies:
    patient: {max_restarts: 20, time_window: 60s, restart_delay: 0s, backoff_strategy: {type: fixed}}
  tree:
    - name: sup
      strategy: one_for_one
      policy: patient
      children:
        - {name: a, command: [x]}
        - {name: b, command: [x]}
        - {name: c, command: [x]}
        - {name: d, command: [x]}
`)
		stop, _ := w.supervise("s1")
		w.settled()
		w.runner.takeLog()
		begin := time.Now()
		for _, id := range []string{"a", "b", "c", "d"} {
			w.runner.exit(id, 1)
			<-time.After(time.Second)
		}
		w.want("at once", w.where(), "a running r1, b running r1, c starting, d starting")
		sup := w.tree().Root.Children[0]
		for i, want := range []string{"waits for restart budget, #1 in line", "waits for restart budget, #2 in line"} {
			v := sup.Children[2+i]
			if v.Reason != want || v.Until == nil || v.Until.Before(begin.Add(59*time.Second)) || v.Until.After(begin.Add(62*time.Second)) {
				t.Errorf("%s: %s until %v; began %v", v.Name, v.Reason, v.Until, begin)
			}
		}
		stop()
		w.supervise("s2")
		w.runner.takeLog()
		<-time.After(50 * time.Second)
		w.want("before", w.runner.takeLog(), "")
		<-time.After(10 * time.Second)
		w.want("after", w.runner.sortedLog(), "start c 2, start d 2")
		if s := w.settled(); !strings.Contains(s, "d running 2") {
			t.Error(s)
		}
	})
}
