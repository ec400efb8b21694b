package contracts_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestEventFilter(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	later := noon.Add(time.Second)
	e := contracts.Event{Type: contracts.AgentCreated, Entity: "w1", Source: "detector/d1", CorrelationID: "c1", Time: noon}
	types := func(ts ...contracts.EventType) contracts.EventFilter { return contracts.EventFilter{Types: ts} }
	tests := []struct {
		name   string
		filter contracts.EventFilter
		want   bool
	}{
		{"empty", contracts.EventFilter{}, true},
		{"its type", types(contracts.AgentCreated), true},
		{"another type of the family", types(contracts.AgentFailed), false},
		{"one of two types", types(contracts.AgentFailed, contracts.AgentCreated), true},
		{"source", contracts.EventFilter{Sources: []string{"x", "detector/d1"}}, true},
		{"another source", contracts.EventFilter{Sources: []string{"detector"}}, false},
		{"correlation", contracts.EventFilter{Correlations: []string{"c1"}}, true},
		{"another correlation", contracts.EventFilter{Correlations: []string{"c2"}}, false},
		{"entity", contracts.EventFilter{Entity: "w1"}, true},
		{"another entity", contracts.EventFilter{Entity: "w2"}, false},
		{"from its time on", contracts.EventFilter{From: &noon}, true},
		{"from later on", contracts.EventFilter{From: &later}, false},
		{"until its time", contracts.EventFilter{To: &noon}, false},
		{"until later", contracts.EventFilter{To: &later}, true},
		{"type fits and source does not", contracts.EventFilter{Types: []contracts.EventType{contracts.AgentCreated}, Sources: []string{"x"}}, false},
	}
	for _, tt := range tests {
		if got := tt.filter.Matches(e); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	for name, f := range map[string]contracts.EventFilter{
		"unknown type": types("smith.agent.*"), "entity": {Entity: "a.b"}, "times": {From: &later, To: &noon},
	} {
		if f.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	f := contracts.EventFilter{Entity: "w1", Types: []contracts.EventType{contracts.AgentFailed, contracts.AgentCreated, contracts.AgentFailed}}
	if d := cmp.Diff([]string{"smith.event.agent.created.w1", "smith.event.agent.failed.w1"}, f.Subjects()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"smith.event.*.*.*"}, contracts.EventFilter{}.Subjects()); d != "" {
		t.Error(d)
	}
}
