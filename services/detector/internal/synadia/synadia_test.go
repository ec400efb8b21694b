package synadia

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const good = `{"agent":"claude-code","owner":"acme","session":"s","instance_id":"VMKS6MHK71PC","ts":"2026-04-21T14:23:01Z","interval_s":30}`

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		name, subject, id, on, body string
		want                        Heartbeat
	}{
		{"defaults", "", "", "agents.hb.cc.acme.main", good, Heartbeat{"cc-acme-main", "claude-code", "VMKS6MHK71PC", 30 * time.Second}},
		{"one owner", "agents.hb.*.acme.*", "{name}", "agents.hb.cc.acme.main", good, Heartbeat{"main", "claude-code", "VMKS6MHK71PC", 30 * time.Second}},
		{"imported", "from.there.*.*.*", "x-{name}", "from.there.cc.acme.main", good, Heartbeat{"x-main", "claude-code", "VMKS6MHK71PC", 30 * time.Second}},
		{"an agent for each instance", "", "{name}-{instance}", "agents.hb.cc.acme.main", good, Heartbeat{"main-VMKS6MHK71PC", "claude-code", "", 30 * time.Second}},
		{
			"fractions, offsets, unknown fields, no id as its kind", "", "", "agents.hb.cc.acme.main",
			`{"agent":"my agent","owner":"o","instance_id":"i","ts":"2026-04-21T14:23:01.25+02:00","interval_s":0.25,"more":[1]}`,
			Heartbeat{"cc-acme-main", "", "i", 250 * time.Millisecond},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := New(c.subject, c.id)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Decode(c.on, []byte(c.body))
			if err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestBadHeartbeats(t *testing.T) {
	m, err := New("", "")
	if err != nil {
		t.Fatal(err)
	}
	with := func(field, value string) string {
		for _, was := range []string{`"claude-code"`, `"acme"`, `"VMKS6MHK71PC"`, `"2026-04-21T14:23:01Z"`, `30`} {
			if old := `"` + field + `":` + was; strings.Contains(good, old) {
				return strings.Replace(good, old, `"`+field+`":`+value, 1)
			}
		}
		t.Fatal(field)
		return ""
	}
	const on = "agents.hb.cc.acme.main"
	for _, c := range []struct{ on, body, want string }{
		{on, "", "no heartbeat"},
		{on, "{", "no heartbeat"},
		{on, "null", "missing"},
		{on, "{}", "interval_s: missing"},
		{on, `{"agent":1}`, "no heartbeat"},
		{on, good + good, "no heartbeat"},
		{on, strings.Repeat(" ", 5000), "at most 4096"},
		{on, with("agent", `""`), "agent: missing"},
		{on, with("owner", `null`), "owner: missing"},
		{on, with("instance_id", `""`), "instance_id: missing"},
		{on, with("instance_id", `"`+strings.Repeat("x", 200)+`"`), "instance_id: 200 bytes"},
		{on, with("ts", `"yesterday"`), "RFC 3339"},
		{on, with("ts", `1776781381`), "no heartbeat"},
		{on, with("interval_s", `0`), "interval_s: 0 is outside"},
		{on, with("interval_s", `-5`), "interval_s: -5 is outside"},
		{on, with("interval_s", `31536000`), "interval_s: 3.1536e+07 is outside"},
		{on, with("interval_s", `1e999`), "no heartbeat"},
		{on, with("interval_s", `"30"`), "no heartbeat"},
		{"agents.hb.cc.ac@me.main", good, "make no id"},
		{"agents.hb.cc." + strings.Repeat("o", 60) + ".main", good, "make no id"},
		{"cc.main", good, "expected agents.hb.*.*.*"},
	} {
		_, err := m.Decode(c.on, []byte(c.body))
		if !errors.Is(err, contracts.ErrHeartbeat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.90s on %.40s: %v; want %q", c.body, c.on, err, c.want)
		}
	}
}

func TestBadMappings(t *testing.T) {
	for _, c := range []struct {
		subject, id string
		want        error
	}{
		{"agents.hb", "", ErrSubject},
		{"agents.hb.>", "", ErrSubject},
		{"agents..*.*.*", "", ErrSubject},
		{"agents.hb.*.*.a*", "", ErrSubject},
		{"agents.hb.*.*. x", "", ErrSubject},
		{"", "{who}", contracts.ErrIDTemplate},
		{"", "all", contracts.ErrIDTemplate},
	} {
		if _, err := New(c.subject, c.id); !errors.Is(err, c.want) {
			t.Errorf("%q %q: %v, want %v", c.subject, c.id, err, c.want)
		}
	}
}

// Whatever comes, the outcome is a heartbeat that the detector can use or an
// error that names the kind of trouble.
func FuzzDecode(f *testing.F) {
	f.Add("agents.hb.cc.acme.main", []byte(good))
	f.Add("agents.hb.cc.acme", []byte(`{"agent":"a","owner":"o","instance_id":"i","ts":"2026-04-21T14:23:01+25:00","interval_s":1e-9}`))
	f.Add("", []byte(`[]`))
	m, err := New("", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		h, err := m.Decode(subject, body)
		if err != nil {
			if !errors.Is(err, contracts.ErrHeartbeat) {
				t.Fatal(err)
			}
			return
		}
		if contracts.ValidateID(h.Agent) != nil || h.Type != "" && contracts.ValidateID(h.Type) != nil || h.Instance == "" || len(h.Instance) > maxInstance ||
			h.Interval < contracts.MinHeartbeatInterval || h.Interval > contracts.MaxHeartbeatInterval {
			t.Fatalf("%+v of %q", h, body)
		}
	})
}
