package eventstore_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

// TestWhy asks for the cause of a restart that was another agent's failure, in
// a log with much else, as the services would write it.
func TestWhy(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		add := func(e contracts.Event) contracts.Event {
			w.custom(20, "noise")
			w.store(e)
			w.pass(100 * time.Millisecond)
			return e
		}
		decide := func(cause contracts.Event, d contracts.DecisionsData) contracts.Event {
			d.Tree, d.Supervisor = "main", "s-1"
			return add(w.event("supervisor/s-1", contracts.TreeDecided, "main", causedBy(cause.ID), story(cause.CorrelationID), data(d)))
		}
		start := func(agent string, inc uint64, cause contracts.Event) contracts.Event {
			return add(w.event("runner/r", contracts.AgentStarted, agent, causedBy(cause.ID), story(cause.CorrelationID),
				data(contracts.AgentStartedData{Agent: agent, Incarnation: inc, Runner: "r", PID: 7})))
		}
		for _, agent := range []string{"a", "b"} {
			start(agent, 1, w.custom(1, "x")[0])
		}
		if _, err := call[contracts.WhyReply](w, "why", contracts.WhyRequest{Agent: "b"}); err != nil {
			t.Errorf("before any restart: %v", err)
		}
		failed := add(w.event("runner/r", contracts.AgentFailed, "a", data(contracts.AgentFailedData{
			Agent: "a", Incarnation: 1, Reason: contracts.ReasonExited, Detail: "process 6 was ended by SIGKILL",
		})))
		stop := decide(failed, contracts.DecisionsData{
			Number:  1,
			Inputs:  []contracts.DecisionInput{{Kind: "exit", Node: "a", Incarnation: 1, Event: failed.ID, At: failed.Time}},
			Effects: []contracts.DecisionEffect{{Kind: "stop", Node: "b", Incarnation: 1, Correlation: failed.ID, Detail: "one_for_all"}},
		})
		stopped := add(w.event("runner/r", contracts.AgentStopped, "b", causedBy(stop.ID), story(failed.ID),
			data(contracts.AgentStoppedData{Agent: "b", Incarnation: 1, Reason: contracts.StopRequested})))
		again := decide(failed, contracts.DecisionsData{
			Number: 2,
			Inputs: []contracts.DecisionInput{{Kind: "stop_result", Node: "b", Incarnation: 1, Event: stopped.ID}},
			Effects: []contracts.DecisionEffect{
				{Kind: "start", Node: "a", Incarnation: 2, Correlation: failed.ID},
				{Kind: "start", Node: "b", Incarnation: 2, Correlation: failed.ID},
			},
		})
		start("a", 2, again)
		started := start("b", 2, again)
		running := decide(failed, contracts.DecisionsData{
			Number:  3,
			Inputs:  []contracts.DecisionInput{{Kind: "heartbeat", Node: "b", Incarnation: 2}},
			Effects: []contracts.DecisionEffect{{Kind: "running", Node: "b", Incarnation: 2, Correlation: failed.ID}},
		})
		w.raw("smith.event.agent.started.b", "the last message there is no event")

		got, err := call[contracts.WhyReply](w, "why", contracts.WhyRequest{Agent: "b"})
		if err != nil {
			t.Fatal(err)
		}
		var links []string
		for _, l := range got.Chain {
			links = append(links, l.ID)
		}
		if diff := cmp.Diff(ids(failed, stop, stopped, again, started, running), links); diff != "" || !got.Complete || got.Note != "" {
			t.Errorf("complete %v, note %q (-want +got):\n%s", got.Complete, got.Note, diff)
		}
		const first = "a#1 exited: process 6 was ended by SIGKILL"
		if got.Chain[0].Evidence != first || got.Chain[0].Sequence == 0 || got.Chain[0].Entity != "a" {
			t.Errorf("first link %+v", got.Chain[0])
		}
	})
}

// TestMicro: the service can be found and measured as any of its kind.
func TestMicro(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		m, err := w.env.NC.Request("$SRV.INFO.smith-eventstore", nil, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"query", "get", "correlation", "replay", "why", "stats"} {
			if want := fmt.Sprintf(`"subject":"smith.eventstore.%s"`, verb); !contains(m.Data, want) {
				t.Errorf("no %s in %s", want, m.Data)
			}
		}
	})
}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }
