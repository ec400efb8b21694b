package intake

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const subject = "smith.event.agent.failed.a"

func valid(t testing.TB, change func(m map[string]any)) []byte {
	t.Helper()
	e, err := contracts.NewEvent("runner/r", contracts.AgentFailed, "a", time.Unix(1, 0)).Data(contracts.AgentFailedData{Agent: "a"}).Build()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	raw, err = json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func set(k string, v any) func(map[string]any) { return func(m map[string]any) { m[k] = v } }

func TestDecode(t *testing.T) {
	tests := []struct {
		name, subject string
		body          []byte
		want          Reason // "" is an event
	}{
		{"event", subject, valid(t, func(map[string]any) {}), ""},
		{"unknown field", subject, valid(t, set("colour", "red")), ""},
		{"no data", subject, valid(t, func(m map[string]any) { delete(m, "data") }), ""},
		{"empty", subject, nil, NotJSON},
		{"text", subject, []byte("agent a failed"), NotJSON},
		{"cut off", subject, valid(t, func(map[string]any) {})[:40], NotJSON},
		{"two values", subject, []byte(`{} {}`), NotJSON},
		{"JSON, but a number", subject, []byte(`7`), NotCloudEvent},
		{"null", subject, []byte(`null`), NotCloudEvent},
		{"no envelope", subject, []byte(`{"agent":"a"}`), NotCloudEvent},
		{"specversion 0.3", subject, valid(t, set("specversion", "0.3")), NotCloudEvent},
		{"time is no time", subject, valid(t, set("time", "yesterday")), NotCloudEvent},
		{"id missing", subject, valid(t, set("id", "")), WrongID},
		{"id no UUID", subject, valid(t, set("id", "7")), WrongID},
		{"id in braces", subject, valid(t, set("id", "{0197d1a2-0000-7000-8000-000000000000}")), WrongID},
		{"other entity", "smith.event.agent.failed.b", valid(t, func(map[string]any) {}), SubjectMismatch},
		{"other type", "smith.event.agent.stopped.a", valid(t, func(map[string]any) {}), SubjectMismatch},
		{"longer subject", subject + ".b", valid(t, func(map[string]any) {}), SubjectMismatch},
		{"unknown type", "smith.event.agent.exploded.a", valid(t, set("type", "smith.agent.exploded")), Invalid},
		{"no source", subject, valid(t, set("source", "")), Invalid},
		{"no time", subject, valid(t, func(m map[string]any) { delete(m, "time") }), Invalid},
		{"long correlation", subject, valid(t, set("correlationid", strings.Repeat("x", 200))), Invalid},
		{"over the limit", subject, valid(t, set("data", strings.Repeat("x", contracts.MaxEventBytes))), TooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Decode(tt.subject, tt.body)
			if tt.want == "" {
				if err != nil || e.Entity != "a" {
					t.Fatalf("%+v, %v", e, err)
				}
				return
			}
			var r *Rejection
			if !errors.As(err, &r) || r.Reason != tt.want || !errors.Is(err, contracts.ErrEvent) {
				t.Fatalf("error = %v (%+v), want reason %s", err, r, tt.want)
			}
			if err := contracts.ValidateID(string(r.Reason)); err != nil {
				t.Errorf("reason cannot stand in a subject: %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(subject, valid(f, func(map[string]any) {}))
	f.Add(subject, []byte(`{"specversion":"1.0"}`))
	f.Add("smith.event.", []byte(`{`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		e, err := Decode(subject, body)
		var r *Rejection
		if err != nil && !errors.As(err, &r) {
			t.Fatalf("error of another kind: %v", err)
		}
		if err == nil && subject != "" && (e.Subject() != subject || e.Validate() != nil) {
			t.Fatalf("accepted %+v on %s", e, subject)
		}
	})
}
