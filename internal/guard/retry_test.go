package guard

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/property"
)

// Every delay lies within the jitter of its nominal value and below the
// maximum.
func TestDelaysStayInBounds(t *testing.T) {
	t.Parallel()
	property.Check(t, func(t *rapid.T) {
		o := config.Retry{
			InitialDelay: time.Duration(rapid.IntRange(1, 1000).Draw(t, "initial")) * time.Millisecond,
			Base:         rapid.Float64Range(1, 3).Draw(t, "base"),
			Jitter:       rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		o.MaxDelay = o.InitialDelay + time.Duration(rapid.IntRange(0, 10_000).Draw(t, "more"))*time.Millisecond
		d := delays(o)
		d.Reset()
		nominal := float64(o.InitialDelay)
		for i := range 12 {
			got := d.NextBackOff()
			low := time.Duration(nominal*(1-o.Jitter)) - time.Microsecond
			high := min(time.Duration(nominal*(1+o.Jitter))+time.Microsecond, o.MaxDelay)
			if got < low || got > high {
				t.Fatalf("delay %d is %v, not within [%v, %v]", i, got, low, high)
			}
			nominal = min(math.Trunc(nominal*o.Base), float64(o.MaxDelay)) // whole nanoseconds
		}
	})
}
