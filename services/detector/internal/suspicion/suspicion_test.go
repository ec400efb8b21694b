package suspicion

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

var algorithms = []Algorithm{Tail, Normal, Fixed}

// grown is an estimator that has seen some life.
func grown(t *rapid.T, a Algorithm) Estimator {
	interval := time.Duration(rapid.Int64Range(int64(MinInterval), int64(time.Minute)).Draw(t, "interval"))
	e := New(Settings{Algorithm: a}, interval)
	base := interval
	for range rapid.IntRange(0, 300).Draw(t, "beats") {
		gap := time.Duration(float64(base) * rapid.Float64Range(0, 4).Draw(t, "gap"))
		e.Observe(gap, rapid.IntRange(0, 3).Draw(t, "lost"))
	}
	if rapid.Bool().Draw(t, "declares") {
		e.Declare(time.Duration(rapid.Int64Range(-5, int64(time.Hour)).Draw(t, "declared")))
	}
	return e
}

// Phi is finite, not negative and never falls as silence grows.
func TestPhiGrowsWithSilence(t *testing.T) {
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			property.Check(t, func(t *rapid.T) {
				e := grown(t, a)
				before := -1.0
				for silence := time.Duration(0); silence < 400*e.Interval(); silence += 1 + e.Interval()/7 {
					phi := e.Phi(silence)
					if math.IsNaN(phi) || math.IsInf(phi, 0) || phi < 0 || phi > MaxPhi {
						t.Fatalf("phi(%s) = %g", silence, phi)
					}
					if phi < before {
						t.Fatalf("phi fell from %g to %g at %s", before, phi, silence)
					}
					before = phi
				}
				if _, err := json.Marshal(e.Phi(1 << 62)); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// Crossing is where Phi reaches the level, and not later than needed.
func TestCrossingIsTheInverseOfPhi(t *testing.T) {
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			property.Check(t, func(t *rapid.T) {
				e := grown(t, a)
				level := rapid.Float64Range(0.3, 30).Draw(t, "level")
				at := e.Crossing(level)
				if at == forever {
					return
				}
				if phi := e.Phi(at); phi < level-1e-6 {
					t.Fatalf("phi at the crossing %s of %g is only %g", at, level, phi)
				}
				early := at - at/10_000 - 2
				if phi := e.Phi(early); phi > level+1e-3 {
					t.Fatalf("phi is already %g at %s, before the crossing %s of %g", phi, early, at, level)
				}
			})
		})
	}
}

// Soon is what Crossing was at most a sixteenth of the gaps ago.
func TestSoonIsCrossingAMomentAgo(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		b := NewBank(Settings{})
		b.Open(3, time.Second)
		jitter := rapid.Float64Range(0, 0.2).Draw(t, "jitter")
		loss := rapid.IntRange(2, 100).Draw(t, "loss")
		var exact []time.Duration
		for i := range rapid.IntRange(50, 1000).Draw(t, "beats") {
			gap := 1 + jitter*float64(i*7919%101)/101
			if i%loss == 1 {
				gap++
			}
			b.Observe(3, time.Duration(gap*float64(time.Second)), 1)
			exact = append(exact, b.Crossing(3, 2.15))
			soon := b.Soon(3, 2.15)
			if !slices.ContainsFunc(exact[i-i/16:], func(d time.Duration) bool { return (soon - d).Abs() < d/10 }) {
				t.Fatalf("after %d gaps: soon %s, exactly %s", i+1, soon, exact[i-i/16:])
			}
		}
	})
}

func TestHigherLevelsCrossLater(t *testing.T) {
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			property.Check(t, func(t *rapid.T) {
				e := grown(t, a)
				x := rapid.Float64Range(0, 20).Draw(t, "x")
				y := rapid.Float64Range(0, 20).Draw(t, "y")
				if x > y {
					x, y = y, x
				}
				if e.Crossing(x) > e.Crossing(y) {
					t.Fatalf("level %g crosses at %s, after level %g at %s", x, e.Crossing(x), y, e.Crossing(y))
				}
			})
		})
	}
}

// The tail of the normal distribution against published values and against the
// asymptotic formula far out.
func TestTailLevel(t *testing.T) {
	for _, c := range []struct{ z, want float64 }{
		{0, 0.30103},
		{1.2815515655446004, 1},
		{2.326347874040841, 2},
		{5.612001244174789, 8},
		{-40, 0},
		{20, 88.55999},
		{30, 197.309209},
		{1e3, 217150.641},
		{1e9, 2.1714724095162588e17},
	} {
		if got := tailLevel(c.z); math.Abs(got-c.want) > 1e-4*max(c.want, 1) {
			t.Errorf("tailLevel(%g) = %g, want %g", c.z, got, c.want)
		}
	}
	if a, b := tailLevel(10-1e-9), tailLevel(10); math.Abs(a-b) > 1e-5 {
		t.Errorf("the formulas do not meet at 10: %g and %g", a, b)
	}
}

func TestNormalBoundsItsDeviation(t *testing.T) {
	regular := New(Settings{Algorithm: Normal}, time.Second)
	wild := New(Settings{Algorithm: Normal}, time.Second)
	for i := range 200 {
		regular.Observe(time.Second, 1)
		wild.Observe(time.Duration(i%20)*(time.Second/8), 1)
	}
	wild.Observe(time.Hour, 1)
	if at := regular.Crossing(8); at < 1250*time.Millisecond || at > 1300*time.Millisecond {
		t.Errorf("a regular agent is suspected at %s", at)
	}
	if at, most := wild.Crossing(8), time.Duration(6.7*float64(wild.Interval())); at > most {
		t.Errorf("a wild agent is suspected only at %s, over %s", at, most)
	}
	if regular.Samples() != 100 {
		t.Errorf("the window holds %d gaps, want 100", regular.Samples())
	}
}

// A window that slides keeps exact sums.
func TestNormalSumsStayExact(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		n := newNormal(Settings{Window: rapid.IntRange(1, 20).Draw(t, "window")}, time.Second)
		for range rapid.IntRange(1, 100).Draw(t, "beats") {
			n.Observe(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "gap")), 1)
		}
		var sum, squares uint64
		for _, g := range n.ring {
			sum += uint64(g)
			squares += square(g)
		}
		if sum != n.sum || squares != n.squares {
			t.Fatalf("sums %d and %d, want %d and %d", n.sum, n.squares, sum, squares)
		}
	})
}

// What an operator sees of tail with its default threshold.
func TestTailDeadlines(t *testing.T) {
	feed := func(n int, gaps ...float64) Estimator {
		e := New(Settings{}, time.Second)
		for i := range n {
			e.Observe(time.Duration(gaps[i%len(gaps)]*float64(time.Second)), 1)
		}
		return e
	}
	for _, c := range []struct {
		name     string
		e        Estimator
		from, to float64 // intervals
	}{
		{"newborn", feed(0), 5, 6},
		{"after 20 beats", feed(20, 1), 3.5, 4.5},
		{"regular, 100,000 beats", feed(100_000, 1), 1, 1.1},
		{"jitter of 30 %", feed(50_000, 0.7, 1.3), 1.3, 2},
		{"every 5th beat lost", feed(50_000, 1, 1, 1, 2), 2, 8},
	} {
		if at := c.e.Crossing(5).Seconds(); at < c.from || at > c.to {
			t.Errorf("%s: suspected after %.3f intervals, want %g to %g", c.name, at, c.from, c.to)
		}
	}
}

func TestTailFollowsAStep(t *testing.T) {
	e := New(Settings{}, time.Second)
	for range 1000 {
		e.Observe(time.Second, 1)
	}
	for range 1000 {
		e.Observe(3*time.Second, 1)
	}
	if i := e.Interval(); i < 2900*time.Millisecond || i > 3100*time.Millisecond {
		t.Errorf("the running interval is %s, want 3s", i)
	}
}

func TestTailCountersDoNotOverflow(t *testing.T) {
	e := New(Settings{}, time.Second)
	for i := range 1_000_000 {
		e.Observe(time.Second+time.Duration(i%2)*3*time.Millisecond, 1)
	}
	if n := e.Samples(); n < agedSamples/4 || n > agedSamples {
		t.Errorf("%d samples after a million beats", n)
	}
	if at := e.Crossing(5); at > 1100*time.Millisecond {
		t.Errorf("suspected only after %s", at)
	}
}

func TestParseAlgorithm(t *testing.T) {
	for name, want := range map[string]Algorithm{"": Tail, "tail": Tail, "Normal": Normal, "fixed": Fixed} {
		if got, err := ParseAlgorithm(name); err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if _, err := ParseAlgorithm("phi"); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("phi: %v", err)
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, a := range algorithms {
		b.Run(string(a), func(b *testing.B) {
			e := New(Settings{Algorithm: a}, time.Second)
			for i := range b.N {
				e.Observe(time.Second+time.Duration(i%64)*time.Millisecond, 1)
			}
		})
	}
}

func BenchmarkCrossing(b *testing.B) {
	for _, a := range algorithms {
		b.Run(string(a), func(b *testing.B) {
			e := New(Settings{Algorithm: a}, time.Second)
			for i := range 10_000 {
				e.Observe(time.Second+time.Duration(i%64)*time.Millisecond, 1)
			}
			for b.Loop() {
				e.Crossing(5)
			}
		})
	}
}
