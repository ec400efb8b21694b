package contracts

import (
	"errors"
	"strings"
	"testing"
)

func TestEventTypes(t *testing.T) {
	seen := map[EventType]bool{}
	for _, typ := range EventTypes() {
		if seen[typ] {
			t.Errorf("%s is listed twice", typ)
		}
		seen[typ] = true
		if err := typ.Validate(); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if MakeEventType(typ.Family(), typ.Name()) != typ {
			t.Errorf("%s splits into %s and %s", typ, typ.Family(), typ.Name())
		}
	}
}

func TestParseEventType(t *testing.T) {
	for in, want := range map[string]EventType{
		"smith.agent.failed": AgentFailed,
		"agent.failed":       AgentFailed,
		"custom.lunch":       "smith.custom.lunch",
		"smith.custom.a-b_1": "smith.custom.a-b_1",
	} {
		if got, err := ParseEventType(in); err != nil || got != want {
			t.Errorf("ParseEventType(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "smith", "smith.", "agent", "agent.", ".failed", "agent.fail", "Agent.failed", "agent.failed.x", "smith.smith.agent.failed",
		"custom", "custom.", "custom.a.b", "custom.*", "custom.>", "custom.a b", "custom." + strings.Repeat("x", 10<<10), strings.Repeat("x", 10<<10),
	} {
		_, err := ParseEventType(in)
		if !errors.Is(err, ErrEventType) {
			t.Errorf("ParseEventType(%.40q) = %v, want ErrEventType", in, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("ParseEventType(%.40q): the message has %d bytes", in, len(err.Error()))
		}
	}
}

func FuzzParseEventType(f *testing.F) {
	for _, typ := range EventTypes() {
		f.Add(string(typ))
		f.Add(strings.TrimPrefix(string(typ), "smith."))
	}
	for _, id := range badIDs {
		f.Add("custom." + id)
	}
	f.Fuzz(func(t *testing.T, s string) {
		typ, err := ParseEventType(s)
		if err != nil {
			return
		}
		again, err := ParseEventType(string(typ))
		if err != nil || again != typ {
			t.Fatalf("%q parsed as %q, and that as %q, %v", s, typ, again, err)
		}
		if _, _, err := ParseEventSubject(EventSubject(typ, "a")); err != nil {
			t.Fatalf("%q is valid but has no subject: %v", s, err)
		}
	})
}
