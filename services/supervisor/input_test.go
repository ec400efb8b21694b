package supervisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// stored returns the data of all events of a type.
func stored[T any](w *world, t contracts.EventType) []T {
	w.t.Helper()
	var out []T
	for _, msg := range natstest.Messages(w.t, w.js, contracts.EventStream) {
		ev, err := contracts.DecodeEvent(msg.Subject, msg.Data)
		if err != nil || ev.Type != t {
			continue // some of these tests store what is no event
		}
		data, err := contracts.DecodeData[T](ev)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, data)
	}
	return out
}

// TestMalformedEvidence: what cannot be understood is counted and reported,
// changes nothing, and holds up nothing behind it.
func TestMalformedEvidence(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		subject := contracts.EventSubject(contracts.AgentFailed, "a")
		for _, body := range []string{"", "{", `{"specversion":"1.0"}`, strings.Repeat("x", 10<<10)} {
			if _, err := w.js.Publish(t.Context(), subject, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		w.runner.store(contracts.AgentFailed, "a", "no object")
		w.runner.store(contracts.AgentFailed, "a", contracts.AgentFailedData{Agent: "b", Incarnation: 1, Reason: contracts.ReasonExited})
		w.runner.exit("b", 1)
		w.want("tree", w.settled(), strings.Replace(threeGroupsUp, "b running 1", "b running 2", 1))
		w.want("done", w.runner.takeLog(), "exit b 1, start b 2")
		if n, err := testutil.GatherAndCount(w.reg, "smith_messages_rejected_total"); err != nil || n != 1 {
			t.Errorf("%d series of rejected messages, %v", n, err)
		}
		<-time.After(time.Second) // the report is stored beside the decisions
		if reports := stored[contracts.SystemRejectedData](w, contracts.SystemMessageRejected); len(reports) != 1 || reports[0].Origin != subject || reports[0].Cause == "" {
			t.Errorf("reports: %+v", reports)
		}
	})
}

func TestConfigurationChangedIsTold(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		for _, yaml := range []string{
			threeGroups,
			threeGroups,
			strings.NewReplacer("{name: a, command: [x]}", "{name: a, command: [y]}", "{name: e, command: [x]}", "{name: h, command: [x]}").Replace(threeGroups),
		} {
			w.file = newFile(t, yaml)
			stop := w.supervise("s")
			w.settled()
			stop()
		}
		told := stored[contracts.SystemConfigurationData](w, contracts.SystemConfigurationChanged)
		if len(told) != 1 || !slices.Equal(told[0].Changed, []string{"a", "e", "h"}) {
			t.Errorf("told %+v", told)
		}
	})
}

// TestStrangersOnTheTreesSubjects: what somebody else put among the decisions is
// counted, reported and left out; whoever decides reads again and goes on.
func TestStrangersOnTheTreesSubjects(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		subject := contracts.EventSubject(contracts.TreeDecided, "main")
		if _, err := w.js.Publish(t.Context(), subject, []byte("not even JSON")); err != nil {
			t.Fatal(err)
		}
		w.runner.exit("b", 1)
		<-time.After(10 * time.Second)
		w.want("tree", w.settled(), strings.Replace(threeGroupsUp, "b running 1", "b running 2", 1))
		w.want("done", w.runner.takeLog(), "exit b 1, start b 2")
		reports := stored[contracts.SystemRejectedData](w, contracts.SystemMessageRejected)
		if len(reports) != 1 || reports[0].Origin != subject || reports[0].Sequence == 0 {
			t.Errorf("reports: %+v", reports)
		}
		if n, err := testutil.GatherAndCount(w.reg, "smith_messages_rejected_total"); err != nil || n != 1 {
			t.Errorf("%d series of rejected messages, %v", n, err)
		}
	})
}

// TestEvidenceOutOfOrder: told twice, too late, too early, or by a clock that is
// ahead, an end counts once or not at all.
func TestEvidenceOutOfOrder(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		ended := func(incarnation uint64, reason contracts.FailureReason, at time.Time) {
			t.Helper()
			data := contracts.AgentFailedData{Agent: "a", Incarnation: incarnation, Runner: "r1", Reason: reason}
			if reason == contracts.ReasonExited {
				data.Exit = &contracts.Exit{Code: 1, At: at}
			}
			ev, err := contracts.NewEvent("runner/r1", contracts.AgentFailed, "a", at).Data(data).Build()
			if err == nil {
				_, err = shell.PublishEvent(t.Context(), w.js, ev)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now()
		ended(7, contracts.ReasonExited, now)                           // of an incarnation that is to come
		ended(7, contracts.ReasonHeartbeatTimeout, now.Add(time.Hour))  // likewise, and from the future
		ended(0, contracts.ReasonHeartbeatTimeout, now.Add(-time.Hour)) // of whatever ran before this one
		w.want("nothing happened", w.settled(), threeGroupsUp)
		w.want("done", w.runner.takeLog(), "")

		w.runner.exit("a", 1)
		for range 3 {
			ended(1, contracts.ReasonExited, now) // the same end, told by others
		}
		w.settled()
		ended(1, contracts.ReasonExited, now.Add(time.Hour)) // and again when its next has started
		w.want("once", w.settled(), strings.Replace(threeGroupsUp, "a running 1", "a running 2", 1))
		w.want("done", w.runner.takeLog(), "exit a 1, start a 2")

		// A clock that is an hour ahead says what is so now.
		ended(2, contracts.ReasonHeartbeatTimeout, time.Now().Add(time.Hour))
		w.want("killed", w.settled(), strings.Replace(threeGroupsUp, "a running 1", "a running 3", 1))
		w.want("done", w.runner.takeLog(), "kill a 2, start a 3")
		w.gapless()
	})
}
