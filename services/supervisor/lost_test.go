package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const movable = `
supervision_tree:
  placement: {lost_after: 20s}
  restart_policies:
    none: {max_restarts: 0, time_window: 60s, restart_delay: 10s, backoff_strategy: {type: fixed}}
  tree:
    - name: sup
      strategy: one_for_one
      policy: none
      children:
        - {name: a, command: [x], start_deadline: 60s}
        - {name: b, command: [x], start_deadline: 60s}
        - {name: p, command: [x], start_deadline: 60s, runner: r1}
`

// where returns "name runner incarnation" for every agent.
func (w *world) where() string {
	var out []string
	var walk func(n contracts.NodeView)
	walk = func(n contracts.NodeView) {
		if n.Kind == "agent" {
			out = append(out, strings.TrimSpace(n.Name+" "+string(n.Status)+" "+n.Runner))
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(w.tree().Root)
	return strings.Join(out, ", ")
}

func (w *world) failed(r *runner, id string, reason contracts.FailureReason) {
	r.store(contracts.AgentFailed, id, contracts.AgentFailedData{Agent: id, Incarnation: r.incarnation(id), Reason: reason, Detail: "silent"})
}

// hostLost lists the agents that the log says were lost with their host.
func (w *world) hostLost() string {
	w.t.Helper()
	var out []string
	for _, d := range w.decisions() {
		for _, in := range d.Inputs {
			if in.Kind == "lost" {
				out = append(out, in.Node)
			}
		}
	}
	return strings.Join(out, ", ")
}

// A host that is gone gives its agents up: they start elsewhere, though their
// supervisor allows no restart at all. When the host is back with everything
// still running, that is stopped before anything starts there.
func TestLostRunner(t *testing.T) {
	inWorld(t, movable, func(t *testing.T, w *world) {
		w.up()
		w.want("up", w.where(), "a running r1, b running r1, p running r1")
		r2 := newRunner(t, w.server, "r2")
		w.runner.takeLog()

		w.runner.set(func() { w.runner.away, w.runner.cutOff = true, true })
		<-time.After(40 * time.Second)
		w.want("silence alone", w.where(), "a running r1, b running r1, p running r1")
		w.failed(w.runner, "r1", contracts.ReasonHeartbeatTimeout)
		<-time.After(5 * time.Second)
		w.want("in good standing", w.where(), "a running r1, b running r1, p running r1")
		for _, id := range []string{"a", "b", "p"} {
			w.failed(w.runner, id, contracts.ReasonHeartbeatTimeout)
		}
		<-time.After(5 * time.Second)
		w.want("moved", w.where(), "a running r2, b running r2, p starting")
		w.want("started there", r2.sortedLog(), "start a 2, start b 2")
		w.want("in the log", w.hostLost(), "a, b, p")
		for _, r := range w.tree().Runners {
			if r.Lost != (r.Runner == "r1") {
				t.Errorf("%+v", r)
			}
		}

		w.runner.set(func() { w.runner.away, w.runner.cutOff = false, false })
		w.settled()
		log := w.runner.takeLog()
		if i, j := strings.Index(log, "start p 2"), strings.LastIndex(log, "kill"); i < 0 || j > i || strings.Count(log, "kill") != 3 {
			t.Errorf("back: %s", log)
		}
		w.want("after", w.where(), "a running r2, b running r2, p running r1")
	})
}

// The detector holds its verdicts when a whole host falls silent: its one
// finding is enough to give the host up in time.
func TestLostRunnerByOneFinding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data contracts.CorrelatedSilenceData
		over *contracts.CorrelatedSilenceData
		want string
	}{
		"open":          {contracts.CorrelatedSilenceData{Kind: "runner", Name: "r1"}, nil, "a running r2, b running r2, p starting"},
		"over":          {contracts.CorrelatedSilenceData{Kind: "runner", Name: "r1"}, &contracts.CorrelatedSilenceData{Kind: "runner", Name: "r1", Released: 3}, "a running r2, b running r2, p starting"},
		"some are back": {contracts.CorrelatedSilenceData{Kind: "runner", Name: "r1"}, &contracts.CorrelatedSilenceData{Kind: "runner", Name: "r1", Back: 1}, "a running r1, b running r1, p running r1"},
		"about a type":  {contracts.CorrelatedSilenceData{Kind: "type", Name: "r1"}, nil, "a running r1, b running r1, p running r1"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, movable, func(t *testing.T, w *world) {
				w.up()
				newRunner(t, w.server, "r2")
				w.runner.set(func() { w.runner.away, w.runner.cutOff = true, true })
				<-time.After(5 * time.Second)
				w.runner.store(contracts.SystemCorrelatedSilence, "r1", c.data)
				if c.over != nil {
					w.runner.store(contracts.SystemCorrelatedSilenceOver, "r1", c.over)
				}
				<-time.After(10 * time.Second)
				w.want("before its time", w.where(), "a running r1, b running r1, p running r1")
				<-time.After(10 * time.Second)
				w.want("after lost_after", w.where(), c.want)
			})
		})
	}
}

// A runner that is away while its agents beat is being restarted, whatever the
// detector says of the runner itself.
func TestRestartingRunnerIsNotLost(t *testing.T) {
	inWorld(t, movable, func(t *testing.T, w *world) {
		w.up()
		r2 := newRunner(t, w.server, "r2")
		w.runner.takeLog()
		w.runner.set(func() { w.runner.away = true })
		<-time.After(10 * time.Second)
		w.failed(w.runner, "r1", contracts.ReasonHeartbeatTimeout)
		// Even a mistaken verdict on one that beats moves nothing.
		w.failed(w.runner, "a", contracts.ReasonHeartbeatTimeout)
		<-time.After(2 * time.Minute)
		w.want("left alone", w.where(), "a stopping r1, b running r1, p running r1")
		w.want("elsewhere", r2.takeLog(), "")
		w.runner.set(func() { w.runner.away = false })
		<-time.After(30 * time.Second)
		if log := w.runner.takeLog(); !strings.HasPrefix(log, "kill a 1") {
			t.Errorf("back: %s", log)
		}
	})
}

// Nothing that ran before its host booted runs now.
func TestRebootedHost(t *testing.T) {
	inWorld(t, movable, func(t *testing.T, w *world) {
		w.runner.set(func() { w.runner.boot = "one" })
		w.up()
		w.runner.set(func() {
			w.runner.boot = "two"
			clear(w.runner.live)
		})
		<-time.After(5 * time.Second)
		w.settled()
		w.want("in the log", w.hostLost(), "a, b, p")
		w.want("after", w.where(), "a running r1, b running r1, p running r1")
	})
}

// A start that is being repeated while the host boots is not carried out after
// it, though the runner hears it before anybody knows that it booted: what it
// ran is given up, and would live beside its next incarnation.
func TestOldStartDoesNotReachARebootedHost(t *testing.T) {
	inWorld(t, strings.Replace(movable, "max_restarts: 0, time_window: 60s, restart_delay: 10s", "max_restarts: 9, time_window: 60s, restart_delay: 10ms", 1), func(t *testing.T, w *world) {
		w.runner.set(func() { w.runner.boot = "one" })
		w.up()
		w.runner.set(func() { w.runner.away = true })
		w.runner.exit("p", 1) // its next start finds nobody, and is repeated
		<-time.After(2 * time.Second)
		w.runner.set(func() {
			w.runner.boot, w.runner.away, w.runner.mum = "two", false, true
			clear(w.runner.live)
		})
		<-time.After(7 * time.Second) // the first try was waited for
		if log := w.runner.takeLog(); !strings.HasPrefix(log, "exit p 1, refused p 2") || strings.Contains(log, "start") {
			t.Errorf("before the boot is known: %s", log)
		}
		w.runner.set(func() { w.runner.mum = false })
		<-time.After(3 * time.Second)
		w.settled()
		w.want("in the log", w.hostLost(), "a, b, p")
		w.want("after", w.where(), "a running r1, b running r1, p running r1")
		if log := w.runner.takeLog(); strings.Contains(log, "start p 2") || !strings.Contains(log, "start p 3") {
			t.Errorf("after: %s", log)
		}
	})
}

// A successor that never heard the lost runner finds out as well.
func TestLostRunnerFoundBySuccessor(t *testing.T) {
	inWorld(t, movable, func(t *testing.T, w *world) {
		stop := w.up()
		r2 := newRunner(t, w.server, "r2")
		w.runner.set(func() { w.runner.away, w.runner.cutOff = true, true })
		<-time.After(10 * time.Second)
		for _, id := range []string{"a", "b", "p", "r1"} {
			w.failed(w.runner, id, contracts.ReasonHeartbeatTimeout)
		}
		stop()
		w.supervise("s2")
		<-time.After(30 * time.Second)
		w.want("moved", w.where(), "a running r2, b running r2, p starting")
		w.want("once", r2.sortedLog(), "start a 2, start b 2")
	})
}

// Agents whose heartbeats come from their runner are lost with it by the
// detector's word on the runner alone, that it failed or left: it gives no
// verdict on them.
func TestLostRunnerThatBeatForItsAgents(t *testing.T) {
	t.Parallel()
	spoken := strings.ReplaceAll(movable, "start_deadline: 60s", "start_deadline: 60s, heartbeats: runner")
	for name, word := range map[string]func(w *world){
		"failed": func(w *world) { w.failed(w.runner, "r1", contracts.ReasonHeartbeatTimeout) },
		"left": func(w *world) {
			w.runner.store(contracts.AgentStateChanged, "r1", contracts.AgentStateChangedData{Agent: "r1", From: contracts.HealthHealthy, To: contracts.HealthUnknown})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, spoken, func(t *testing.T, w *world) {
				w.up()
				newRunner(t, w.server, "r2")
				w.runner.set(func() { w.runner.away, w.runner.cutOff = true, true })
				<-time.After(5 * time.Second)
				word(w)
				<-time.After(10 * time.Second)
				w.want("before its time", w.where(), "a running r1, b running r1, p running r1")
				<-time.After(10 * time.Second)
				w.want("after lost_after", w.where(), "a running r2, b running r2, p starting")
			})
		})
	}
}
