package suspicion

import "time"

// fixed is the missed-beat rule: phi is the silence in declared intervals.
type fixed struct {
	interval time.Duration
	samples  int
}

func (f *fixed) Declare(interval time.Duration) { f.interval = Clamp(interval) }

func (f *fixed) Observe(time.Duration, int) { f.samples++ }

func (f *fixed) Phi(silence time.Duration) float64 {
	return min(max(float64(silence)/float64(f.interval), 0), MaxPhi)
}

func (f *fixed) Crossing(phi float64) time.Duration {
	return duration(phi * float64(f.interval))
}

func (f *fixed) Interval() time.Duration { return f.interval }

func (f *fixed) Samples() int { return f.samples }
