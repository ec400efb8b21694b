package router_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router"
)

func TestTaskFromSubmissionToResult(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		w.agent("ann", "researcher", 1, 2*time.Second)
		w.agent("bob", "coder", 1, time.Second)
		pass(100 * time.Millisecond)
		if reply := w.submit(contracts.Task{ID: "t1", Type: "research", Payload: []byte(`{"q":1}`)}); reply.Task != "t1" || reply.Warning != "" {
			t.Fatalf("reply %+v", reply)
		}
		pass(time.Second)
		if v := w.task("t1"); v.Status != "assigned" || v.Agent != "ann" || v.Attempt != 1 {
			t.Fatalf("status %+v", v)
		}
		pass(2 * time.Second)
		if v := w.task("t1"); v.Status != "completed" || v.Agent != "ann" || string(v.Result) != `"done"` {
			t.Fatalf("status %+v", v)
		}
		if n := w.waiting(); n != 0 {
			t.Fatalf("%d messages are still queued", n)
		}
		events := w.log(contracts.TaskSubmitted, contracts.TaskAssigned, contracts.TaskCompleted)
		if len(events) != 3 {
			t.Fatalf("events %v", events)
		}
		// An agent may have a task before its submission is in the log: what
		// follows from what is told by the causation.
		order := []contracts.EventType{contracts.TaskSubmitted, contracts.TaskAssigned, contracts.TaskCompleted}
		slices.SortFunc(events, func(a, b contracts.Event) int {
			return slices.Index(order, a.Type) - slices.Index(order, b.Type)
		})
		for i, ev := range events {
			if ev.CorrelationID != "t1" || i > 0 && ev.CausationID != events[i-1].ID {
				t.Fatalf("event %d %+v does not follow from %+v", i, ev, events[max(i-1, 0)])
			}
		}
		v := w.view()
		if v.Submitted != 1 || v.Completed != 1 || len(v.Agents) != 2 || !v.Agents[0].Available {
			t.Fatalf("view %+v", v)
		}
	})
}

func TestNoneLostWhenAnAgentDies(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		agents := w.coders(4, 2, 700*time.Millisecond)
		w.submitMany(200, "code")
		pass(time.Second)
		holding, _, _ := agents[2].load()
		if holding == 0 {
			t.Fatal("the agent to die holds nothing")
		}
		agents[2].die()
		w.until("all completed", 5*time.Minute, func() bool { return w.view().Completed == 200 })
		w.until("the queue is empty", 10*time.Second, func() bool { return w.waiting() == 0 })
		done := w.completions()
		for i := range 200 {
			if n := done[fmt.Sprintf("t%d", i)]; n != 1 {
				t.Errorf("t%d was completed %d times", i, n)
			}
		}
		if v := w.view(); int(v.Reassigned) != holding || v.DeadLettered != 0 {
			t.Errorf("reassigned %d of %d, dead %d", v.Reassigned, holding, v.DeadLettered)
		}
		for _, a := range agents {
			if _, most, _ := a.load(); most > 2 {
				t.Errorf("%s worked on %d at once", a.id, most)
			}
		}
		failed := w.log(contracts.AgentFailed)[0]
		for _, ev := range w.log(contracts.TaskReassigned) {
			d, err := contracts.DecodeData[contracts.TaskAssignedData](ev)
			if err != nil || d.PreviousAgent != "a2" || d.Attempt != 2 || d.Reason != "agent_failed" || ev.CausationID != failed.ID {
				t.Errorf("reassigned %+v %+v", ev, d)
			}
		}
	})
}

func TestRestartMidFlight(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				agents := w.coders(3, 3, 3*time.Second)
				r := w.route("r1", router.Config{})
				w.submitMany(60, "code")
				for n := range 4 {
					pass(1300 * time.Millisecond)
					if how == "killed" {
						w.kill(r)
					} else {
						w.stop(r)
					}
					pass(time.Duration(n) * time.Second)
					r = w.route(fmt.Sprintf("r%d", n+2), router.Config{})
				}
				w.until("all completed", 5*time.Minute, func() bool { return w.view().Completed == 60 })
				w.until("the queue is empty", time.Minute, func() bool { return w.waiting() == 0 })
				runs := map[string]int{}
				for _, a := range agents {
					_, most, began := a.load()
					if most > 3 {
						t.Errorf("%s worked on %d at once", a.id, most)
					}
					for _, run := range began {
						runs[run]++
					}
				}
				if len(runs) != 60 {
					t.Errorf("%d runs of 60 tasks: %v", len(runs), runs)
				}
				for task, n := range w.completions() {
					if n != 1 {
						t.Errorf("%s was completed %d times", task, n)
					}
				}
				if v := w.view(); v.Submitted != 60 || v.Reassigned != 0 {
					t.Errorf("view %+v", v)
				}
			})
		})
	}
}
