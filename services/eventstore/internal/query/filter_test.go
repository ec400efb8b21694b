package query

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSubjects(t *testing.T) {
	for _, tt := range []struct {
		filter contracts.EventFilter
		want   []string
	}{
		{contracts.EventFilter{}, nil},
		{contracts.EventFilter{Entity: "a"}, []string{"smith.event.*.*.a"}},
		{contracts.EventFilter{Types: []contracts.EventType{"agent.failed", contracts.AgentFailed, "custom.x"}}, []string{"smith.event.agent.failed.*", "smith.event.custom.x.*"}},
		{contracts.EventFilter{Types: []contracts.EventType{contracts.TreeDecided}, Entity: "main"}, []string{"smith.event.tree.decided.main"}},
	} {
		f, err := NewFilter(tt.filter)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, f.subjects()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.filter, diff)
		}
	}
}

func TestNewFilterTellsAllThatIsWrong(t *testing.T) {
	from := time.Unix(5, 0)
	_, err := NewFilter(contracts.EventFilter{
		From: &from, To: &from, Types: []contracts.EventType{"agent.exploded"}, Entity: "a b",
		Correlations: []string{""}, Sources: make([]string, maxValues+1),
	})
	if !errors.Is(err, ErrFilter) {
		t.Fatalf("error = %v", err)
	}
	for _, part := range []string{"not before", "agent.exploded", "entity", "correlations", "sources"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

// TestMatchNeedsItsSubjects: whatever matches is on one of the subjects that
// are read, so reading only those misses nothing.
func TestMatchNeedsItsSubjects(t *testing.T) {
	types := contracts.EventTypes()
	property.Check(t, func(t *rapid.T) {
		entity := rapid.SampledFrom([]string{"", "a", "b"})
		typ := rapid.SampledFrom(types[:6])
		f, err := NewFilter(contracts.EventFilter{
			Types: rapid.SliceOfN(typ, 0, 3).Draw(t, "types"), Entity: entity.Draw(t, "wanted"),
		})
		if err != nil {
			t.Fatal(err)
		}
		e := contracts.Event{Type: typ.Draw(t, "type"), Entity: "a"}
		subjects := f.subjects()
		on := subjects == nil || slices.ContainsFunc(subjects, func(s string) bool { return covers(s, e.Subject()) })
		if f.Match(e) != on {
			t.Fatalf("match %v, but on %v: %v", f.Match(e), subjects, on)
		}
	})
}

// FuzzFilter: a question is refused as such, or is within its limits and selects
// only what is on the subjects that are read for it.
func FuzzFilter(f *testing.F) {
	f.Add([]byte(`{}`), "smith.agent.failed", "a")
	f.Add([]byte(`{"types":["agent.failed","custom.x"],"entity":"a","sources":["detector"]}`), "smith.custom.x", "a")
	f.Add([]byte(`{"from":"2026-01-02T15:04:05Z","to":"2026-01-02T15:04:06Z"}`), "smith.agent.failed", "a")
	f.Add([]byte(`{"types":["custom.*"],"entity":">","correlations":[""]}`), "smith.custom.x", "a")
	f.Fuzz(func(t *testing.T, body []byte, kind, entity string) {
		var asked contracts.EventFilter
		if json.Unmarshal(body, &asked) != nil {
			return
		}
		filter, err := NewFilter(asked)
		if err != nil {
			if !errors.Is(err, ErrFilter) {
				t.Fatal(err)
			}
			return
		}
		subjects := filter.subjects()
		if max(len(subjects), len(filter.sources), len(filter.correlations)) > maxValues {
			t.Fatalf("%+v is too much", filter)
		}
		for _, s := range subjects {
			_, typed, err := contracts.ParseEventSubject(strings.ReplaceAll(s, "*", "any"))
			if err != nil && len(filter.types) > 0 {
				t.Fatalf("%q is read, which is no event's subject (%s): %v", s, typed, err)
			}
		}
		e, err := contracts.NewEvent("detector/1", contracts.EventType(kind), entity, time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)).Build()
		if err != nil || !filter.Match(e) {
			return
		}
		if subjects != nil && !slices.ContainsFunc(subjects, func(s string) bool { return covers(s, e.Subject()) }) {
			t.Fatalf("%+v matches, but is on none of %v", e, subjects)
		}
	})
}

func covers(pattern, subject string) bool {
	return slices.EqualFunc(strings.Split(pattern, "."), strings.Split(subject, "."), func(p, s string) bool {
		return p == "*" || p == s
	})
}
