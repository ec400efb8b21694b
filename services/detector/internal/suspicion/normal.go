package suspicion

import (
	"math"
	"time"
)

// normal is Hayashibara's estimator: the last gaps are taken as normally
// distributed, with the deviation kept between a floor (or a perfectly regular
// agent would be suspected for one late packet) and a ceiling (or one wild
// minute would hide a death for long).
type normal struct {
	settings Settings
	interval time.Duration
	// ring holds the last gaps in microseconds; the sums over it are whole
	// numbers, so they stay exact however long the agent lives. Gaps are cut
	// at 2^32 µs, over an hour; squares are of gaps in 16 µs, so that a window
	// of thousands cannot overflow.
	ring    []uint32
	next    int
	sum     uint64
	squares uint64
	// quantiles are those of the last two levels asked for: a detector asks
	// for the same two over and over.
	quantiles [2]struct{ phi, z float64 }
}

func newNormal(s Settings, interval time.Duration) *normal {
	if s.Window <= 0 {
		s.Window = 100
	}
	if s.MinDeviation <= 0 {
		s.MinDeviation = 0.05
	}
	if s.MaxDeviation <= 0 {
		s.MaxDeviation = 1
	}
	return &normal{settings: s, interval: interval}
}

func (n *normal) Declare(interval time.Duration) {
	interval = Clamp(interval)
	if interval == n.interval {
		return
	}
	scale := float64(interval) / float64(n.interval)
	n.interval = interval
	n.sum, n.squares = 0, 0
	for i, g := range n.ring {
		n.ring[i] = uint32(min(float64(g)*scale, math.MaxUint32))
		n.add(n.ring[i])
	}
}

func (n *normal) Observe(gap time.Duration, _ int) {
	g := uint32(min(max(gap.Microseconds(), 0), math.MaxUint32))
	if len(n.ring) < n.settings.Window {
		n.ring = append(n.ring, g)
	} else {
		old := n.ring[n.next]
		n.sum -= uint64(old)
		n.squares -= square(old)
		n.ring[n.next] = g
		n.next = (n.next + 1) % len(n.ring)
	}
	n.add(g)
}

func (n *normal) add(g uint32) {
	n.sum += uint64(g)
	n.squares += square(g)
}

func square(g uint32) uint64 { s := uint64(g >> 4); return s * s }

// moments returns mean and bounded standard deviation in nanoseconds.
func (n *normal) moments() (mean, dev float64) {
	if len(n.ring) == 0 {
		mean = float64(n.interval)
		low, _ := n.bounds(mean / 1e3)
		return mean, low * 1e3
	}
	count := float64(len(n.ring))
	mean = float64(n.sum) / count
	variance := float64(n.squares)*256/count - mean*mean
	dev = math.Sqrt(max(variance, 0))
	low, high := n.bounds(mean)
	return mean * 1e3, min(max(dev, low), high) * 1e3
}

// bounds are those of the deviation, in microseconds like the mean.
func (n *normal) bounds(mean float64) (low, high float64) {
	low, high = mean*n.settings.MinDeviation, mean*n.settings.MaxDeviation
	if n.settings.Floor > 0 {
		low = float64(n.settings.Floor) / 1e3
	}
	if n.settings.Ceiling > 0 {
		high = float64(n.settings.Ceiling) / 1e3
	}
	low = max(low, 1)
	return low, max(high, low)
}

func (n *normal) Phi(silence time.Duration) float64 {
	mean, dev := n.moments()
	return min(tailLevel((float64(silence)-mean)/dev), MaxPhi)
}

func (n *normal) Crossing(phi float64) time.Duration {
	mean, dev := n.moments()
	return duration(mean + dev*n.quantile(min(phi, MaxPhi)))
}

func (n *normal) quantile(phi float64) float64 {
	for _, q := range n.quantiles {
		if q.phi == phi && phi > 0 {
			return q.z
		}
	}
	n.quantiles[1] = n.quantiles[0]
	n.quantiles[0].phi, n.quantiles[0].z = phi, tailQuantile(phi)
	return n.quantiles[0].z
}

func (n *normal) Interval() time.Duration {
	mean, _ := n.moments()
	return time.Duration(mean)
}

func (n *normal) Samples() int { return len(n.ring) }

// tailLevel is -log10 of the standard normal distribution's upper tail at z.
// Far out, where the tail itself is no float64 any more, its asymptotic series
// (Abramowitz and Stegun, 26.2.12) is used on the logarithm.
func tailLevel(z float64) float64 {
	if z < 10 {
		return max(-math.Log10(0.5*math.Erfc(z/math.Sqrt2)), 0)
	}
	r := 1 / (z * z)
	series := 1 - r*(1-3*r*(1-5*r*(1-7*r)))
	return z*z/2*math.Log10E + math.Log10(z*math.Sqrt(2*math.Pi)) - math.Log10(series)
}

// tailQuantile is the inverse of tailLevel for phi > 0.
func tailQuantile(phi float64) float64 {
	lo, hi := -40.0, 80.0
	if phi <= 0 {
		return lo
	}
	for range 64 {
		mid := (lo + hi) / 2
		if tailLevel(mid) < phi {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}
