package backoff

import (
	"testing"
	"time"
)

func TestDelays(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		b    Delays
		want []time.Duration
	}{
		{"none", Delays{}, []time.Duration{0, 0, 0}},
		{"fixed", Delays{Type: Fixed, Delay: 100 * ms}, []time.Duration{100 * ms, 100 * ms, 100 * ms}},
		{"linear", Delays{Type: Linear, Delay: 100 * ms, Increment: 50 * ms, Max: 190 * ms}, []time.Duration{100 * ms, 150 * ms, 190 * ms}},
		{"exponential", Delays{Type: Exponential, Delay: 100 * ms, Base: 1.5, Max: 300 * ms}, []time.Duration{100 * ms, 150 * ms, 225 * ms, 300 * ms, 300 * ms}},
		{"fibonacci", Delays{Type: Fibonacci, Delay: 500 * ms, Max: 3 * time.Second}, []time.Duration{500 * ms, 500 * ms, time.Second, 1500 * ms, 2500 * ms, 3 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n, want := range c.want {
				if got := c.b.Wait(n, 1); got != want {
					t.Errorf("restart %d waits %s, want %s", n, got, want)
				}
			}
			if got := c.b.Wait(1_000_000, 1); got < 0 || got > Longest {
				t.Errorf("restart 1,000,000 waits %s", got)
			}
		})
	}
	j := Delays{Type: Exponential, Delay: 100 * ms, Base: 2, Max: time.Second, Jitter: 0.2}
	seen := map[time.Duration]bool{}
	for seed := range uint64(1000) {
		d := j.Wait(0, seed)
		if d < 80*ms || d > 120*ms || d != j.Wait(0, seed) {
			t.Fatalf("seed %d: %s", seed, d)
		}
		seen[d] = true
		if j.Wait(30, seed) > time.Second {
			t.Fatalf("seed %d: jitter exceeds the cap", seed)
		}
	}
	if len(seen) < 900 {
		t.Errorf("jitter gives only %d different delays of 1000", len(seen))
	}
}

// TestPlaceOfTheJitter: the shortest and longest delay bound those of every seed,
// and nothing multiplied is nothing, however often.
func TestPlaceOfTheJitter(t *testing.T) {
	t.Parallel()
	d := Delays{Type: Exponential, Delay: 100 * time.Millisecond, Base: 2, Max: time.Second, Jitter: 0.5}
	for n, want := range [][3]time.Duration{{50, 100, 150}, {100, 200, 300}, {200, 400, 600}, {400, 800, 1000}} {
		for i, place := range []float64{-1, 0, 1} {
			if got := d.WaitAt(n, place); got != want[i]*time.Millisecond {
				t.Errorf("restart %d at %v waits %s, want %d ms", n, place, got, want[i])
			}
		}
		for seed := range uint64(1000) {
			if got := d.Wait(n, seed); got < d.WaitAt(n, -1) || got > d.WaitAt(n, 1) {
				t.Fatalf("restart %d of seed %d waits %s", n, seed, got)
			}
		}
	}
	for _, typ := range []Type{Exponential, Fibonacci} {
		if got := (Delays{Type: typ, Base: 100, Jitter: 0.1}).Wait(1_000_000, 1); got != 0 {
			t.Errorf("%s: nothing multiplied waits %s", typ, got)
		}
	}
}
