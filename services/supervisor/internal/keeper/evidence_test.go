package keeper

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is the input that comes of an event about agent a.
func told(t testing.TB, kind contracts.EventType, data any) (id string, in tree.Input, err error) {
	t.Helper()
	ev, body, err := contracts.NewEvent("runner/r1", kind, "a", time.Unix(1e9, 5)).Data(data).Encode()
	if err != nil {
		t.Fatal(err)
	}
	in, err = decode(ev.Subject(), body)
	return ev.ID, in, err
}

func TestEvidenceBecomesInput(t *testing.T) {
	t.Parallel()
	failed := func(r contracts.FailureReason, exit *contracts.Exit) contracts.AgentFailedData {
		return contracts.AgentFailedData{Agent: "a", Incarnation: 4, Reason: r, Detail: "it said", Exit: exit}
	}
	for _, c := range []struct {
		data   contracts.AgentFailedData
		kind   tree.InputKind
		reason string
	}{
		{failed(contracts.ReasonExited, &contracts.Exit{Code: 2}), tree.Exited, "exited with code 2"},
		{failed(contracts.ReasonPanicked, nil), tree.Exited, "panicked: it said"},
		{failed(contracts.ReasonStartFailed, nil), tree.StartFailed, "start_failed: it said"},
		{failed(contracts.ReasonUnverified, nil), tree.Failed, "unverified: it said"},
		{failed(contracts.ReasonHeartbeatTimeout, nil), tree.Failed, "heartbeat_timeout: it said"},
		{failed(contracts.ReasonHostLost, nil), tree.Lost, "host_lost: it said"},
		{failed("something new", nil), tree.Failed, "something new: it said"},
	} {
		id, in, err := told(t, contracts.AgentFailed, c.data)
		if err != nil || in.Kind != c.kind || in.Reason != c.reason || in.Normal || in.Incarnation != 4 || in.Event != id {
			t.Errorf("%s: %+v, %v", c.reason, in, err)
		}
	}
	_, in, err := told(t, contracts.AgentStopped, contracts.AgentStoppedData{Agent: "a", Incarnation: 4, Reason: "completed"})
	if err != nil || in.Kind != tree.Exited || !in.Normal || in.Reason != "completed" {
		t.Errorf("stopped: %+v, %v", in, err)
	}
	for _, kind := range []contracts.EventType{contracts.AgentCreated, contracts.AgentRecovered} {
		if _, in, err := told(t, kind, seen{Incarnation: 4}); err != nil || in.Kind != tree.SeenAlive || in.Incarnation != 4 {
			t.Errorf("%s: %+v, %v", kind, in, err)
		}
	}
	if _, _, err := told(t, contracts.AgentFailed, contracts.AgentFailedData{Agent: "b"}); !errors.Is(err, contracts.ErrEvent) {
		t.Errorf("data about another agent: %v", err)
	}
}

func FuzzEvidence(f *testing.F) {
	raw, _ := json.Marshal(contracts.AgentFailedData{Agent: "a", Incarnation: 4, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Tail: "x"}})
	f.Add(raw)
	f.Add([]byte(`{"agent":"b"}`))
	f.Add([]byte(`{"incarnation":-1}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []contracts.EventType{contracts.AgentFailed, contracts.AgentStopped, contracts.AgentCreated} {
			ev, body, err := contracts.NewEvent("runner/r1", kind, "a", time.Unix(1e9, 5)).JSON(data).Encode()
			if err != nil {
				continue
			}
			in, err := decode(ev.Subject(), body)
			if err == nil && (in.Node != "a" || len(in.Reason) > maxReason+len("…")) {
				t.Fatalf("%+v", in)
			}
		}
	})
}
