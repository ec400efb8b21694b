package supervisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// stored gives the data of all events of a type.
func stored[T any](w *world, t contracts.EventType) []T {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), contracts.EventStream)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []T
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		msg, err := stream.GetMsg(w.t.Context(), seq)
		if err != nil {
			w.t.Fatal(err)
		}
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
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, threeGroups)
		w.supervise("s1")
		w.settled()
		w.runner.takeLog()
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
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, threeGroups)
		for _, yaml := range []string{
			threeGroups,
			threeGroups,
			strings.NewReplacer("{name: a, command: [x]}", "{name: a, command: [y]}", "{name: e, command: [x]}", "{name: h, command: [x]}").Replace(threeGroups),
		} {
			w.file = newFile(t, yaml)
			stop, _ := w.supervise("s")
			w.settled()
			stop()
		}
		told := stored[contracts.SystemConfigurationData](w, contracts.SystemConfigurationChanged)
		if len(told) != 1 || !slices.Equal(told[0].Changed, []string{"a", "e", "h"}) {
			t.Errorf("told %+v", told)
		}
	})
}
