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

// crowded is a tree with n agents on runner r1 and one on r2.
func crowded(n int) string {
	return fmt.Sprintf(`
supervision_tree:
  name: t
  verification: {stabilisation: 0s}
  tree:
  - name: group
    policy: {max_restarts: 100}
    children:
    - {name: w, count: %d, command: [x], runner: r1, policy: {restart_delay: 0s}}
    - {name: alone, command: [x], runner: r2, policy: {restart_delay: 0s}}
`, n)
}

// waitFor waits until something holds, and returns how long that took.
func (w *world) waitFor(what string, within time.Duration, holds func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > within {
			w.t.Fatalf("%s: not within %s", what, within)
		}
		<-time.After(50 * time.Millisecond)
	}
	return time.Since(begin)
}

// runners is what smith runners shows of one.
func (w *world) runnerView(name string) contracts.RunnerView {
	w.t.Helper()
	reply, err := shell.Call[contracts.RunnersReply](w.t.Context(), w.nc, "smith.supervisor.runners", struct{}{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, v := range reply.Runners {
		if v.Runner == name {
			return v
		}
	}
	return contracts.RunnerView{}
}

// TestLongListIsReadOnce: a new leader reads the many pages of a slow runner
// once, though its agents end meanwhile, and restarts these when it has. Agents
// of another runner do not wait for that.
func TestLongListIsReadOnce(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const agents, page, lag = 480, 4, 200 * time.Millisecond
		const pages, whole = agents / page, agents / page * lag
		w := newWorld(t, crowded(agents))
		other := newRunner(t, w.server, "r2")
		stop := w.supervise("s1")
		w.waitFor("everything runs", time.Minute, func() bool {
			return w.runner.living() == agents && other.living() == 1
		})
		w.settled()
		stop()
		w.runner.set(func() { w.runner.page, w.runner.lag, w.runner.requests = page, lag, 0 })
		begin := time.Now()
		w.supervise("s2")
		<-time.After(2 * time.Second)
		w.runner.exit("w-480", 1)
		w.runner.exit("w-1", 1)
		other.exit("alone", 1)
		if took := w.waitFor("the other runner's agent is restarted", whole, func() bool { return other.incarnation("alone") == 2 }); took > time.Second {
			t.Errorf("an agent of another runner was restarted after %s", took)
		}
		w.waitFor("its agents are restarted", 2*whole, func() bool { return w.runner.incarnation("w-480") == 2 && w.runner.incarnation("w-1") == 2 })
		if took := time.Since(begin); took < whole || took > whole+5*time.Second {
			t.Errorf("its agents were restarted %s after the takeover; its list takes %s", took, whole)
		}
		if w.runner.requests != pages {
			t.Errorf("%d requests for the list of %d pages", w.runner.requests, pages)
		}
	})
}

func (r *runner) living() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}

// TestPagesAreNotReadAgain: a runner that answers one request of four is read to
// the end, and is asked again for no page that it has answered.
func TestPagesAreNotReadAgain(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const agents, page = 40, 4
		w := newWorld(t, crowded(agents))
		newRunner(t, w.server, "r2")
		stop := w.supervise("s1")
		w.waitFor("everything runs", time.Minute, func() bool { return w.runner.living() == agents })
		w.settled()
		stop()
		w.runner.set(func() { w.runner.page, w.runner.ignored, w.runner.requests = page, 3, 0 })
		w.supervise("s2")
		w.runner.exit("w-7", 1)
		v := contracts.RunnerView{}
		w.waitFor("it is overdue", time.Minute, func() bool {
			v = w.runnerView("r1")
			return v.Comparison != nil && v.Comparison.Overdue
		})
		if !v.Held || v.Available || v.Comparison.Stage != contracts.ComparisonReading {
			t.Errorf("shown while it is compared: %+v, %+v", v, v.Comparison)
		}
		w.gauge("smith_supervisor_runners_held", 1)
		if age := w.gaugeNow("smith_supervisor_comparison_age_seconds"); !(age > 28) {
			t.Errorf("the oldest comparison is %v s old, want 30", age)
		}
		d, err := shell.Call[contracts.Diagnosis](t.Context(), w.nc, "smith.supervisor.why", contracts.NodeRequest{Node: "w-7"})
		if err != nil || !strings.Contains(d.Reason, "runner r1, which is ") || !strings.Contains(d.Reason, "compared with the tree") {
			t.Errorf("why: %q, %v", d.Reason, err)
		}
		w.waitFor("its agent is restarted", 10*time.Minute, func() bool { return w.runner.incarnation("w-7") == 2 })
		if want := agents / page * 4; w.runner.requests != want {
			t.Errorf("%d requests for the list, want %d", w.runner.requests, want)
		}
		if v := w.runnerView("r1"); v.Held || !v.Available || v.Comparison != nil {
			t.Errorf("shown when it is compared: %+v", v)
		}
		w.gauge("smith_supervisor_runners_held", 0)
		w.gauge("smith_supervisor_comparison_age_seconds", 0)
	})
}

// TestAgentThatDoesNotEndKeepsNothingFromItsRunner: a runner has an agent that is
// no longer wanted and cannot end it. It takes starts all the same, and is told
// again to end that agent until it is.
func TestAgentThatDoesNotEndKeepsNothingFromItsRunner(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, crowded(3))
		newRunner(t, w.server, "r2")
		w.runner.set(func() {
			w.runner.live["old"], w.runner.seen["old"], w.runner.trees["old"] = 4, 4, "t"
			w.runner.deathless = map[string]bool{"old": true}
		})
		w.supervise("s1")
		took := w.waitFor("the others run", time.Minute, func() bool { return w.runner.living() == 4 })
		if took > 5*time.Second {
			t.Errorf("starts waited %s for an agent that does not end", took)
		}
		if v := w.runnerView("r1"); v.Held || !v.Available || v.Comparison == nil || v.Comparison.Stage != contracts.ComparisonStopping {
			t.Errorf("shown: %+v, %+v", v, v.Comparison)
		}
		<-time.After(5 * time.Minute)
		if n := strings.Count(w.runner.takeLog(), "not stopped old 4"); n < 10 || n > 30 {
			t.Errorf("told %d times in 5 min to end it, want it to be more and more rarely", n)
		}
		w.runner.set(func() { w.runner.deathless = nil })
		w.waitFor("it is ended", time.Minute, func() bool { return w.runner.incarnation("old") == 0 })
		w.waitFor("the comparison is over", time.Minute, func() bool { return w.runnerView("r1").Comparison == nil })
	})
}
