package suspicion

import (
	"math"
	"time"
)

// Gaps of real agents are not normally distributed: pauses, lost packets and
// busy hosts make tails that a normal tail underestimates by many orders of
// magnitude. So tail counts how late this agent's heartbeats really were.
//
// A gap x is normalised by the agent's running interval m: u = x/m, with the
// lateness l = u-1. Latenesses are counted in fixed bins, apart for three
// contexts (calm, uneasy, disturbed: a running mean of recent lateness),
// because a late heartbeat makes another more likely. Then
//
//	S_all(u) = (count(>= u) + w*min(1, (l/0.1)^-3)) / (N + w)       w = priorWeight
//	S(u)     = (count_c(>= u) + v*S_all(u)) / (N_c + v)             v = contextWeight
//
// The power law is what a new agent starts from; evidence replaces it.
const (
	contexts      = 3
	priorWeight   = 10
	priorScale    = 0.1
	contextWeight = 300
	// calm and uneasy are the upper limits of the first two contexts.
	calm, uneasy = 0.01, 0.06
	// smoothing is the weight of one gap in the running means.
	smoothing = 1.0 / 16
	// agedSamples is when all counts are halved, so that old evidence fades.
	agedSamples = 1 << 18
	// Up to recentReach times the largest recent lateness, which fades by
	// recentFade per heartbeat, silence is never rated above recentLevel: the
	// agent has been that late a moment ago and was alive.
	recentReach = 1.25
	recentFade  = 0.97
	recentLevel = 3
)

// edges are the lower edges of the bins, as latenesses: √2-spaced up to half
// an interval; around the 2nd to 8th beat, where lost heartbeats fall, placed
// just before and after it; then √2-spaced again.
var edges = [...]float32{
	0.001, 0.00141421, 0.002, 0.00282843, 0.004, 0.00565685, 0.008, 0.0113137, 0.016, 0.0226274,
	0.032, 0.0452548, 0.064, 0.0905097, 0.128, 0.181019, 0.256, 0.362039, 0.512,
	0.9, 1.01, 1.05, 1.25, 1.9, 2.01, 2.05, 2.25, 2.9, 3.01, 3.05, 3.25, 3.9, 4.01, 4.05, 4.25,
	4.9, 5.01, 5.05, 5.25, 5.9, 6.01, 6.05, 6.25, 6.9, 7.01, 7.05, 7.25,
	10.25, 14.5, 20.5, 29, 41, 58, 82, 116,
}

const bins = len(edges)

type tail struct {
	// counts per context and bin; gaps below the first edge are only in seen.
	counts [contexts][bins]uint16
	seen   [contexts]uint32
	// lateness is the running mean that chooses the context, recent the fading
	// maximum, worst the maximum ever.
	lateness, recent, worst float32
	// mean and dev are the running interval and its deviation, nanoseconds.
	mean, dev float64
	interval  time.Duration
}

func newTail(interval time.Duration) *tail {
	return &tail{interval: interval, mean: float64(interval), dev: float64(interval) / 20}
}

func (t *tail) Declare(interval time.Duration) {
	interval = Clamp(interval)
	scale := float64(interval) / float64(t.interval)
	t.mean *= scale
	t.dev *= scale
	t.interval = interval
}

func (t *tail) Observe(gap time.Duration, beats int) {
	x := float64(max(gap, 0))
	late := float32(x/t.mean - 1)
	t.count(late)
	t.lateness += (min(max(late, 0), 2) - t.lateness) * smoothing
	t.recent = max(t.recent*recentFade, late)
	t.worst = max(t.worst, late)

	r := x/float64(max(beats, 1)) - t.mean
	clip := 2 * t.dev
	t.dev += (min(math.Abs(r), t.mean) - t.dev) * smoothing
	t.mean += min(max(r, -clip), clip) * smoothing
	t.mean = max(t.mean, float64(MinInterval)/2)
}

// count adds one lateness to the bin and the context it was seen in.
func (t *tail) count(late float32) {
	c := t.context()
	full := false
	if b := bin(late); b >= 0 {
		t.counts[c][b]++
		full = t.counts[c][b] == math.MaxUint16
	}
	t.seen[c]++
	if full || t.total() >= agedSamples {
		t.age()
	}
}

func (t *tail) age() {
	for c := range t.counts {
		for b := range t.counts[c] {
			t.counts[c][b] /= 2
		}
		t.seen[c] /= 2
	}
}

func (t *tail) context() int {
	switch {
	case t.lateness < calm:
		return 0
	case t.lateness < uneasy:
		return 1
	}
	return 2
}

func (t *tail) total() uint32 {
	var n uint32
	for _, s := range t.seen {
		n += s
	}
	return n
}

// bin is the index of the last edge at or below the lateness, -1 below all.
func bin(late float32) int {
	lo, hi := 0, bins
	for lo < hi {
		if mid := (lo + hi) / 2; edges[mid] <= late {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// powers holds, for each edge l, l^-3 and the prior min(1, (l/0.1)^-3).
var powers = func() (p [bins]struct{ cube, prior float64 }) {
	for b, l := range edges {
		p[b].cube = 1 / (float64(l) * float64(l) * float64(l))
		p[b].prior = min(p[b].cube*priorScale*priorScale*priorScale, 1)
	}
	return p
}()

// survival estimates probabilities for one state of the counts.
type survival struct {
	context     int
	worst       float64 // (worst lateness)^3
	all, single float64 // 1/(N+w), 1/(N+1)
	here        float64 // 1/(N_c+v)
}

func (t *tail) survival() survival {
	n, c := float64(t.total()), t.context()
	s := survival{context: c, all: 1 / (n + priorWeight), single: 1 / (n + 1), here: 1 / (float64(t.seen[c]) + contextWeight)}
	if w := float64(t.worst); w > 0 {
		s.worst = w * w * w
	}
	return s
}

// at is the probability of a gap at least as late as the edge of a bin, of
// which so many were seen in all contexts and in this one. Beyond the latest
// gap ever seen it falls no faster than the power law.
func (s *survival) at(b int, all, here uint32) float64 {
	p := (float64(all) + priorWeight*powers[b].prior) * s.all
	if s.worst > 0 {
		p = max(p, min(s.worst*powers[b].cube, 1)*s.single)
	}
	return (float64(here) + contextWeight*p) * s.here
}

// within reports whether silence this late is shorter than recent experience.
func (t *tail) within(late float64) bool { return late < recentReach*float64(t.recent) }

func (t *tail) Phi(silence time.Duration) float64 {
	late := float64(silence)/t.mean - 1
	b := bin(float32(late))
	if b < 0 {
		return 0
	}
	s := t.survival()
	var all, here uint32
	for i := b; i < bins; i++ {
		here += uint32(t.counts[s.context][i])
		for o := range t.counts {
			all += uint32(t.counts[o][i])
		}
	}
	phi := -math.Log10(s.at(b, all, here))
	if b == bins-1 { // beyond the last bin the power law goes on
		phi += 3 * math.Log10(max(late/float64(edges[b]), 1))
	}
	if t.within(late) {
		phi = min(phi, recentLevel)
	}
	return min(max(phi, 0), MaxPhi)
}

func (t *tail) Crossing(phi float64) time.Duration {
	phi = min(phi, MaxPhi)
	target := math.Pow(10, -phi)
	s := t.survival()
	var all, here uint32
	late := -1.0
	for b := bins - 1; b >= 0; b-- {
		here += uint32(t.counts[s.context][b])
		for o := range t.counts {
			all += uint32(t.counts[o][b])
		}
		if p := s.at(b, all, here); p > target {
			if b == bins-1 {
				late = float64(edges[b]) * math.Cbrt(p/target)
			}
			break
		}
		late = float64(edges[b])
	}
	if phi > recentLevel {
		late = max(late, recentReach*float64(t.recent))
	}
	// One part in a million above the edge, so that rounding cannot put the
	// crossing into the bin before it.
	return duration(t.mean * (1 + late*(1+1e-6)))
}

func (t *tail) Interval() time.Duration { return time.Duration(t.mean) }

func (t *tail) Samples() int { return int(t.total()) }
