package fleet

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// fleetOf lets agents of a type grow up together, each losing every nth beat.
func fleetOf(w *world, typ string, agents, beats, lost int) {
	for n := range beats {
		for i := range agents {
			if lost > 0 && (n+i)%lost == 0 {
				continue
			}
			b := beatOf(fmt.Sprint(typ, i))
			b.Seq, b.About.Type = uint64(n+1), typ
			w.beat(b)
		}
		w.run(time.Second)
	}
}

// found is after how many intervals the death of a new agent is found that
// beat so many times.
func found(w *world, typ string, beats int) (intervals float64, by Rule) {
	b := beatOf("new")
	b.Seq, b.About.Type = 1, typ
	for range beats {
		w.beat(b)
		b.Seq++
		w.run(time.Second)
	}
	w.run(30 * time.Second)
	e := w.last(Failed).Evidence
	return e.Elapsed.Seconds(), e.Rule
}

func TestNewAgentsAreLikeOthersOfTheirType(t *testing.T) {
	for _, c := range []struct {
		name       string
		agents     int
		lost       int
		typ        string
		from, to   float64
		by         Rule
		afterBeats int
	}{
		{"alone", 0, 0, "worker", 2.9, 3.1, RuleMissedBeats, 3},
		{"among regular ones", 20, 0, "worker", 1.4, 2, RuleType, 3},
		{"among regular ones, later", 20, 0, "worker", 1.4, 2.2, RulePhi, 20},
		{"among some that lose every 4th beat", 20, 4, "worker", 2, 2.5, RuleType, 3},
		{"among too few", 2, 0, "worker", 2.9, 3.1, RuleMissedBeats, 3},
		{"of another type", 20, 0, "poet", 2.9, 3.1, RuleMissedBeats, 3},
		{"of no type", 20, 0, "", 2.9, 3.1, RuleMissedBeats, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Config{})
			fleetOf(w, "worker", c.agents, 400, c.lost)
			at, by := found(w, c.typ, c.afterBeats)
			if at < c.from || at > c.to || by != c.by {
				t.Errorf("found after %.2f intervals by %s, want %g to %g by %s", at, by, c.from, c.to, c.by)
			}
		})
	}
}

func TestPriorsAreBounded(t *testing.T) {
	w := newWorld(t, Config{})
	for range 3 {
		for i := range maxPriors + 50 {
			b := beatOf(fmt.Sprint("a", i))
			b.About.Type = fmt.Sprint("t", i)
			w.beat(b)
		}
		w.run(time.Second)
	}
	if n := len(w.f.priors); n != maxPriors {
		t.Errorf("%d types remembered", n)
	}
}

// The blend lies between what it blends, and grows with both.
func TestYounger(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		own := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "own"))
		taught := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "taught"))
		n := rapid.IntRange(0, youth).Draw(t, "samples")
		at := younger(own, taught, n)
		slack := time.Duration(float64(max(own, taught))/1e6) + 2
		if at < min(own, taught)-slack || at > max(own, taught)+slack {
			t.Fatalf("%s of %s and %s after %d", at, own, taught, n)
		}
		if more := younger(own*2, taught, n); more < at-slack {
			t.Fatalf("a later own limit makes it earlier: %s, %s", at, more)
		}
	})
}
