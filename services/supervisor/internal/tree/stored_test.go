package tree

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// stored reads a snapshot as an older program has written it.
func stored(t *testing.T, version int, path string) Snapshot {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Nodes map[string]json.RawMessage
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatal(err)
	}
	s := Snapshot{Nodes: map[string]*Record{}}
	for id, raw := range stored.Nodes {
		if s.Nodes[id], err = ReadRecord(version, raw); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestFirstForm: a snapshot of the first form says in the present one where each
// node was, and the tree continues from there.
func TestFirstForm(t *testing.T) {
	t.Parallel()
	s := stored(t, 1, "testdata/snapshot-v1.json")
	for id, want := range map[string]Phase{
		"unplaced": Unplaced, "throttled": Throttled, "starting": Starting, "verifying": Verifying, "running": Running, "stopping": Stopping,
		"queued": Ended, "queued-normal": Ended, "queued-lost": Ended, "finished": Idle, "gone": Gone, "waiting": Waiting, "shadow": Watched, "isolated": Isolated,
	} {
		if got := s.Nodes[id].State.Phase; got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	for id, want := range map[string]End{
		"unplaced": "", "throttled": "", "running": "", "shadow": "", "suspended": "",
		"finished": EndFinished, "terminated": EndTerminated, "sibling": EndStopped, "gave-up": EndGaveUp,
		"gone": EndExited, "waiting": EndExited, "of-gave-up": EndExited, "start-failed": EndExited, "shadow-failed": EndExited, "isolated": EndExited,
		"queued": EndExited, "queued-normal": EndCompleted, "queued-lost": EndLost, "stopping": EndFailed,
		"cooling": EndShutdown, "transient": EndShutdown,
	} {
		if got := s.Nodes[id].State.End; got != want {
			t.Errorf("%s ended as %q, want %q", id, got, want)
		}
	}
	tree, err := Load(Options{}, s)
	if err != nil {
		t.Fatal(err)
	}
	if place, _ := tree.Throttled("throttled"); place != 1 {
		t.Errorf("throttled: place %d", place)
	}
	tree.Step(&Input{Kind: Runners, Runners: []Runner{{Name: "r2", Labels: map[string]string{"gpu": "yes"}}}}, epoch+1, nil)
	if _, st, _ := tree.Lookup("unplaced"); st.Phase != Starting || st.Runner != "r2" {
		t.Errorf("unplaced is %s on %q", st.Phase, st.Runner)
	}
}

// A change is read as the state in a snapshot is.
func TestChangesOfTheFirstForm(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/snapshot-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var nodes struct {
		Nodes map[string]json.RawMessage `json:"nodes"`
	}
	if err := json.Unmarshal(raw, &nodes); err != nil {
		t.Fatal(err)
	}
	var folded Snapshot
	for id, raw := range nodes.Nodes {
		c, err := ReadChange(1, id, raw)
		if err != nil {
			t.Fatal(err)
		}
		folded.Apply(c)
	}
	if diff := cmp.Diff(stored(t, 1, "testdata/snapshot-v1.json"), folded, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// TestSecondForm: what a number and a flag said of a node is its phase.
func TestSecondForm(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]State{
		`{"phase":"idle","end":"exited","why":"crash","ended":7}`:                             {Phase: Ended, End: EndExited, Why: "crash", Wait: Wait{Ticket: 7}},
		`{"phase":"idle","end":"exited","why":"crash"}`:                                       {Phase: Idle, End: EndExited, Why: "crash"},
		`{"phase":"verifying","why":"no heartbeat","incarnation":2,"overdue":true,"due":9}`:   {Phase: Unverified, Why: "no heartbeat", Incarnation: 2},
		`{"phase":"stabilising","why":"no heartbeat","incarnation":2,"overdue":true,"due":9}`: {Phase: Unverified, Why: "no heartbeat", Incarnation: 2},
		`{"phase":"verifying","incarnation":2,"due":9}`:                                       {Phase: Verifying, Incarnation: 2, Wait: Wait{Due: 9}},
	} {
		c, err := ReadChange(2, "a", []byte(`{"state":`+raw+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, c.State); diff != "" {
			t.Errorf("%s:\n%s", raw, diff)
		}
	}
}

// TestSuspendedBy: programs of the third form said in a sentence who suspended a
// supervisor.
func TestSuspendedBy(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]*StandingOrders{
		`,"suspended_by":"suspend: look, by heart, by alice"`: {Suspension: &StandingOrder{What: "suspend", Reason: "look, by heart", By: &Operator{User: "alice"}}},
		`,"suspended_by":"suspend"`:                           {Suspension: &StandingOrder{What: "suspend"}},
		``:                                                    nil,
	} {
		for version := 1; version <= Version; version++ {
			c, err := ReadChange(version, "g", []byte(`{"state":{"phase":"running","supervisor":{"suspended":true`+said+`}}}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, c.State.Orders); diff != "" || !c.State.Supervisor.Suspended {
				t.Errorf("%s in form %d:\n%s", said, version, diff)
			}
		}
	}
}

func TestNewerForms(t *testing.T) {
	t.Parallel()
	if _, err := ReadChange(Version+1, "a", []byte(`{}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("a newer change: %v", err)
	}
	if _, err := ReadRecord(Version+1, []byte(`{}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("a newer record: %v", err)
	}
}

// FuzzReadChange: whatever is stored is read or refused.
func FuzzReadChange(f *testing.F) {
	f.Add(1, []byte(`{"state":{"phase":"starting","ticket":3}}`))
	f.Add(2, []byte(`null`))
	f.Add(9, []byte(`{}`))
	f.Fuzz(func(t *testing.T, version int, raw []byte) {
		c, err := ReadChange(version, "a", raw)
		if err != nil {
			return
		}
		if c.State != nil && c.State.Phase == Starting && version < 2 && c.State.Ticket > 0 && c.State.Supervisor == nil {
			t.Errorf("%s is left in an old form", raw)
		}
	})
}
