package lease

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// A lease that can be read says the same when it is written again; what cannot
// be read names nobody.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"tree":"main","holder":"supervisor-1","session":"s","released":true}`))
	f.Add([]byte(`{"released":"yes","holder":"x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := decode(value)
		if err != nil {
			if rec != (record{}) {
				t.Fatalf("%v, and yet %+v", err, rec)
			}
			return
		}
		again, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := decode(again); err != nil || read != rec {
			t.Fatalf("%+v became %+v, %v", rec, read, err)
		}
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1e9, 0)
	type seen struct {
		after                time.Duration
		revision, reconnects uint64
	}
	for _, c := range []struct {
		name    string
		seen    []seen
		at      time.Duration
		expired bool
		alive   bool
	}{
		{"nothing seen", nil, time.Hour, false, false},
		{"first look", []seen{{0, 7, 0}}, 0, false, false},
		{"just before its end", []seen{{0, 7, 0}}, TTL - 1, false, false},
		{"its end", []seen{{0, 7, 0}}, TTL, true, false},
		{"renewed", []seen{{0, 7, 0}, {time.Second, 8, 0}}, TTL, false, true},
		{"renewed, and then no more", []seen{{0, 7, 0}, {time.Second, 8, 0}}, TTL + time.Second, true, true},
		{"looked at again and again", []seen{{0, 7, 0}, {time.Second, 7, 0}}, TTL, true, false},
		{"after an outage", []seen{{0, 7, 0}, {time.Minute, 7, 1}}, time.Minute + TTL - 1, false, false},
		{"long after an outage", []seen{{0, 7, 0}, {time.Minute, 7, 1}}, time.Minute + TTL, true, false},
		{"a new bucket counts from the beginning", []seen{{0, 7, 0}, {time.Second, 1, 0}}, TTL, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var j expiry
			for _, s := range c.seen {
				j.observe(s.revision, s.reconnects, begin.Add(s.after))
			}
			if got := j.expired(begin.Add(c.at)); got != c.expired {
				t.Errorf("expired: %t", got)
			}
			if got := j.alive(); got != c.alive {
				t.Errorf("alive: %t", got)
			}
		})
	}
}

// A holder that renews in time is never taken for gone, whenever others look;
// and one that stops is, within TTL and one look.
func TestExpiryIsPatientAndPrompt(t *testing.T) {
	t.Parallel()
	property.Check(t, func(t *rapid.T) {
		var j expiry
		now := time.Unix(1e9, 0)
		written, last := uint64(1), now
		stops := rapid.IntRange(0, 40).Draw(t, "stops after")
		for i := range 60 {
			step := time.Duration(rapid.Int64Range(1, int64(2*pollEvery)).Draw(t, "look"))
			now = now.Add(step)
			for i < stops && now.Sub(last) >= renewEvery {
				written, last = written+1, last.Add(renewEvery)
			}
			j.observe(written, 0, now)
			if j.expired(now) && now.Sub(last) < TTL {
				t.Fatalf("given up %s after its renewal", now.Sub(last))
			}
			if !j.expired(now) && now.Sub(last) > TTL+4*pollEvery {
				t.Fatalf("still waited for %s after its last renewal", now.Sub(last))
			}
		}
	})
}
