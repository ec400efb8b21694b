package main

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

var moments = []string{
	"now", "0", "4711", "18446744073709551616", "10m", "-10m", "2562047h47m16.854775807s", "+1h", "1e3s",
	"2026-01-02T15:04:05Z", "2026-01-02T15:04:05.123456789+23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "yesterday", "",
}

// A moment that is taken is one that can be asked for: a time that was given,
// or one in the past.
func FuzzMoment(f *testing.F) {
	for _, s := range moments {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m moment
		if m.UnmarshalText([]byte(text)) != nil {
			return
		}
		if m.ptr() == nil {
			t.Fatalf("%q is as if it had been left out", text)
		}
		if _, err := json.Marshal(m.ptr()); err != nil {
			t.Fatalf("%q cannot be asked for: %v", text, err)
		}
		if given, err := time.Parse(time.RFC3339Nano, text); err == nil && !m.Equal(given) || err != nil && m.After(time.Now()) {
			t.Fatalf("%q became %s", text, m)
		}
	})
}

// A place is a time or a sequence, and only now is neither.
func FuzzPlace(f *testing.F) {
	for _, s := range moments {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p place
		if p.UnmarshalText([]byte(text)) != nil {
			return
		}
		if p.At != nil && p.Sequence > 0 || (p.moment() == contracts.Moment{}) != (text == "now") {
			t.Fatalf("%q became %+v", text, p.moment())
		}
		if p.Sequence > 0 {
			if n, err := strconv.ParseUint(text, 10, 64); err != nil || n != p.Sequence {
				t.Fatalf("%q became sequence %d", text, p.Sequence)
			}
		}
	})
}

// Two moments are taken where each of them is.
func FuzzSpan(f *testing.F) {
	for i, s := range moments {
		f.Add(s, moments[(i+1)%len(moments)])
	}
	f.Add("10m", "now")
	f.Fuzz(func(t *testing.T, from, to string) {
		var s span
		if s.Decode(&kong.DecodeContext{Scan: kong.Scan(from, to)}) != nil {
			return
		}
		for text, got := range map[string]place{from: s.From, to: s.To} {
			var alone place
			if err := alone.UnmarshalText([]byte(text)); err != nil {
				t.Fatalf("%q %q: %v", from, to, err)
			}
			if alone.Sequence != got.Sequence || (alone.At == nil) != (got.At == nil) {
				t.Fatalf("%q became %+v, and alone %+v", text, got.Moment, alone.Moment)
			}
		}
	})
}
