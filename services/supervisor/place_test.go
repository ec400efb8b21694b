package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestRunnerLabels: an agent goes to no runner that lacks one of its labels,
// however long it waits and however idle the others are.
func TestRunnerLabels(t *testing.T) {
	inWorld(t, `
supervision_tree:
  tree:
    - {name: picky, command: [x], runner_labels: {zone: b, gpu: "yes"}}
    - {name: other, command: [x]}
`, func(t *testing.T, w *world) {
		w.supervise("s1")
		newRunner(t, w.server, "r2", "zone=b", "gpu=no")
		newRunner(t, w.server, "r3", "zone=b")
		<-time.After(time.Minute)
		if got := w.where(); !strings.HasPrefix(got, "picky starting, other running") {
			t.Errorf("without a runner that has all labels: %s", got)
		}
		r4 := newRunner(t, w.server, "r4", "zone=b", "gpu=yes", "rack=7")
		w.settled()
		w.want("with one", r4.takeLog(), "start picky 1")
		r4.exit("picky", 1)
		w.settled()
		w.want("restarted", r4.takeLog(), "exit picky 1, start picky 2")

		w.want("add", w.refusal("add", contracts.AddRequest{Parent: "root", Child: contracts.ChildSpec{
			Name: "added", Command: []string{"x"}, RunnerLabels: map[string]string{"rack": "7"},
		}}), "ok")
		w.settled()
		w.want("added", r4.takeLog(), "start added 1")
	})
}

// TestRebalance: agents move to a runner that has come, each verified before the
// next, and a dry run only says which.
func TestRebalance(t *testing.T) {
	inWorld(t, `
supervision_tree:
  tree:
    - {name: w, count: 4, command: [x]}
    - {name: fixed, command: [x], runner: r1}
`, func(t *testing.T, w *world) {
		w.up()
		r2 := newRunner(t, w.server, "r2")
		<-time.After(5 * time.Second)
		w.runner.takeLog()
		rebalance := func(req contracts.RebalanceRequest) contracts.RebalanceReply {
			return must[contracts.RebalanceReply](w, "rebalance", req)
		}
		for _, dry := range []bool{true, false} {
			reply := rebalance(contracts.RebalanceRequest{DryRun: dry})
			if moves := fmt.Sprint(reply.Moves); moves != "[{w-4 r1 r2} {w-3 r1 r2}]" || dry != (reply.Rolling.State == contracts.RollingNone) {
				t.Errorf("dry %v: %s, %+v", dry, moves, reply.Rolling)
			}
		}
		<-time.After(time.Minute)
		w.want("where", w.where(), "w-1 running r1, w-2 running r1, w-3 running r2, w-4 running r2, fixed running r1")
		w.want("stopped", w.runner.takeLog(), "stop w-3 1, stop w-4 1")
		w.want("started", r2.takeLog(), "start w-3 2, start w-4 2")
		if reply := rebalance(contracts.RebalanceRequest{}); len(reply.Moves) > 0 {
			t.Errorf("again: %+v", reply)
		}
		w.want("of nobody", w.refusal("rebalance", contracts.RebalanceRequest{Node: "nobody"}), "404")
	})
}

// TestReturnHome: an agent that lost its host goes back when that returns if its
// on_return says so, and not before what it left there is stopped.
func TestReturnHome(t *testing.T) {
	inWorld(t, `
supervision_tree:
  placement: {lost_after: 20s}
  tree:
    - {name: home, command: [x], on_return: return}
    - {name: stay, command: [x]}
`, func(t *testing.T, w *world) {
		w.up()
		r2 := newRunner(t, w.server, "r2")
		w.runner.takeLog()
		w.runner.set(func() { w.runner.away, w.runner.cutOff = true, true })
		for _, id := range []string{"home", "stay"} {
			w.failed(w.runner, id, contracts.ReasonHeartbeatTimeout)
		}
		<-time.After(30 * time.Second)
		w.want("moved", w.where(), "home running r2, stay running r2")
		w.want("started there", r2.sortedLog(), "start home 2, start stay 2")

		w.runner.set(func() { w.runner.away, w.runner.cutOff = false, false })
		<-time.After(10 * time.Second)
		w.want("back", w.where(), "home running r1, stay running r2")
		w.want("done elsewhere", r2.takeLog(), "stop home 2")
		log := strings.Split(w.runner.takeLog(), ", ")
		if last := log[len(log)-1]; last != "start home 3" || len(log) != 3 {
			t.Errorf("done at home: %s", log)
		}
	})
}
