package contracts

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeHeartbeat(t *testing.T) {
	until := noon
	for name, c := range map[string]struct {
		body string
		want Heartbeat
	}{
		"empty":        {"", Heartbeat{}},
		"no fields":    {"{}", Heartbeat{}},
		"unknown ones": {`{"mood":"fine","v":9}`, Heartbeat{}},
		"nulls":        {`{"interval":null,"type":null,"busy_until":null}`, Heartbeat{}},
		"all": {
			`{"incarnation":7,"seq":42,"interval":"5s","type":"researcher","capabilities":["web","pdf"],"status":"busy",
			"in_flight":2,"capacity":4,"progress":99,"busy_until":"2026-03-01T12:00:00.123456789Z"}`,
			Heartbeat{
				Incarnation: 7, Seq: 42, Interval: Duration(5 * time.Second), Type: "researcher", Capabilities: []string{"web", "pdf"},
				Status: StatusBusy, InFlight: 2, Capacity: 4, Progress: 99, BusyUntil: &until,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeHeartbeat([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecodeHeartbeatRefuses(t *testing.T) {
	caps, err := json.Marshal(make([]string, MaxCapabilities+1))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ body, want string }{
		"text":                 {"alive", "JSON"},
		"null":                 {"null", "object"},
		"number":               {"1", "object"},
		"array":                {"[]", "object"},
		"cut off":              {`{"seq":1`, "JSON"},
		"negative incarnation": {`{"incarnation":-1}`, "incarnation"},
		"fraction":             {`{"seq":1.5}`, "seq"},
		"number as interval":   {`{"interval":5}`, "duration"},
		"interval too short":   {`{"interval":"1ms"}`, "interval"},
		"interval too long":    {`{"interval":"25h"}`, "interval"},
		"negative interval":    {`{"interval":"-5s"}`, "interval"},
		"type of two tokens":   {`{"type":"a.b"}`, "type"},
		"bad capability":       {`{"capabilities":["web","a b"]}`, "capabilities[1]"},
		"many capabilities":    {`{"capabilities":` + string(caps) + `}`, "capabilities"},
		"unknown status":       {`{"status":"happy"}`, "status"},
		"negative in_flight":   {`{"in_flight":-1}`, "in_flight"},
		"vast capacity":        {`{"capacity":10001}`, "capacity"},
		"long detail":          {`{"status":"stuck","detail":"` + strings.Repeat("x", 257) + `"}`, "detail"},
		"bad time":             {`{"busy_until":"later"}`, "JSON"},
		"over the limit":       {"{}" + strings.Repeat(" ", MaxHeartbeatBytes-1), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeHeartbeat([]byte(c.body))
			if !errors.Is(err, ErrHeartbeat) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("err = %v, want ErrHeartbeat naming %q", err, c.want)
			}
			if diff := cmp.Diff(Heartbeat{}, got); diff != "" {
				t.Errorf("a heartbeat came with the error:\n%s", diff)
			}
		})
	}
	if _, err := DecodeHeartbeat([]byte("{}" + strings.Repeat(" ", MaxHeartbeatBytes-2))); err != nil {
		t.Errorf("exactly at the limit: %v", err)
	}
}

func FuzzDecodeHeartbeat(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"incarnation":18446744073709551615}`, `{"incarnation":18446744073709551616}`, `{"interval":"5s"}`, `{"interval":5}`,
		`{"type":"researcher","capabilities":["web"],"status":"busy","in_flight":1,"capacity":4}`, `{"busy_until":"2026-03-01T12:00:00Z"}`,
		`{"busy_until":"0000-01-01T00:00:00+23:59"}`, `{"seq":1}{"seq":2}`, "{\"type\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := DecodeHeartbeat(body)
		if err != nil {
			if !errors.Is(err, ErrHeartbeat) {
				t.Fatalf("%v is not ErrHeartbeat", err)
			}
			return
		}
		if err := h.Validate(); err != nil {
			t.Fatalf("decoded, but not valid: %v", err)
		}
		out, err := json.Marshal(h)
		if err != nil {
			t.Fatalf("decoded, but cannot be encoded: %v", err)
		}
		again, err := DecodeHeartbeat(out)
		if err != nil && len(out) <= MaxHeartbeatBytes {
			t.Fatalf("encoded as %s: %v", out, err)
		}
		if again.Seq != h.Seq && err == nil {
			t.Fatalf("encoded as %s", out)
		}
	})
}

func TestAgentStatusesAreAll(t *testing.T) {
	var all []any
	for _, s := range AgentStatuses() {
		all = append(all, string(s))
	}
	if diff := cmp.Diff(readSource(t).enums["AgentStatus"], all); diff != "" {
		t.Error(diff)
	}
}
