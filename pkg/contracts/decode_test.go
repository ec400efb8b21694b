package contracts

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	exact "github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// decoded lists what is decoded by decode, by the JSON of a filled value.
func decoded(tb testing.TB) (types []reflect.Type, bodies [][]byte) {
	tb.Helper()
	seen := map[reflect.Type]bool{}
	add := func(v any) {
		ty := reflect.TypeOf(v)
		if seen[ty] {
			return
		}
		seen[ty] = true
		filled := reflect.New(ty)
		fill(filled.Elem(), nil, 2)
		body, err := json.Marshal(filled.Interface())
		if err != nil {
			tb.Fatalf("%s: %v", ty, err)
		}
		types, bodies = append(types, ty), append(bodies, body)
	}
	type withData[T any] struct {
		Event
		Data T `json:"data"`
	}
	add(Heartbeat{})
	add(Task{})
	add(Event{})
	add(withData[AgentFailedData]{})
	add(withData[AgentStoppedData]{})
	add(map[string]json.RawMessage{})
	for _, ty := range EventTypes() {
		add(dataOf[ty])
	}
	return types, bodies
}

// agree tells of a body that decode reads otherwise than the exact decoder does.
func agree(t interface{ Fatalf(string, ...any) }, ty reflect.Type, given []byte) {
	got, want := reflect.New(ty), reflect.New(ty)
	body := bytes.Clone(given)
	err := decode(body, got.Interface())
	wrong := exact.Unmarshal(given, want.Interface(), asEncodingJSON)
	if (err == nil) != (wrong == nil) {
		t.Fatalf("%s from %q: %v; the exact decoder: %v", ty, given, err, wrong)
	}
	if err != nil {
		return
	}
	clear(body) // what was read must not depend on it
	g, err := json.Marshal(got.Interface())
	w, wrong := json.Marshal(want.Interface())
	if (err == nil) != (wrong == nil) || !bytes.Equal(g, w) {
		t.Fatalf("%s from %q:\n%s %v\nthe exact decoder:\n%s %v", ty, given, g, err, w, wrong)
	}
}

// odd is what may stand where something else should.
var odd = []string{
	"", "null", "true", "tru", "NaN", "0", "-0", "01", "+1", "-1", "1.", ".5", "-", "1.0", "1e5", "1E+2", "1e", "1e400", "1e-400", "256", "1 2",
	"4294967296", "999999999999999999", "-999999999999999999", "18446744073709551615", "30000000000000000000", "1_000", "0x10",
	`""`, `"x"`, `"5s"`, `"-5s"`, `"\u0041"`, `"a" "b"`, `"aGVsbG8="`, "[]", "{}", "[1]", "[1,]", "[null]", `{"a":1}`, `{"a":{"b":[1,2,{}]}}`, "[[[]]]",
	`"2024-02-29T00:00:00Z"`, `"2026-02-29T00:00:00Z"`, `"2026-13-01T00:00:00Z"`, `"2026-01-02T24:00:00Z"`, `"2026-01-02T15:04:60Z"`,
	`"2026-01-02T15:04:05,5Z"`, `"2026-01-02T15:04:05.Z"`, `"2026-01-02T15:04:05.1234567891Z"`, `"2026-01-02T15:04:05+05:30"`,
	`"2026-01-02T15:04:05-00:00"`, `"2026-01-02T15:04:05+25:00"`, `"2026-01-02t15:04:05z"`, `"2026-01-02 15:04:05Z"`, `"2026-1-2T15:04:05Z"`,
	`"2026/01-02T15:04:05Z"`, `"2026-01-02W15:04:05Z"`, `"2026-01-02T15:04:05"`, `"2026-01-02T15:04Z"`, `"2026-01-02"`, `"10000-01-01T00:00:00Z"`, `"0000-01-01T00:00:00+23:59"`,
	"{", "}", "[", "]", ",", ":", `"incarnation":`, `"Incarnation":`, `"INTERVAL":`, `"in-flight":`, `"data":`, `"time":`,
}

var jsonToken = regexp.MustCompile(`"[^"]*":?|[-+0-9.eE]+|true|false|null|[][{},:]`)

// TestDecodersAgree changes good messages here and there.
func TestDecodersAgree(t *testing.T) {
	t.Parallel()
	types, bodies := decoded(t)
	property.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(types)-1).Draw(t, "type")
		body := string(bodies[i])
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			tokens := jsonToken.FindAllStringIndex(body, -1)
			if len(tokens) == 0 {
				break
			}
			at := rapid.SampledFrom(tokens).Draw(t, "token")
			other := rapid.SampledFrom(tokens).Draw(t, "other")
			with := rapid.SampledFrom(append([]string{body[other[0]:other[1]]}, odd...)).Draw(t, "with")
			body = body[:at[0]] + with + body[at[1]:]
		}
		agree(t, types[i], []byte(body))
	})
}

// TestDecodersAgreeOnTimes puts every character at every place of times.
func TestDecodersAgreeOnTimes(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"2026-01-02T15:04:05Z", "2026-01-02T15:04:05.5Z", "2026-01-02T15:04:05.123456789Z", "2026-01-02T15:04:05.123-05:30"} {
		for i := range good {
			for c := byte(' '); c <= '~'; c++ {
				agree(t, reflect.TypeFor[Heartbeat](), []byte(`{"busy_until":"`+good[:i]+string(c)+good[i+1:]+`"}`))
			}
		}
	}
}

// FuzzDecode: whichever of its decoders decode uses, what comes out is what the
// exact one reads.
func FuzzDecode(f *testing.F) {
	types, bodies := decoded(f)
	for i, body := range bodies {
		f.Add(uint8(i), body)
		f.Add(uint8(i), body[:len(body)/2])
	}
	for _, text := range []string{
		`{"incarnation":30000000000000000000}`, `{"seq":-1,"seq":1.0,"in_flight":1e3}`, `{"Seq":1,"SEQ":2,"seq":3}`, `{"interval":"5s"} `,
		`{"capabilities":["a"],"capabilities":[]}`, `{"capabilities":["a"],"capabilities":[ ],"capabilities":[null]}`, `{"busy_until":"2026-01-02U15;04>05Z"}`, `{"capabilities":null,"interval":null}`, `{"status":"\u0062usy"}`, `{"a":[1,]}`, `{"a" 1}`,
		`null`, `{}{}`, `{"x":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`,
	} {
		f.Add(uint8(0), []byte(text))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) { agree(t, types[int(which)%len(types)], body) })
}

// BenchmarkDecode reads an agent's exit, as a supervisor does.
func BenchmarkDecode(b *testing.B) {
	e := failed(b)
	body, err := e.Encode()
	if err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func([]byte, any) error{
		"decode":        decode,
		"exact":         func(body []byte, v any) error { return exact.Unmarshal(body, v, asEncodingJSON) },
		"encoding-json": json.Unmarshal,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var whole struct {
					Event
					Data AgentFailedData `json:"data"`
				}
				if err := read(body, &whole); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestPlain: what services send each other is read by the quicker decoder.
func TestPlain(t *testing.T) {
	t.Parallel()
	types, bodies := decoded(t)
	for i, body := range bodies {
		if !plain(body) {
			t.Errorf("%s is not plain: %s", types[i], body)
		}
	}
	for _, other := range []string{"\n", `\u0062`, "\x7f", "ä", strings.Repeat("1", plainDigits+1), strings.Repeat("{", plainBrackets+1)} {
		if plain([]byte(other)) {
			t.Errorf("%q is plain", other)
		}
	}
}
