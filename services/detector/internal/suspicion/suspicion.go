// Package suspicion says how suspicious the silence of one agent is.
//
// The level is phi = -log10(P(gap > silence)): the probability that the next
// heartbeat of a living agent would still be on its way after that much
// silence. An [Estimator] learns that distribution from the agent's own gaps
// and answers both questions a detector has: how suspicious is this silence
// (Phi), and how long must it last to be that suspicious (Crossing).
//
// A [Bank] holds the estimators of very many agents in little memory; [New]
// makes a single one.
//
// Everything here is pure: no clock, no locks, no goroutines. Durations in,
// numbers out. An Estimator serves one agent and one caller at a time.
package suspicion

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// MaxPhi is the largest level ever reported, so that a level is always a
// finite number that JSON can carry.
const MaxPhi = 1000.0

// Limits of a believable interval between two heartbeats.
const (
	MinInterval = time.Millisecond
	MaxInterval = 24 * time.Hour
)

// Estimator learns one agent's gaps between heartbeats and rates its silence.
type Estimator interface {
	// Declare sets the interval at which the agent says it beats. What was
	// learned is rescaled to it.
	Declare(interval time.Duration)
	// Observe learns one gap between two heartbeats, in which beats
	// heartbeats were sent (1 unless some were lost on the way).
	Observe(gap time.Duration, beats int)
	// Phi is the level after that much silence: finite, at least 0, and never
	// falling as the silence grows.
	Phi(silence time.Duration) float64
	// Crossing is the silence at which Phi reaches the level.
	Crossing(phi float64) time.Duration
	// Interval is the expected gap.
	Interval() time.Duration
	// Samples is how many gaps the estimate rests on.
	Samples() int
}

// Algorithm names a way to estimate P(gap > silence).
type Algorithm string

// The algorithms.
const (
	// Tail is the agent's own empirical tail, normalised by its own interval,
	// with a heavy-tailed prior until there is evidence.
	Tail Algorithm = "tail"
	// Normal is the normal distribution of Hayashibara et al., "The phi
	// accrual failure detector" (2004).
	Normal Algorithm = "normal"
	// Fixed counts missed beats: phi is the silence in declared intervals.
	Fixed Algorithm = "fixed"
)

// ErrAlgorithm is wrapped by what ParseAlgorithm returns for unknown names.
var ErrAlgorithm = errors.New("unknown suspicion algorithm")

// ParseAlgorithm reads an algorithm's name; the empty name is Tail.
func ParseAlgorithm(s string) (Algorithm, error) {
	switch a := Algorithm(strings.ToLower(s)); a {
	case "":
		return Tail, nil
	case Tail, Normal, Fixed:
		return a, nil
	}
	return "", fmt.Errorf("%w %q: use tail, normal or fixed", ErrAlgorithm, s)
}

// DefaultThreshold is the level at which the algorithm's verdicts are as rare
// as an operator expects. missedBeats is the fixed rule's own number.
func (a Algorithm) DefaultThreshold(missedBeats int) float64 {
	switch a {
	case Normal:
		return 8
	case Fixed:
		return float64(missedBeats)
	default:
		return 4.3
	}
}

// Settings chooses and tunes an estimator. The zero value is Tail.
type Settings struct {
	Algorithm Algorithm
	// Window is how many gaps Normal remembers (default 100).
	Window int
	// MinDeviation and MaxDeviation bound Normal's standard deviation, as
	// shares of the mean (defaults 0.05 and 1).
	MinDeviation, MaxDeviation float64
	// Floor and Ceiling, where not 0, bound it absolutely instead.
	Floor, Ceiling time.Duration
}

// New makes an estimator for an agent that is expected to beat at interval.
func New(s Settings, interval time.Duration) Estimator {
	interval = Clamp(interval)
	switch s.Algorithm {
	case Normal:
		return newNormal(s, interval)
	case Fixed:
		return &fixed{interval: interval}
	default:
		b := newTails()
		b.Open(0, interval)
		return single{b}
	}
}

// Clamp brings an interval into the believable range.
func Clamp(interval time.Duration) time.Duration {
	return min(max(interval, MinInterval), MaxInterval)
}

// forever is the longest silence that a Crossing can be.
const forever = time.Duration(1 << 62)

// duration converts float nanoseconds, rounding up and never overflowing.
func duration(ns float64) time.Duration {
	if !(ns < float64(forever)) {
		return forever
	}
	return time.Duration(math.Ceil(max(ns, 0)))
}
