package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func (w *world) rehearse(req contracts.RehearseRequest) contracts.RehearseReply {
	w.t.Helper()
	return must[contracts.RehearseReply](w, "rehearse", req)
}

// TestRehearsal lets a tree live through exits, verdicts, a group restart, an
// escalation, an operator's orders, a lost supervisor and a graceful change of
// supervisor, and rehearses all of it, and every part of it that begins at a
// decision, under the configuration that it had: nothing differs. Under another
// it does.
func TestRehearsal(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.up()
		w.runner.exit("a", 1)
		w.runner.exit("f", 0)
		w.settled()
		w.runner.silent("c")
		w.settled()
		w.runner.set(func() { w.runner.mute["b"] = true })
		w.runner.exit("b", 1)
		<-time.After(40 * time.Second) // b cannot be verified
		w.runner.set(func() { w.runner.mute["b"] = false })
		w.settled()
		w.order("add", contracts.AddRequest{Parent: "single", Child: contracts.ChildSpec{Name: "later", Command: []string{"x"}}})
		w.settled()
		stop()
		w.runner.exit("g", 1)
		w.killed("cut", 150*time.Millisecond)
		w.supervise("s2")
		w.settled()
		for range 6 { // beyond the limit of 5 in a minute: the supervisor single escalates
			if w.runner.incarnation("a") > 0 {
				w.runner.exit("a", 1)
			}
			w.settled()
		}
		w.settled()

		last := w.tree().Sequence
		all := w.rehearse(contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: threeGroups}})
		t.Logf("%+v", all)
		if !all.Faithful || all.First != nil || all.Recorded != all.Rehearsed || all.Assumed != (contracts.RehearsalAssumed{}) {
			t.Errorf("the same configuration: deviation %d, first %+v\nrecorded  %+v\nrehearsed %+v\nassumed %+v", all.Deviation, all.First, all.Recorded, all.Rehearsed, all.Assumed)
		}
		if all.Recorded.Escalations == 0 || all.Recorded.Restarts < 8 {
			t.Errorf("not much has happened: %+v", all.Recorded)
		}
		parts := 0
		for seq := uint64(1); seq < last; seq += 7 {
			part := w.rehearse(contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: threeGroups}, From: contracts.Moment{Sequence: seq}, To: contracts.Moment{Sequence: last}})
			if !part.Faithful || part.First != nil || part.Recorded != part.Rehearsed {
				t.Errorf("from %d: deviation %d, first %+v", seq, part.Deviation, part.First)
			}
			parts++
		}
		t.Logf("%d decisions, %d parts", all.Decisions, parts)

		patient := strings.ReplaceAll(threeGroups, "strategy: one_for_one", "strategy: one_for_one\n      policy: patient") +
			"  restart_policies:\n    patient: {max_restarts: 100, time_window: 1m, restart_delay: 50ms, backoff_strategy: {type: fixed}}\n"
		other := w.rehearse(contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: patient}})
		if !other.Faithful || other.First == nil || other.Rehearsed.Escalations != 0 || other.Rehearsed.Down != 0 {
			t.Errorf("more patience: first %+v, %+v", other.First, other.Rehearsed)
		}
	})
}

func TestRehearsalRefused(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		for _, c := range []struct {
			what, code, part string
			req              contracts.RehearseRequest
		}{
			{"no YAML", contracts.CodeBadRequest, "new.yaml:2:1", contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: "supervision_tree: ["}, Name: "new.yaml"}},
			{"unknown key", contracts.CodeBadRequest, "tre", contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: "supervision_tree:\n  tre: []\n"}}},
			{"an agent that is a supervisor", contracts.CodeBadRequest, "cannot become", contracts.RehearseRequest{
				ConfigText: contracts.ConfigText{Config: strings.Replace(threeGroups, "- {name: a, command: [x]}", "- {name: a, strategy: one_for_one}", 1)},
				From:       contracts.Moment{Sequence: w.tree().Sequence - 2},
			}},
			{"what follows", contracts.CodeBadRequest, "use run or repeat", contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: threeGroups}, Beyond: "hope"}},
			{"an empty time", contracts.CodeBadRequest, "nothing was decided", contracts.RehearseRequest{ConfigText: contracts.ConfigText{Config: threeGroups}, From: at(time.Now().Add(time.Hour))}},
		} {
			_, err := ask[contracts.RehearseReply](w, "rehearse", c.req)
			w.wantRefused(c.what, err, c.code, c.part)
		}
	})
}
