package supervisor

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// modes flattens a tree to "name mode status".
func modes(n contracts.NodeView) string {
	s := n.Name + " " + n.Mode + " " + string(n.Status)
	for _, c := range n.Children {
		s += ", " + modes(c)
	}
	return s
}

// foreign lets an agent beat that somebody else keeps, until stop.
func (w *world) foreign(agent string) (stop func()) {
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for seq := uint64(1); ; seq++ {
			raw, _ := json.Marshal(contracts.Heartbeat{Seq: seq})
			_ = w.nc.Publish(contracts.HeartbeatSubject(agent), raw)
			select {
			case <-done:
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(done); <-finished })
	w.t.Cleanup(stop)
	return stop
}

// tell stores what a detector would.
func (w *world) tell(kind contracts.EventType, agent string, data any) contracts.Event {
	w.t.Helper()
	return w.runner.store(kind, agent, data)
}

func (w *world) silence(agent string) contracts.Event {
	return w.tell(contracts.AgentFailed, agent, contracts.AgentFailedData{Agent: agent, Reason: contracts.ReasonHeartbeatTimeout, Detail: "phi 9.1"})
}

// until waits for the tree's modes to be so.
func (w *world) until(want string) {
	w.t.Helper()
	got := ""
	for range 600 {
		if got = modes(w.tree().Root); got == want {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	w.t.Fatalf("it never becomes:\n%s\nit is\n%s", want, got)
}

func (w *world) proposals(req contracts.ProposalsRequest) contracts.ProposalsReply {
	w.t.Helper()
	return must[contracts.ProposalsReply](w, "proposals", req)
}

const shadowFleet = `
supervision_tree:
  root_mode: shadow
  failure_detection: {heartbeat_interval: 1s}
  tree:
    - name: web
      strategy: one_for_all
      children:
        - {name: w, count: 2, command: [x]}
    - name: rest
      mode: off
      children:
        - {name: r, command: [x]}
    - name: ours
      mode: enforce
      children:
        - {name: o, command: [x]}
`

// TestShadow: over a fleet that somebody else keeps the supervisor says what it
// would do, does nothing, and afterwards tells what really happened.
func TestShadow(t *testing.T) {
	inWorld(t, shadowFleet, func(t *testing.T, w *world) {
		stop := w.supervise("s1")
		const watched = "root shadow running, web shadow running, w-1 shadow watched, w-2 shadow watched, rest off running, r off watched, ours enforce running, o enforce running"
		w.until(watched)
		w.want("started", w.runner.takeLog(), "start o 1")

		cause := w.silence("w-1")
		w.silence("r")
		w.until(strings.Replace(watched, "w-1 shadow watched", "w-1 shadow failed", 1))
		w.tell(contracts.AgentRecovered, "w-1", contracts.AgentRecoveredData{Agent: "w-1", Process: contracts.ProcessNew})
		w.until(watched)
		w.silence("w-2")
		w.until(strings.Replace(watched, "w-2 shadow watched", "w-2 shadow failed", 1))
		w.tell(contracts.AgentRecovered, "w-2", contracts.AgentRecoveredData{Agent: "w-2", Process: contracts.ProcessSame})
		w.until(watched)

		reply := w.proposals(contracts.ProposalsRequest{})
		var got []string
		for _, p := range reply.Proposals {
			got = append(got, p.Action+" "+p.Node+" "+string(p.Outcome))
		}
		w.want("proposals", strings.Join(got, ", "), "restart w-1 same, restart w-2 nothing, restart w-2 recovered, restart w-1 nothing")
		if p := reply.Proposals[0]; p.Cause != cause.ID || p.Due == nil || !strings.Contains(p.Reason, "heartbeat_timeout") {
			t.Errorf("%+v", p)
		}
		if reply.Total != 4 || reply.Outcomes[contracts.OutcomeNothing] != 2 {
			t.Errorf("%+v", reply)
		}
		if below := w.proposals(contracts.ProposalsRequest{Node: "rest"}); below.Total != 0 {
			t.Errorf("of what is off: %+v", below)
		}
		if last := w.proposals(contracts.ProposalsRequest{Node: "w-1", Limit: 1}); last.Total != 2 || len(last.Proposals) != 1 || last.Proposals[0].Outcome != contracts.OutcomeNothing {
			t.Errorf("the last of w-1: %+v", last)
		}
		w.want("restart", w.refusal("restart", contracts.NodeRequest{Node: "w-1"}), contracts.CodeConflict)
		w.want("done", w.runner.takeLog(), "")
		w.metrics("agents enforce 1, agents off 1, agents shadow 2, proposals_total restart 4")
		w.want("off", w.refusal("mode", contracts.ModeRequest{Node: "web", Mode: "off"}), "ok")
		w.metrics("agents enforce 1, agents off 3, agents shadow 0, proposals_total restart 4")
		w.want("inherit", w.refusal("mode", contracts.ModeRequest{Node: "web", Mode: "inherit"}), "ok")
		w.metrics("agents enforce 1, agents off 1, agents shadow 2, proposals_total restart 4")
		stop()
		w.metrics("proposals_total restart 4") // the rest is its successor's to say
		w.supervise("s2")
		w.until(watched)
		w.want("done by a successor", w.runner.takeLog(), "")
	})
}

// metrics waits for the metrics of modes and proposals to be so: they are
// counted once a second.
func (w *world) metrics(want string) {
	w.t.Helper()
	got := ""
	for range 50 {
		all, err := w.reg.Gather()
		if err != nil {
			w.t.Fatal(err)
		}
		var lines []string
		for _, family := range all {
			name := strings.TrimPrefix(family.GetName(), "smith_supervisor_")
			if name != "agents" && name != "proposals_total" {
				continue
			}
			for _, m := range family.GetMetric() {
				if m.GetCounter() != nil && m.GetCounter().GetValue() == 0 {
					continue // counters are there from the start
				}
				// The labels are in order: mode or action, then tree.
				if name == "proposals_total" && m.GetCounter().GetValue() == 0 {
					continue
				}
				lines = append(lines, fmt.Sprint(name, " ", m.GetLabel()[0].GetValue(), " ", m.GetGauge().GetValue()+m.GetCounter().GetValue()))
			}
		}
		if got = strings.Join(lines, ", "); got == want {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	w.t.Errorf("metrics never become:\n%s\nthey are\n%s", want, got)
}

// TestRollout: what runs elsewhere is taken over when it has ended there, and
// what is let go runs on and is found again; both over a supervisor that is
// killed in the middle.
func TestRollout(t *testing.T) {
	inWorld(t, shadowFleet, func(t *testing.T, w *world) {
		end := w.foreign("w-1")
		stop := w.supervise("s1")
		w.want("enforce", w.refusal("mode", contracts.ModeRequest{Node: "web", Mode: "enforce", Reason: "week two"}), "ok")
		stop() // as sudden as a kill: nothing was heard of anybody yet
		stop = w.supervise("s2")
		const others = ", rest off running, r off watched, ours enforce running, o enforce running"
		w.until("root shadow running, web enforce running, w-1 enforce foreign, w-2 enforce running" + others)
		w.want("started", w.runner.sortedLog(), "start o 1, start w-2 1")
		end()
		w.silence("w-1")
		w.until("root shadow running, web enforce running, w-1 enforce running, w-2 enforce running" + others)
		w.want("taken over", w.runner.takeLog(), "start w-1 1")

		w.want("brake", w.refusal("mode", contracts.ModeRequest{Node: "web", Mode: "off"}), "ok")
		w.until("root shadow running, web off running, w-1 off watched, w-2 off watched" + others)
		w.runner.exit("w-2", 1)
		stop()
		w.supervise("s3")
		w.want("inherit", w.refusal("mode", contracts.ModeRequest{Node: "web", Mode: "inherit"}), "ok")
		w.until("root shadow running, web shadow running, w-1 shadow watched, w-2 shadow watched" + others)
		w.want("let go", w.runner.takeLog(), "exit w-2 1")
		w.want("enforce again", w.refusal("mode", contracts.ModeRequest{Node: "web", Mode: "enforce"}), "ok")
		w.until("root shadow running, web enforce running, w-1 enforce running, w-2 enforce running" + others)
		w.want("found again, and restarted", w.runner.takeLog(), "start w-2 2")

		// By their names w-1 is of the first 27 percent, w-2 of the first 50.
		share := func(percent int, otherwise string) string {
			return w.refusal("mode", contracts.ModeRequest{Node: "web", Mode: "enforce", Percent: percent, Otherwise: otherwise})
		}
		w.want("a share", share(30, "off"), "ok")
		w.until("root shadow running, web enforce 30%, otherwise off running, w-1 enforce running, w-2 off watched" + others)
		w.want("a larger share", share(60, ""), "ok")
		w.until("root shadow running, web enforce 60%, otherwise shadow running, w-1 enforce running, w-2 enforce running" + others)
		w.want("let go and found again", w.runner.takeLog(), "")
	})
}

// TestModeMistakes: each has one answer and changes nothing.
func TestModeMistakes(t *testing.T) {
	inWorld(t, shadowFleet, func(t *testing.T, w *world) {
		w.up()
		before := w.tree().Decision
		for want, reqs := range map[string][]contracts.ModeRequest{
			contracts.CodeNotFound: {{Node: "nobody", Mode: "off"}},
			contracts.CodeBadRequest: {
				{Node: "a.b", Mode: "off"},
				{Node: "web", Mode: "on"},
				{Node: "web"},
				{Node: "web", Mode: "enforce", Percent: 101},
				{Node: "web", Mode: "enforce", Percent: -1},
				{Node: "web", Mode: "shadow", Percent: 25},
				{Node: "web", Mode: "enforce", Percent: 25, Otherwise: "enforce"},
				{Node: "web", Mode: "enforce", Otherwise: "off"},
			},
		} {
			for _, req := range reqs {
				if got := w.refusal("mode", req); got != want {
					t.Errorf("%+v: %s, want %s", req, got, want)
				}
			}
		}
		if after := w.tree().Decision; after != before {
			t.Errorf("decision %d follows %d", after, before)
		}
		for _, req := range []contracts.ProposalsRequest{{Limit: 1001}, {Limit: -1}} {
			if _, err := ask[contracts.ProposalsReply](w, "proposals", req); err == nil {
				t.Errorf("%+v is taken", req)
			}
		}
		if _, err := ask[contracts.ProposalsReply](w, "proposals", contracts.ProposalsRequest{Node: "nobody"}); err == nil {
			t.Error("proposals about nobody")
		}
	})
}
