package fleet

import (
	"testing"
	"time"
)

// An agent promises ten minutes of work without progress; in the middle of it
// somebody's wall clock is set. It is taken for hung when the ten minutes are
// over, neither earlier nor later.
func TestWallClockStepsAmidAPromise(t *testing.T) {
	for _, step := range []time.Duration{-24 * time.Hour, -3 * time.Hour, -7 * time.Minute, 0, 7 * time.Minute, 3 * time.Hour, 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			w := newWorld(t, Config{})
			w.live(beatOf("a"), 30)
			const noon = 12 * time.Hour // by the wall clock when w.now was 0
			wall := func(stepped bool) time.Duration {
				if stepped {
					return noon + w.now + step
				}
				return noon + w.now
			}
			promised := w.now
			until := wall(false) + 10*time.Minute
			beat := func(stepped bool) {
				b := beatOf("a")
				b.Busy, b.Promise, b.Progress = true, until.Microseconds(), 7
				b.BusyUntil = w.now + until - wall(stepped)
				w.beat(b)
				w.run(time.Second)
			}
			w.found = nil
			for w.now < promised+8*time.Minute {
				beat(false)
			}
			for w.now < promised+10*time.Minute {
				beat(true)
			}
			w.expect()
			for w.now < promised+10*time.Minute+5*time.Second {
				beat(true)
			}
			w.expect("failed a/0 hung progress", "a unhealthy")
			// A promise by the new time of day is understood as such.
			until = wall(true) + time.Minute
			w.run(0)
			b := beatOf("a")
			b.Busy, b.Promise, b.BusyUntil, b.Progress = true, until.Microseconds(), w.now+time.Minute, 8
			w.beat(b)
			w.expect("recovered a/0", "a healthy")
		})
	}
}
