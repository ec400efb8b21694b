package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestVersions: a decision and a snapshot that an older program stored are read
// in the present form, and those of a newer one are refused with the form that
// it takes to read them, rather than left out.
func TestVersions(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		tell := func(number uint64, version int) {
			t.Helper()
			raw, err := json.Marshal(contracts.DecisionsData{Tree: "main", Number: number, Version: version, Changes: map[string]json.RawMessage{
				"root": []byte(`{"spec":{"id":"root","supervisor":{"strategy":"one_for_one","max_restarts":1,"period":1}},"state":{"phase":"running","supervisor":{}}}`),
				"a":    []byte(`{"spec":{"id":"a","parent":"root","agent":{"runner":"any"}},"state":{"phase":"starting","why":"no_runner","incarnation":1}}`),
			}})
			if err != nil {
				t.Fatal(err)
			}
			j.publish(t, raw)
		}
		tell(1, 0)
		again, _ := open(t, s, "b")
		if got := again.mustLoad(t).Tree.Nodes["a"].State; got.Phase != tree.Unplaced || got.Why != "" {
			t.Errorf("an older decision is read as %s %q", got.Phase, got.Why)
		}
		tell(2, tree.Version+1)
		refused, _ := open(t, s, "c")
		_, err := refused.Load(t.Context())
		if !errors.Is(err, tree.ErrVersion) || !strings.Contains(err.Error(), "decision 2 of tree main") || !strings.Contains(err.Error(), fmt.Sprint("form ", tree.Version+1)) {
			t.Errorf("a newer decision: %v", err)
		}
	})
}

func TestSnapshotVersions(t *testing.T) {
	t.Parallel()
	packed := func(version int) []byte {
		s := snapshot{Version: version, Number: 3, Tree: fold(grown(0, 1))}
		s.Tree.Nodes["a0"].State.Ticket = 7
		var b bytes.Buffer
		if err := s.pack(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	s, err := decodeSnapshot(packed(1))
	if err != nil || s.Tree.Nodes["a0"].State.Phase != tree.Throttled {
		t.Errorf("an older snapshot: %v", err)
	}
	if _, err := decodeSnapshot(packed(tree.Version + 1)); !errors.Is(err, tree.ErrVersion) || errors.Is(err, errSnapshot) {
		t.Errorf("a newer one is not refused, or only ignored: %v", err)
	}
}
