package wheel

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

const tick = time.Millisecond

// The wheel against a map: every deadline fires at its own tick, once, not
// before it and not after a later one.
func TestAgainstAModel(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		w := New(tick)
		model := map[uint32]time.Duration{}
		now := time.Duration(0)
		// Spans from under a tick to beyond the second level.
		span := rapid.Custom(func(t *rapid.T) time.Duration {
			unit := rapid.SampledFrom([]time.Duration{time.Microsecond, tick, 300 * tick, 70_000 * tick}).Draw(t, "unit")
			return time.Duration(rapid.Int64Range(0, 700).Draw(t, "units")) * unit
		})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			e := uint32(rapid.IntRange(0, 20).Draw(t, "entry"))
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				at := now + span.Draw(t, "in") - 3*tick
				w.Set(e, at)
				model[e] = max((at+tick-1)/tick, now/tick+1) * tick
			case 2:
				w.Clear(e)
				delete(model, e)
			case 3:
				now += span.Draw(t, "by")
				last := time.Duration(0)
				w.Advance(now, func(e uint32) {
					at, ok := model[e]
					if !ok || at > now || at < last {
						t.Fatalf("entry %d fired at %s: due %s (set: %v), the one before was due %s", e, now, at, ok, last)
					}
					last = at
					delete(model, e)
				})
			}
			for e, at := range model {
				if at <= now {
					t.Fatalf("entry %d, due %s, did not fire until %s", e, at, now)
				}
				if got, ok := w.Due(e); !ok || got != at {
					t.Fatalf("entry %d is due %s (set: %v), want %s", e, got, ok, at)
				}
			}
			if w.Len() != len(model) {
				t.Fatalf("%d entries, want %d", w.Len(), len(model))
			}
		}
	})
}

// What fires may set itself and others again, and clear those due at the same
// tick.
func TestFireMaySetAndClear(t *testing.T) {
	w := New(tick)
	var fired []uint32
	w.Set(1, 5*tick)
	w.Set(2, 5*tick)
	w.Advance(8*tick, func(e uint32) {
		fired = append(fired, e)
		w.Clear(3 - e)
		if len(fired) < 3 {
			w.Set(e, 0)
		}
	})
	if len(fired) != 3 || fired[0] != fired[2] {
		t.Errorf("fired %v, want the same entry three times", fired)
	}
	if w.Len() != 0 {
		t.Errorf("%d entries left", w.Len())
	}
}

func TestFarDeadlines(t *testing.T) {
	for _, in := range []time.Duration{time.Hour, 49 * 24 * time.Hour, 365 * 24 * time.Hour, 60 * 365 * 24 * time.Hour} {
		w := New(tick)
		start := 12345678 * tick
		w.Advance(start, nil)
		w.Set(7, start+in)
		fired := time.Duration(0)
		for now := start; now < start+in+in/32; now += in / 64 {
			w.Advance(now, func(uint32) { fired = now })
		}
		if fired < start+in || fired > start+in+in/32 {
			t.Errorf("due in %s, fired after %s", in, fired-start)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	w := New(tick)
	now := time.Duration(0)
	for i := range b.N {
		w.Set(uint32(i%100_000), now+time.Duration(i%5000)*tick)
		if i%1000 == 0 {
			now += tick
			w.Advance(now, func(uint32) {})
		}
	}
}
