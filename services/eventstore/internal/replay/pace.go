// Package replay sends stored events again, at once or as far apart as they
// were stored, to the reply subject of whoever asked.
package replay

import (
	"errors"
	"fmt"
	"time"
)

// ErrSpeed tells that a pace cannot be meant.
var ErrSpeed = errors.New("invalid speed")

// Speeds other than 0 are within these bounds.
const (
	MinSpeed = 0.001
	MaxSpeed = 1_000_000
)

// Pace says when the events of a replay are due. Its zero value sends all at
// once.
type Pace struct {
	speed        float64
	first, begin time.Time
}

// NewPace gives a pace: 1 is the original, 10 ten times as fast, 0 at once.
func NewPace(speed float64) (Pace, error) {
	if speed != 0 && !(speed >= MinSpeed && speed <= MaxSpeed) {
		return Pace{}, fmt.Errorf("%w %v: use 0 for at once, 1 for the original pace, or %v to %v", ErrSpeed, speed, MinSpeed, MaxSpeed)
	}
	return Pace{speed: speed}, nil
}

// Due gives how long to wait, at now, for an event stored at an instant. The
// first one asked about is due at once, and sets the beginning.
func (p *Pace) Due(stored, now time.Time) time.Duration {
	if p.speed == 0 {
		return 0
	}
	if p.first.IsZero() {
		p.first, p.begin = stored, now
	}
	after := float64(stored.Sub(p.first)) / p.speed
	const forever = 100 * 365 * 24 * time.Hour
	wait := time.Duration(min(after, float64(forever))) - now.Sub(p.begin)
	return max(wait, 0)
}
