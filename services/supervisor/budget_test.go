package supervisor

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// gauge waits for a metric to be so: gauges are refreshed once a second.
func (w *world) gauge(name string, want float64) {
	w.t.Helper()
	got := math.NaN()
	for range 50 {
		if got = w.gaugeNow(name); got == want {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	w.t.Errorf("%s is %v, want %v", name, got, want)
}

// gaugeNow returns a metric's value, or NaN if there is none.
func (w *world) gaugeNow(name string) float64 {
	w.t.Helper()
	all, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return math.NaN()
}

const budgeted = `
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
`

// More crashes than the budget allows wait their turn, visibly, over a change of
// supervisors; and a rehearsal tells what that cost.
func TestRestartBudget(t *testing.T) {
	inWorld(t, budgeted, func(t *testing.T, w *world) {
		stop := w.up()
		begin := time.Now()
		for _, id := range []string{"a", "b", "c", "d"} {
			w.runner.exit(id, 1)
			<-time.After(time.Second)
		}
		w.want("at once", w.where(), "a running r1, b running r1, c starting, d starting")
		w.gauge("smith_supervisor_throttled_restarts", 2)
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
		w.gauge("smith_supervisor_throttled_restarts", 0)
		if s := w.settled(); !strings.Contains(s, "d running 2") {
			t.Error(s)
		}

		all := w.rehearse(contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: budgeted}})
		if !all.Faithful || all.First != nil || all.Recorded != all.Rehearsed {
			t.Errorf("the same configuration: deviation %d, first %+v\nrecorded  %+v\nrehearsed %+v", all.Deviation, all.First, all.Recorded, all.Rehearsed)
		}
		// c and d crashed 2 s and 3 s after a, and waited until 60 s and 61 s
		// after it.
		if r, want := all.Recorded, 2*58*time.Second; r.BudgetWaits != 2 || r.BudgetWaited.D().Round(time.Second) != want || r.Waiting < r.BudgetWaited {
			t.Errorf("recorded %+v, want 2 waits of %s", r, want)
		}
		last, waits := w.tree().Sequence, map[int]bool{}
		for seq := uint64(1); seq < last; seq++ {
			part := w.rehearse(contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: budgeted}, From: contracts.Moment{Sequence: seq}, To: contracts.Moment{Sequence: last}})
			if !part.Faithful || part.First != nil || part.Recorded != part.Rehearsed {
				t.Errorf("from %d: deviation %d, first %+v\nrecorded  %+v\nrehearsed %+v", seq, part.Deviation, part.First, part.Recorded, part.Rehearsed)
			}
			waits[part.Recorded.BudgetWaits] = true
		}
		if !waits[0] || !waits[1] || !waits[2] {
			t.Errorf("waits %v: not from before, amid and after them", waits)
		}
		free := w.rehearse(contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: strings.Replace(budgeted, "fleet_restarts: 2", "fleet_restarts: 4", 1)}})
		if r := free.Rehearsed; !free.Faithful || free.First == nil || free.Recorded != all.Recorded || r.BudgetWaits != 0 || r.BudgetWaited != 0 || r.Restarts != 4 || r.Downtime >= free.Recorded.Downtime-free.Recorded.BudgetWaited/2 {
			t.Errorf("with a larger budget: first %+v\nrecorded  %+v\nrehearsed %+v", free.First, free.Recorded, free.Rehearsed)
		}
		t.Logf("%+v\n%+v", free, free.First)
	})
}
