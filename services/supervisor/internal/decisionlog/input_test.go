package decisionlog

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/internal/golden"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const noon = tree.Instant(1_700_000_000_123_456_789)

func inputs() []tree.Input {
	return []tree.Input{
		{Kind: tree.Started, Node: "a", Incarnation: 3, PID: 42, At: noon, Reason: "r1 started it"},
		{Kind: tree.StartFailed, Node: "a", Incarnation: 3, At: noon, Event: "e", Chain: "c"},
		{Kind: tree.Stopped, Node: "a", Incarnation: 3, At: noon},
		{Kind: tree.Exited, Node: "a", Incarnation: 3, Normal: true, At: noon, Event: "e", Chain: "e"},
		{Kind: tree.Exited, Node: "a", Incarnation: 3, Normal: true, Requested: true, At: noon, Event: "e", Chain: "e"},
		{Kind: tree.Failed, Node: "a", At: noon, Event: "e", Chain: "first"},
		{Kind: tree.Beat, Node: "a", Unwell: true, At: noon},
		{Kind: tree.Tick, At: noon},
		{Kind: tree.Order, Command: tree.CmdRestart, Node: "a", Token: "t", Chain: "t", At: noon, By: &tree.Operator{User: "ada", Host: "ops1", Program: "smith"}},
		{
			Kind: tree.Order, Command: tree.CmdAdd, Node: "b", Token: "t", At: noon,
			Spec: &tree.Spec{ID: "b", Parent: "root", Agent: &tree.Agent{Runner: tree.AnyRunner, StartDeadline: time.Second}},
		},
		{Kind: tree.Order, Command: tree.CmdRoll, Node: "root", Count: 2, Outdated: true, At: noon},
		{Kind: tree.Configure, Boot: true, At: noon},
		{Kind: tree.Configure, Keep: true, At: noon},
		{Kind: tree.Configure, At: noon, Configuration: &tree.Configuration{Source: "f", Digest: "d", Sections: map[string]string{"routing": "r"}, MaxUnavailable: 2}},
		{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r", Capacity: 4}, {Name: "s", Named: true}}, At: noon},
		{Kind: tree.Runners, Gathering: true, Lingering: []tree.Lingering{{Agent: "a", Runner: "r"}}, At: noon},
		{Kind: tree.Raised, Node: "a", Incarnation: 4, Runner: "r", At: noon},
	}
}

func TestReadGivesWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, in := range inputs() {
		rec, err := WriteInput(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadInput(rec)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, got); diff != "" {
			t.Errorf("%s (-written +read):\n%s", in.Kind, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	if _, err := ReadInput(contracts.DecisionInput{Kind: "exit", Node: "a"}); !errors.Is(err, ErrIncomplete) {
		t.Errorf("without data: %v", err)
	}
	for _, r := range []contracts.DecisionInput{
		{Kind: "exit", Data: []byte(`[]`)},
		{Kind: "omen", Data: []byte(`{}`)},
		{Kind: "exit", Data: []byte(`{"failed":true}`)},
	} {
		if in, err := ReadInput(r); err == nil {
			t.Errorf("%s %s is read as %+v", r.Kind, r.Data, in)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, in := range inputs() {
		rec, err := WriteInput(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(rec.Kind, []byte(rec.Data))
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		in, err := ReadInput(contracts.DecisionInput{Kind: kind, At: noon.Time(), Data: data})
		if err != nil {
			return
		}
		rec, err := WriteInput(in)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ReadInput(rec); err != nil || !cmp.Equal(in, again) {
			t.Errorf("%+v comes back as %+v, %v", in, again, err)
		}
	})
}

// TestStoredForm: what older programs recorded is read, and read by them.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	var all []byte
	for _, in := range inputs() {
		rec, err := WriteInput(in)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, raw...), '\n')
	}
	golden.Compare(t, "testdata/inputs.jsonl", string(all))
}
