package replay

import (
	"errors"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPaceSpeeds(t *testing.T) {
	for speed, valid := range map[float64]bool{
		0: true, 1: true, 0.001: true, 1e6: true, 10.5: true,
		-1: false, 0.0001: false, 2e6: false, math.NaN(): false, math.Inf(1): false, math.Inf(-1): false,
	} {
		if _, err := NewPace(speed); (err == nil) != valid || err != nil && !errors.Is(err, ErrSpeed) {
			t.Errorf("speed %v: %v", speed, err)
		}
	}
}

// TestPaceKeepsTime: whatever the sender's own delays, an event is due when the
// scaled time since the first has passed, and waits never build up.
func TestPaceKeepsTime(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		speed := rapid.SampledFrom([]float64{0.001, 0.5, 1, 3, 1000}).Draw(t, "speed")
		p, err := NewPace(speed)
		if err != nil {
			t.Fatal(err)
		}
		stored, begin := time.Unix(1e9, 0), time.Unix(2e9, 0)
		now, first := begin, stored
		for i := range rapid.IntRange(1, 20).Draw(t, "events") {
			wait := p.Due(stored, now)
			if i == 0 && wait != 0 || wait < 0 {
				t.Fatalf("event %d waits %s", i, wait)
			}
			now = now.Add(wait)
			due := begin.Add(time.Duration(float64(stored.Sub(first)) / speed))
			if now.Before(due.Add(-time.Microsecond)) {
				t.Fatalf("event %d is early by %s", i, due.Sub(now))
			}
			if wait > 0 && now.After(due.Add(time.Microsecond)) {
				t.Fatalf("event %d is late by %s", i, now.Sub(due))
			}
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "delay")))
			stored = stored.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "gap")))
		}
	})
}

func TestPaceFarApart(t *testing.T) {
	p, err := NewPace(MinSpeed)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(2e9, 0)
	p.Due(time.Unix(0, 0), now)
	if wait := p.Due(time.Unix(0, 0).Add(200*365*24*time.Hour), now); wait <= 0 {
		t.Errorf("overflow: %s", wait)
	}
}
