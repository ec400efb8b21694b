package contracts

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	anID   = "0195a1b2-0000-7000-8000-000000000001"
	aCause = "0195a1b2-0000-7000-8000-000000000002"
)

// failed is a valid event, to be spoilt by tests.
func failed(t testing.TB) Event {
	t.Helper()
	e, err := NewEvent("detector/d1", AgentFailed, "worker-1", noon).ID(anID).
		Data(AgentFailedData{Agent: "worker-1", Incarnation: 3, Reason: ReasonHeartbeatTimeout}).Build()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEventBuilder(t *testing.T) {
	first, err := NewEvent("detector/d1", AgentFailed, "worker-1", noon.In(time.FixedZone("", 3600))).Build()
	if err != nil {
		t.Fatal(err)
	}
	if first.CorrelationID != first.ID {
		t.Errorf("a new story has correlation id %s, want its own id %s", first.CorrelationID, first.ID)
	}
	if first.Time != noon {
		t.Errorf("time %s, want %s in UTC", first.Time, noon)
	}
	second, err := NewEvent("supervisor/s1", TreeDecided, "main", noon).CausedBy(first).TraceParent("00-a-b-01").Build()
	if err != nil {
		t.Fatal(err)
	}
	if second.CausationID != first.ID || second.CorrelationID != first.ID {
		t.Errorf("caused by %s: causation %s, correlation %s", first.ID, second.CausationID, second.CorrelationID)
	}
	if second.Subject() != "smith.event.tree.decided.main" {
		t.Errorf("subject %s", second.Subject())
	}
	if second.ID == first.ID {
		t.Error("two events have one id")
	}
}

func TestEventBuilderID(t *testing.T) {
	build := func(b *EventBuilder) Event {
		t.Helper()
		e, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	start := func() *EventBuilder { return NewEvent("a/b", AgentFailed, "x", noon) }
	if e := build(start().ID(anID)); e.ID != anID || e.CorrelationID != anID {
		t.Errorf("the correlation id of a first event must follow its id: %+v", e)
	}
	if e := build(start().Correlation(aCause).ID(anID)); e.CorrelationID != aCause {
		t.Errorf("a correlation id that was set must stay: %+v", e)
	}
	if e := build(start().ID(anID).Correlation("").Causation("")); e.CorrelationID != anID || e.CausationID != "" {
		t.Errorf("empty ids must change nothing: %+v", e)
	}
}

func TestEventBuilderReportsBadData(t *testing.T) {
	_, err := NewEvent("a/b", AgentFailed, "worker-1", noon).Data(make(chan int)).TraceParent("x").Build()
	if !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), "chan int") || !strings.Contains(err.Error(), "worker-1") {
		t.Errorf("err = %v, want ErrEvent naming the entity and the Go type", err)
	}
}

// spoilt are ways to make an event invalid, with a word the error must have.
var spoilt = []struct {
	name, want string
	spoil      func(*Event)
}{
	{"no version", "specversion", func(e *Event) { e.SpecVersion = "" }},
	{"another version", "specversion", func(e *Event) { e.SpecVersion = "2.0" }},
	{"no id", "id:", func(e *Event) { e.ID = "" }},
	{"id is no UUID", "id:", func(e *Event) { e.ID = "42" }},
	{"id in braces", "id:", func(e *Event) { e.ID = "{" + anID + "}" }},
	{"id in hex only", "id:", func(e *Event) { e.ID = strings.ReplaceAll(anID, "-", "") }},
	{"no source", "source:", func(e *Event) { e.Source = "" }},
	{"long source", "source:", func(e *Event) { e.Source = strings.Repeat("x", MaxSourceBytes+1) }},
	{"source of two lines", "source:", func(e *Event) { e.Source = "a\nb" }},
	{"unknown type", "type:", func(e *Event) { e.Type = "smith.agent.vanished" }},
	{"no type", "type:", func(e *Event) { e.Type = "" }},
	{"wildcard type", "type:", func(e *Event) { e.Type = "smith.custom.*" }},
	{"no entity", "subject:", func(e *Event) { e.Entity = "" }},
	{"entity of two tokens", "subject:", func(e *Event) { e.Entity = "a.b" }},
	{"wildcard entity", "subject:", func(e *Event) { e.Entity = ">" }},
	{"no time", "time:", func(e *Event) { e.Time = time.Time{} }},
	{"year 10000", "time:", func(e *Event) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
	{"long correlation", "correlationid:", func(e *Event) { e.CorrelationID = strings.Repeat("x", MaxReferenceBytes+1) }},
	{"NUL in causation", "causationid:", func(e *Event) { e.CausationID = "a\x00b" }},
	{"space in trace", "traceparent:", func(e *Event) { e.TraceParent = "a b" }},
}

func TestEventValidate(t *testing.T) {
	for _, c := range spoilt {
		t.Run(c.name, func(t *testing.T) {
			e := failed(t)
			c.spoil(&e)
			err := e.Validate()
			if !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("err = %v, want ErrEvent naming %q", err, c.want)
			}
			if len(err.Error()) > 1024 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestEventValidateReportsAll(t *testing.T) {
	err := Event{}.Validate()
	for _, field := range []string{"specversion", "id:", "source:", "type:", "subject:", "time:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%q is missing from %v", field, err)
		}
	}
}

func TestDecodeEvent(t *testing.T) {
	want := failed(t)
	body, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"", want.Subject()} {
		got, err := DecodeEvent(subject, body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("on %q: (-want +got)\n%s", subject, diff)
		}
	}
}

func TestDecodeEventIgnoresUnknownFields(t *testing.T) {
	got, err := DecodeEvent("smith.event.agent.failed.worker-1", []byte(`{
		"specversion":"1.0","id":"`+anID+`","source":"x/y","type":"smith.agent.failed","subject":"worker-1",
		"time":"2026-03-01T13:00:00+01:00","severity":"high","data":{"agent":"worker-1","incarnation":3,"reason":"hung","mood":"sad"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Time.Location() != time.UTC || got.Time.Hour() != 12 {
		t.Errorf("time %s, want 12:00 UTC", got.Time)
	}
	data, err := DecodeData[AgentFailedData](got)
	if err != nil || data.Incarnation != 3 || data.Reason != ReasonHung {
		t.Errorf("data %+v, %v", data, err)
	}
}

func TestDecodeEventRefuses(t *testing.T) {
	good := failed(t)
	body, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ subject, body string }{
		"no JSON":             {"", "hello"},
		"empty":               {"", ""},
		"null":                {"", "null"},
		"array":               {"", "[" + string(body) + "]"},
		"two objects":         {"", string(body) + string(body)},
		"cut off":             {"", string(body[:len(body)-1])},
		"bad time":            {"", strings.Replace(string(body), "2026-03-01T", "2026-13-01T", 1)},
		"number as type":      {"", strings.Replace(string(body), `"smith.agent.failed"`, `7`, 1)},
		"another type":        {EventSubject(AgentStopped, "worker-1"), string(body)},
		"another entity":      {EventSubject(AgentFailed, "worker-2"), string(body)},
		"no event subject":    {"smith.heartbeat.worker-1", string(body)},
		"longer subject":      {good.Subject() + ".x", string(body)},
		"one byte over limit": {good.Subject(), string(body) + strings.Repeat(" ", MaxEventBytes-len(body)+1)},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := DecodeEvent(c.subject, []byte(c.body))
			if !errors.Is(err, ErrEvent) {
				t.Fatalf("err = %v, want ErrEvent", err)
			}
			if e.ID != "" {
				t.Errorf("an event came with the error: %+v", e)
			}
			if c.subject != "" && !strings.Contains(err.Error(), c.subject) {
				t.Errorf("%v does not name the subject", err)
			}
		})
	}
	if _, err := DecodeEvent(good.Subject(), []byte(string(body)+strings.Repeat(" ", MaxEventBytes-len(body)))); err != nil {
		t.Errorf("exactly at the limit: %v", err)
	}
}

func TestDecodeEventRefusesWhatValidateRefuses(t *testing.T) {
	for _, c := range spoilt {
		e := failed(t)
		c.spoil(&e)
		body, err := json.Marshal(e)
		if err != nil {
			continue // cannot even be sent
		}
		if _, err := DecodeEvent("", body); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: err = %v, want ErrEvent", c.name, err)
		}
	}
}

func TestEncodeLimit(t *testing.T) {
	e := failed(t)
	e.Data = json.RawMessage(`"` + strings.Repeat("x", MaxEventBytes) + `"`)
	if _, err := e.Encode(); !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("err = %v, want ErrEvent with the limit", err)
	}
}

// An event near the limit that is full of what HTML escapes must not outgrow the
// limit on its way through a service.
func TestEncodeDoesNotGrow(t *testing.T) {
	e := failed(t)
	e.Data = json.RawMessage(`"` + strings.Repeat("<&>", MaxEventBytes/4) + `"`)
	body, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeEvent(e.Subject(), body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(e.Data), string(again.Data)); diff != "" {
		t.Error("data changed on the way")
	}
}

func TestDecodeData(t *testing.T) {
	e := failed(t)
	e.Data = nil
	if v, err := DecodeData[AgentFailedData](e); err != nil || v.Agent != "" {
		t.Errorf("no data: %+v, %v", v, err)
	}
	e.Data = json.RawMessage(`{"incarnation":"three"}`)
	if _, err := DecodeData[AgentFailedData](e); !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), e.ID) {
		t.Errorf("err = %v, want ErrEvent naming the event", err)
	}
}

func TestDerivedID(t *testing.T) {
	a, b := DerivedID("exit", "worker-1", "3"), DerivedID("exit", "worker-13", "")
	if a == b || a == DerivedID("exit", "worker-", "13") || DerivedID("ab", "c") == DerivedID("a", "bc") {
		t.Error("different parts give one id")
	}
	if a != DerivedID("exit", "worker-1", "3") {
		t.Error("the same parts give two ids")
	}
	if e, err := NewEvent("a/b", AgentFailed, "x", noon).ID(a).Build(); err != nil {
		t.Errorf("%+v: %v", e, err)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	good := failed(f)
	body, err := good.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Subject(), body)
	f.Add("", body)
	f.Add(good.Subject(), []byte("null"))
	f.Add(good.Subject(), body[:len(body)/2])
	f.Add("smith.event.custom.a.b", []byte(`{"specversion":"1.0","id":"`+anID+`","source":"s","type":"smith.custom.a","subject":"b","time":"0000-01-01T00:00:00+23:59"}`))
	f.Add("smith.event.custom.a.b", []byte(`{"specversion":"1.0","id":"`+anID+`","source":"<>","type":"smith.custom.a","subject":"b","time":"2026-01-01T00:00:00Z","data":"\u2028<"}`))
	for _, c := range spoilt {
		e := failed(f)
		c.spoil(&e)
		if body, err := json.Marshal(e); err == nil {
			f.Add(e.Subject(), body)
		}
	}
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		e, err := DecodeEvent(subject, body)
		if err != nil {
			if !errors.Is(err, ErrEvent) {
				t.Fatalf("%v is not ErrEvent", err)
			}
			return
		}
		as, data, err := DecodeEventAs[json.RawMessage](subject, body)
		if as.Data = data; err != nil || !cmp.Equal(e, as) {
			t.Fatalf("with its data: %v\n%s", err, cmp.Diff(e, as))
		}
		if _, _, err := ParseEventSubject(e.Subject()); err != nil {
			t.Fatalf("a valid event has the subject %q: %v", e.Subject(), err)
		}
		out, err := e.Encode()
		if err != nil {
			if len(body) < MaxEventBytes/8 {
				t.Fatalf("decoded, but cannot be encoded: %v", err)
			}
			return
		}
		again, err := DecodeEvent(e.Subject(), out)
		if err != nil {
			t.Fatalf("decoded, encoded, and not decoded again: %v", err)
		}
		// Space within data is not kept.
		e.Data, again.Data = nil, nil
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatalf("changed on the way (-first +second)\n%s", diff)
		}
	})
}

// TestDecodeEventAs: what is wrong with the data is told as such.
func TestDecodeEventAs(t *testing.T) {
	t.Parallel()
	good := failed(t)
	for name, c := range map[string]struct{ data, want string }{
		"good": {`{"incarnation":4}`, ""},
		"none": {`null`, ""},
		"bad":  {`{"incarnation":"4"}`, good.ID + " of type " + string(good.Type) + ": data: "},
	} {
		good.Data = json.RawMessage(c.data)
		body, err := good.Encode()
		if err != nil {
			t.Fatal(err)
		}
		e, d, err := DecodeEventAs[AgentFailedData](good.Subject(), body)
		if c.want == "" && (err != nil || e.ID != good.ID || len(e.Data) > 0 || d.Incarnation != 4 && name == "good") {
			t.Errorf("%s: %+v, %+v, %v", name, e, d, err)
		}
		if c.want != "" && (!errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestEncodeWhileBuilding: the short way gives the same event as the long one.
func TestEncodeWhileBuilding(t *testing.T) {
	t.Parallel()
	data := AgentFailedData{Agent: "worker-1", Incarnation: 3, Reason: ReasonExited, Detail: "a <b> & \"c\"\u2028"}
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func() *EventBuilder { return NewEvent("runner/r1", AgentFailed, "worker-1", noon).ID(anID) }
	for name, b := range map[string]*EventBuilder{"data": fresh().Data(data), "JSON": fresh().JSON(raw), "no data": fresh()} {
		built, body, err := b.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		bare := built
		bare.Data = nil
		head, err := json.Marshal(bare)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.HasPrefix(string(body), string(head[:len(head)-1])) {
			t.Errorf("%s: %s, by encoding/json %s", name, body, head)
		}
		again, err := DecodeEvent(built.Subject(), body)
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, body)
		}
		if diff := cmp.Diff(built, again); diff != "" {
			t.Errorf("%s (-built +read):\n%s", name, diff)
		}
	}
	_, want, err := fresh().JSON(raw).Encode()
	if err != nil {
		t.Fatal(err)
	}
	memory := []byte(strings.Repeat("x", 2*len(want)))
	built, body, err := fresh().EncodeTo(memory, func(to []byte) ([]byte, error) { return append(to, raw...), nil })
	if err != nil || string(body) != string(want) || &body[0] != &memory[0] || built.Data != nil {
		t.Errorf("in given memory: %v\n%s\nwant\n%s", err, body, want)
	}
	broken := errors.New("broken")
	if _, _, err := fresh().EncodeTo(nil, func([]byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("data that cannot be encoded: %v", err)
	}
	if _, _, err := fresh().Data(strings.Repeat("x", MaxEventBytes)).Encode(); !errors.Is(err, ErrEvent) {
		t.Errorf("too large: %v", err)
	}
	if _, _, err := fresh().ID("1").Data(data).Encode(); !errors.Is(err, ErrEvent) {
		t.Errorf("a bad id: %v", err)
	}
}
