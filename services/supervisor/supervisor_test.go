package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const threeGroups = `
supervision_tree:
  tree:
    - name: single
      strategy: one_for_one
      escalation: escalate
      children:
        - {name: a, command: [x]}
        - {name: b, command: [x], env: {SECRET: hush}}
    - name: all
      strategy: one_for_all
      children:
        - {name: c, command: [x]}
        - {name: d, command: [x]}
    - name: rest
      strategy: rest_for_one
      children:
        - {name: e, command: [x]}
        - {name: f, command: [x]}
        - {name: g, command: [x]}
`

const threeGroupsUp = "root running, single running, a running 1, b running 1, all running, c running 1, d running 1, rest running, e running 1, f running 1, g running 1"

func TestStrategies(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.supervise("s1")
		w.want("up", w.settled(), threeGroupsUp)
		w.runner.takeLog()

		w.runner.exit("a", 1)
		w.settled()
		w.want("one_for_one", w.runner.takeLog(), "exit a 1, start a 2")
		w.runner.exit("c", 1)
		w.settled()
		w.want("one_for_all", w.runner.takeLog(), "exit c 1, stop d 1, start c 2, start d 2")
		w.runner.exit("f", 1)
		w.settled()
		w.want("rest_for_one", w.runner.takeLog(), "exit f 1, stop g 1, start f 2, start g 2")
		w.runner.exit("e", 0)
		w.settled()
		w.want("permanent, normal end", w.runner.takeLog(), "exit e 1, stop g 2, stop f 2, start e 2, start f 3, start g 3")

		for _, d := range w.decisions() {
			for _, c := range d.Changes {
				if strings.Contains(string(c), "hush") {
					t.Error("an agent's environment is in the log")
				}
			}
		}
	})
}

func TestHungAgentIsKilledThenRestarted(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		verdict := w.runner.silent("a")
		w.settled()
		w.want("hung", w.runner.takeLog(), "kill a 1, start a 2")
		chain := ""
		for _, d := range w.decisions() {
			for _, e := range d.Effects {
				if e.Node == "a" && e.Kind == "start" && e.Incarnation == 2 {
					chain = e.Correlation
				}
			}
		}
		w.want("correlation of the start", chain, verdict.ID)
	})
}

func TestEscalation(t *testing.T) {
	inWorld(t, `
supervision_tree:
  restart_policies:
    tight: {max_restarts: 2, time_window: 60s, restart_delay: 100ms, backoff_strategy: {type: fixed}}
  tree:
    - name: sup
      strategy: one_for_one
      escalation: escalate
      policy: tight
      children:
        - {name: a, command: [x]}
        - {name: b, command: [x]}
    - {name: z, command: [x]}
`, func(t *testing.T, w *world) {
		w.up()
		for range 3 {
			w.runner.exit("b", 1)
			w.settled()
		}
		log := w.runner.takeLog()
		// Independent children start at the same time.
		log = strings.Replace(log, "start b 4, start a 2", "start a 2, start b 4", 1)
		w.want("escalation", log, "exit b 1, start b 2, exit b 2, start b 3, exit b 3, stop a 1, start a 2, start b 4")
		w.want("after", w.settled(), "root running, sup running, a running 2, b running 4, z running 1")
	})
}

func TestUnverifiedAndFailedStarts(t *testing.T) {
	inWorld(t, `
supervision_tree:
  restart_policies:
    patient: {max_restarts: 100, time_window: 60s, restart_delay: 100ms, backoff_strategy: {type: fixed}}
  tree:
    - name: sup
      strategy: one_for_one
      policy: patient
      children:
        - {name: a, command: [x], heartbeat_interval: 1s, start_deadline: 2s}
        - {name: b, command: [x]}
`, func(t *testing.T, w *world) {
		w.runner.mute["a"], w.runner.broken["b"] = true, true
		w.supervise("s1")
		<-time.After(5 * time.Second)
		w.runner.set(func() { clear(w.runner.mute); clear(w.runner.broken) })
		up := w.settled()
		if !strings.Contains(up, "a running") || !strings.Contains(up, "b running") {
			t.Errorf("after the faults: %s", up)
		}
		log := w.runner.takeLog()
		for _, want := range []string{"start a 1", "kill a 1", "start a 2", "broken b"} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is missing in %s", want, log)
			}
		}
		w.wantFailure("a", contracts.ReasonUnverified)
		w.wantFailure("b", contracts.ReasonStartFailed)
		// The commonest first mistake has its remedy where it is looked for.
		for _, failed := range stored[contracts.AgentFailedData](w, contracts.AgentFailed) {
			if failed.Agent == "a" && !strings.Contains(failed.Detail, "heartbeats: runner") {
				t.Errorf("of an agent that never beats: %s", failed.Detail)
			}
		}
	})
}

func (w *world) wantFailure(agent string, reason contracts.FailureReason) {
	w.t.Helper()
	var last contracts.FailureReason
	for _, failed := range stored[contracts.AgentFailedData](w, contracts.AgentFailed) {
		if failed.Agent == agent {
			last = failed.Reason
		}
	}
	w.want("failure of "+agent, string(last), string(reason))
}

func TestSlowStopDelaysNobodyElse(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		w.runner.slow["d"] = 4 * time.Second
		w.runner.takeLog()
		w.runner.exit("c", 1)
		<-time.After(100 * time.Millisecond)
		w.runner.exit("a", 1)
		<-time.After(2 * time.Second)
		w.want("while d stops", w.runner.takeLog(), "exit c 1, exit a 1, start a 2")
		w.settled()
		w.want("after", w.runner.takeLog(), "stop d 1, start c 2, start d 2")
	})
}

func TestAPI(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		add := func(parent string, c contracts.ChildSpec) string {
			return w.refusal("add", contracts.AddRequest{Parent: parent, Child: c})
		}
		w.runner.broken["n2"] = true
		for _, c := range []struct{ what, got, want string }{
			{"add", add("single", contracts.ChildSpec{Name: "n1", Command: []string{"x"}}), "ok"},
			{"add again", add("single", contracts.ChildSpec{Name: "n1", Command: []string{"x"}}), "409"},
			{"add broken", add("single", contracts.ChildSpec{Name: "n2", Command: []string{"x"}}), "409"},
			{"add to nobody", add("nobody", contracts.ChildSpec{Name: "n3", Command: []string{"x"}}), "404"},
			{"add bad name", add("single", contracts.ChildSpec{Name: "n.3", Command: []string{"x"}}), "400"},
			{"add without command", add("single", contracts.ChildSpec{Name: "n3"}), "400"},
			{"add unknown policy", add("single", contracts.ChildSpec{Name: "n3", Command: []string{"x"}, Policy: "nope"}), "400"},
			{"add bad restart", add("single", contracts.ChildSpec{Name: "n3", Command: []string{"x"}, Restart: "maybe"}), "400"},
			{"restart", w.refusal("restart", contracts.NodeRequest{Node: "a"}), "ok"},
			{"terminate", w.refusal("terminate", contracts.NodeRequest{Node: "b"}), "ok"},
			{"restart nobody", w.refusal("restart", contracts.NodeRequest{Node: "nobody"}), "404"},
			{"restart with a bad token", w.refusal("restart", contracts.NodeRequest{Node: "a", OrderOptions: contracts.OrderOptions{Token: "a b"}}), "400"},
			{"restart with too much patience", w.refusal("restart", contracts.NodeRequest{Node: "a", OrderOptions: contracts.OrderOptions{Wait: contracts.Duration(time.Minute)}}), "400"},
			{"restart bad name", w.refusal("restart", contracts.NodeRequest{Node: "a.b"}), "400"},
			{"restart a supervisor", w.refusal("restart", contracts.NodeRequest{Node: "all"}), "ok"},
			{"suspend", w.refusal("suspend", contracts.NodeRequest{Node: "rest"}), "ok"},
			{"suspend an agent", w.refusal("suspend", contracts.NodeRequest{Node: "a"}), "400"},
			{"resume", w.refusal("resume", contracts.NodeRequest{Node: "rest"}), "ok"},
			{"remove", w.refusal("remove", contracts.NodeRequest{Node: "n1"}), "ok"},
			{"remove root", w.refusal("remove", contracts.NodeRequest{Node: "root"}), "400"},
			{"remove again", w.refusal("remove", contracts.NodeRequest{Node: "n1"}), "404"},
			{"tree of nobody", w.refusal("tree", contracts.TreeRequest{Node: "nobody"}), "404"},
			{"status of nobody", w.refusal("status", contracts.NodeRequest{Node: "nobody"}), "404"},
			{"suspend nobody", w.refusal("suspend", contracts.NodeRequest{Node: "nobody"}), "404"},
			{"scale nobody", w.refusal("scale", contracts.ScaleRequest{Template: "nobody", Count: 2}), "404"},
			{"move to nobody", w.refusal("move", contracts.MoveRequest{Node: "a", Parent: "nobody"}), "404"},
			{"move below itself", w.refusal("move", contracts.MoveRequest{Node: "all", Parent: "all"}), "400"},
			{"not JSON", w.refusal("add", "what"), "400"},
		} {
			w.want(c.what, c.got, c.want)
		}
		w.want("tree", w.settled(), "root running, single running, a running 2, b stopped 1, all running, c running 2, d running 2, rest running, e running 1, f running 1, g running 1")
		w.want("done", w.runner.takeLog(), "start n1 1, broken n2, stop a 1, start a 2, stop b 1, stop d 1, stop c 1, start c 2, start d 2, stop n1 1")

		runners, err := ask[contracts.RunnersReply](w, "runners", struct{}{})
		if err != nil || len(runners.Runners) != 1 || runners.Runners[0].Runner != "r1" || !runners.Runners[0].Available || runners.Runners[0].Session != "s" {
			t.Errorf("runners: %+v, %v", runners, err)
		}
		w.want("drain", w.refusal("drain", contracts.NodeRequest{}), "ok")
		w.wantSideBySide("drained", w.runner.takeLog(), "stop a 2", "stop d 2, stop c 2", "stop g 1, stop f 1, stop e 1")
		w.want("status of a drained tree", string(w.tree().Root.Status), "stopped")
	})
}
