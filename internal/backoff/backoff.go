// Package backoff computes the delays between the restarts of one child. The
// supervisor waits by it, and the lint computes its figures from it, so that
// both agree.
package backoff

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Type says how the delay grows from one restart to the next.
type Type string

// Types of growth. Empty means Fixed.
const (
	Fixed       Type = "fixed"
	Linear      Type = "linear"
	Exponential Type = "exponential"
	Fibonacci   Type = "fibonacci"
)

// Delays spaces the restarts of a child. The zero value restarts at once.
type Delays struct {
	Type Type `json:"type,omitempty"`
	// Delay is the wait before the first restart.
	Delay time.Duration `json:"delay,omitempty"`
	// Increment is added each time (linear).
	Increment time.Duration `json:"increment,omitempty"`
	// Base multiplies each time (exponential).
	Base float64 `json:"base,omitempty"`
	// Max caps the delay, jitter included; 0 means no cap.
	Max time.Duration `json:"max,omitempty"`
	// Jitter is the share by which a delay varies up and down, 0 to 1.
	Jitter float64 `json:"jitter,omitempty"`
	// Reset is how long a node must have run for its next restart to count as
	// the first again; 0 means never.
	Reset time.Duration `json:"reset,omitempty"`
}

// Longest bounds every delay: sums of instants and delays stay far from overflow.
const Longest = 100 * 365 * 24 * time.Hour

// Wait returns the delay before restart n (0 is the first). Seed chooses the
// jitter: the same seed and n always give the same delay.
func (b Delays) Wait(n int, seed uint64) time.Duration {
	if b.Jitter == 0 {
		return b.WaitAt(n, 0)
	}
	return b.WaitAt(n, 2*unit(seed, n)-1)
}

// WaitAt returns the delay before restart n (0 is the first) for a place within
// the range of the jitter: -1 is the shortest delay, 0 the middle, 1 the longest.
func (b Delays) WaitAt(n int, place float64) time.Duration {
	d := float64(b.Delay)
	switch {
	case b.Type == Linear:
		d += float64(n) * float64(b.Increment)
	case d == 0: // growth by a factor leaves nothing at nothing, even if the factor overflows
	case b.Type == Exponential:
		d *= math.Pow(b.Base, float64(n))
	case b.Type == Fibonacci:
		d *= fibonacci(n + 1)
	}
	if b.Jitter > 0 {
		d *= 1 + b.Jitter*place
	}
	limit := float64(Longest)
	if b.Max > 0 {
		limit = float64(b.Max)
	}
	return time.Duration(max(0, min(d, limit)))
}

// fibonacci returns 1, 1, 2, 3, 5, … for n = 1, 2, 3, 4, 5, ….
func fibonacci(n int) float64 {
	a, b := 0.0, 1.0
	for range min(n, 1000) {
		a, b = b, a+b
	}
	return a
}

// unit spreads seed and n evenly over [0, 1).
func unit(seed uint64, n int) float64 {
	x := seed + uint64(n)*0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return float64((x^x>>31)>>11) / (1 << 53)
}

// Validate reports everything that is wrong with the backoff.
func (b Delays) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch b.Type {
	case "", Fixed, Linear, Fibonacci:
	case Exponential:
		if !(b.Base >= 1 && b.Base <= 1000) {
			add("base: %v is outside 1 to 1000", b.Base)
		}
	default:
		add("type: %.32q; use fixed, linear, exponential or fibonacci", string(b.Type))
	}
	if b.Delay < 0 || b.Increment < 0 || b.Max < 0 || b.Reset < 0 {
		add("restart_delay, increment, max_delay and reset: must not be negative")
	}
	if !(b.Jitter >= 0 && b.Jitter <= 1) {
		add("jitter: %v is outside 0 to 1", b.Jitter)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("backoff: %w", err)
	}
	return nil
}
