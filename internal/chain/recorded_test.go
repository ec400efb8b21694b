package chain

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/internal/golden"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestWhyOfARecordedFleet explains the restarts in the log of a real fleet,
// with two agents under one_for_all of which one was killed, and another agent
// that was stopped with SIGSTOP. The log is what `smith events query --json`
// gave.
func TestWhyOfARecordedFleet(t *testing.T) {
	r := newRecord(t)
	r.events = recorded(t, "testdata/restarts.jsonl")
	var b strings.Builder
	for _, agent := range []string{"one", "two", "hung"} {
		got, known, err := Why(r, Question{Node: agent})
		if err != nil || !known {
			t.Fatalf("%s: known %v, %v", agent, known, err)
		}
		fmt.Fprintf(&b, "why %s (complete: %v, note: %q)\n", agent, got.Complete, got.Note)
		for _, l := range got.Chain {
			fmt.Fprintf(&b, "%4d %s %s %s#%d: %s\n", l.Sequence, l.Time.Format("15:04:05.000"), l.Type, l.Entity, l.Incarnation, l.Evidence)
		}
	}
	golden.Compare(t, "testdata/restarts.golden", b.String())
}

func recorded(t *testing.T, path string) []contracts.StoredEvent {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var events []contracts.StoredEvent
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e contracts.StoredEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if err := lines.Err(); err != nil || len(events) == 0 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	return events
}
