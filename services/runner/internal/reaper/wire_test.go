package reaper

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

const someToken = "01234567-89ab-4cde-8f01-23456789abcd"

func TestMessages(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"op":"ready"}`: true,
		`{"op":"hello","version":9,"process":{"pid":7,"start_time":0,"epoch":"e"}}`: true,
		`{"op":"hello","version":1}`:                                  false,
		`{"op":"start","token":"` + someToken + `"}`:                  true,
		`{"op":"start","token":"../../etc/passwd"}`:                   false,
		`{"op":"start","token":"` + strings.ToUpper(someToken) + `"}`: false,
		`{"op":"taken"}`: false,
		`{"op":"running","token":"` + someToken + `"}`:                                                                   false,
		`{"op":"ended","token":"` + someToken + `"}`:                                                                     false,
		`{"op":"ended","token":"` + someToken + `","exit":{"process":{"pid":7},"wait":256,"at":"2030-01-01T00:00:00Z"}}`: true,
		`{"op":"reboot","token":"` + someToken + `"}`:                                                                    false,
		`{"op":`: false,
	} {
		if m, err := decodeMessage([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %+v, %v", text, m, err)
		}
	}
}

// Arguments and environment need not be text, and may be empty.
func TestCommandsTravelWhole(t *testing.T) {
	for _, want := range []process.Command{
		{Argv: []string{"a"}},
		{Argv: []string{"a", "", "b c", "\xff\xfe", "new\nline"}, Env: []string{"X=\xc0", "EMPTY=", ""}, Dir: "/tmp"},
		{Argv: strings.Split(strings.Repeat("argument ", 10_000), " ")},
	} {
		b, err := encodeCommand(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("it differs (-want +got):\n%s", diff)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add([]byte(`{"op":"ready"}`))
	f.Add([]byte(`{"op":"start","token":"` + someToken + `"}`))
	f.Add([]byte(`{"op":"ended","token":"` + someToken + `","exit":{"process":{"pid":7},"wait":139,"at":"2030-01-01T00:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b)
		if err != nil {
			return
		}
		if m.Token != "" && strings.ContainsAny(m.Token, "/.\x00") && m.Op != opReady && m.Op != opHello {
			t.Errorf("a token that is a path: %q", m.Token)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeMessage(again); err != nil {
			t.Errorf("%+v is not understood: %v", m, err)
		}
	})
}

func FuzzDecodeCommand(f *testing.F) {
	b, _ := encodeCommand(process.Command{Argv: []string{"a", "b"}, Env: []string{"X=1"}, Dir: "/"})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCommand(b); err == nil && len(c.Argv) == 0 {
			t.Error("a command without a program")
		}
	})
}

// A file that an older reaper wrote is read, and one that a newer one wrote is read
// by older runners, which ignore what they do not know.
func TestExitsOfOlderReapers(t *testing.T) {
	e, err := decodeExit([]byte(`{"process":{"pid":7,"start_time":9,"epoch":"e"},"wait":1792,"at":"2030-01-01T00:00:00Z"}`))
	if err != nil || e.Status().Code != 7 || e.Used != nil || e.Lived != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = decodeExit([]byte(`{"process":{"pid":7,"start_time":9,"epoch":"e"},"wait":9,"at":"2030-01-01T00:00:00Z","lived":"1.5s","used":{"user":"20ms","system":"3ms","peak_memory":4096},"later":{"x":1}}`))
	want := contracts.Resources{User: contracts.Duration(20 * time.Millisecond), System: contracts.Duration(3 * time.Millisecond), PeakMemory: 4096}
	if err != nil || e.Lived.D() != 1500*time.Millisecond || e.Used == nil || *e.Used != want {
		t.Errorf("%+v, %v", e, err)
	}
}

func FuzzDecodeExit(f *testing.F) {
	b, _ := json.Marshal(Exit{Process: process.Identity{PID: 7, StartTime: 9, Epoch: "e"}, Wait: 7 << 8, At: time.Unix(1, 0).UTC()})
	f.Add(b)
	f.Add([]byte(`{"process":{"pid":7,"start_time":9,"epoch":"e"},"wait":9,"at":"2030-01-01T00:00:00Z","lived":"1.5s","used":{"user":"20ms","system":"3ms","peak_memory":4096}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeExit(b)
		if err == nil && (e.Process.PID <= 0 || e.At.IsZero() || !e.Status().Known) {
			t.Errorf("%+v", e)
		}
	})
}
