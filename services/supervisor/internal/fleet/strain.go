package fleet

import "time"

// strain keeps starts from a runner whose host lacks resources: for a moment at
// first, and longer as long as it cannot start anything.
type strain struct {
	strained bool
	until    time.Time
	wait     time.Duration
}

const (
	firstStrain = time.Second
	mostStrain  = 30 * time.Second
)

// Strain notes that a runner could not start an agent for want of resources, and
// reports whether it takes starts no longer.
func (r *Registry) Strain(runner string, now time.Time) (changed bool) {
	e := r.runners[runner]
	if e == nil || e.strained {
		return false
	}
	if now.Sub(e.until) > mostStrain {
		e.wait = 0 // that was another time
	}
	e.wait = min(max(firstStrain, 2*e.wait), mostStrain)
	e.strained, e.until = true, now.Add(e.wait)
	return true
}

// relax reports whether the runner takes starts again.
func (s *strain) relax(now time.Time) (changed bool) {
	if !s.strained || now.Before(s.until) {
		return false
	}
	s.strained = false
	return true
}
