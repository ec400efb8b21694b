package config

import (
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// RestartPolicy bounds restarts in a sliding window and spaces them. The delay
// before the first restart is Delay; later ones follow Backoff.
type RestartPolicy struct {
	// MaxRestarts within TimeWindow are allowed; one more exceeds the limit.
	MaxRestarts int
	TimeWindow  time.Duration
	Delay       time.Duration
	Backoff     Backoff
	// ResetAfter is how long a child must have run for its next delay to be
	// the first again. Zero: never.
	ResetAfter time.Duration
}

// Delays are the waits between the restarts of a child with this policy.
func (p RestartPolicy) Delays() backoff.Delays {
	return backoff.Delays{
		Type: backoff.Type(p.Backoff.Type), Delay: p.Delay, Increment: p.Backoff.Increment,
		Base: p.Backoff.Base, Max: p.Backoff.MaxDelay, Jitter: p.Backoff.Jitter, Reset: p.ResetAfter,
	}
}

// Backoff says how the delay grows from one restart to the next.
type Backoff struct {
	Type BackoffType
	// Increment is added each time (linear).
	Increment time.Duration
	// Base multiplies each time (exponential).
	Base float64
	// MaxDelay caps the delay, jitter included (linear, exponential,
	// fibonacci).
	MaxDelay time.Duration
	// Jitter is the share by which a delay may vary up and down, 0 to 1.
	Jitter float64
}
