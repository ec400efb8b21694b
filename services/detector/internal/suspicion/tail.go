package suspicion

import (
	"math"
	"time"
)

// Gaps of real agents are not normally distributed: pauses, lost packets and
// busy hosts make tails that a normal tail underestimates by many orders of
// magnitude. So tail counts how late this agent's heartbeats really were.
//
// A gap x has the lateness l = (x-m)/min(m, D): m is the agent's running
// interval, D the one it declared. Latenesses are counted in fixed bins, apart
// for four contexts, which are levels of slowly averaged jitter: load makes all
// gaps of a host worse for minutes to hours. Then
//
//	S_all(l) = (count(>= l) + w*min(1, (l/0.1)^-3)) / (N + w)       w = priorWeight
//	S(l)     = (count_c(>= l) + v*S_all(l)) / (N_c + v)             v = contextWeight
//	S(l)    >= r*min(1, (l/l_max)^-12) / (N_c + v)                  r = recordWeight
//
// The power law is what a new agent starts from; evidence replaces it. The last
// line says that a context little known may soon show a new record.
const (
	contexts      = 4
	priorWeight   = 10
	priorScale    = 0.1
	contextWeight = 300
	recordWeight  = 0.5
	// smoothing is the weight of one gap in the running interval, jitterWeight
	// that in the running jitter, to which no gap adds more than jitterCut.
	smoothing    = 1.0 / 16
	jitterWeight = 1.0 / 128
	jitterCut    = 0.25
	// agedSamples is when all counts are halved, so that old evidence fades.
	agedSamples = 1 << 18
	// Up to recentReach times the largest recent lateness, which fades by
	// recentFade per heartbeat, silence is never rated above recentLevel: the
	// agent has been that late a moment ago and was alive.
	recentReach = 1.25
	recentFade  = 0.97
	recentLevel = 3
)

// levels are the upper limits of all contexts but the last, as jitter.
var levels = [contexts - 1]float32{0.003, 0.012, 0.05}

// edges are the lower edges of the bins, as latenesses: √2-spaced up to half
// an interval; around the 2nd to 8th beat, where lost heartbeats fall, placed
// just before and after it, and as finely between as pauses are common; then
// √2-spaced again.
var edges = [...]float32{
	0.001, 0.00141421, 0.002, 0.00282843, 0.004, 0.00565685, 0.008, 0.0113137, 0.016, 0.0226274,
	0.032, 0.0452548, 0.064, 0.0905097, 0.128, 0.181019, 0.256, 0.362039, 0.512, 0.724,
	0.9, 1.01, 1.05, 1.15, 1.3, 1.5, 1.7, 1.9, 2.01, 2.05, 2.15, 2.3, 2.5, 2.7,
	2.9, 3.01, 3.05, 3.25, 3.5, 3.9, 4.01, 4.05, 4.25,
	4.9, 5.01, 5.05, 5.25, 5.9, 6.01, 6.05, 6.25, 6.9, 7.01, 7.05, 7.25,
	10.25, 14.5, 20.5, 29, 41, 58, 82, 116,
}

const bins = len(edges)

type tail struct {
	// counts per context and bin; gaps below the first edge are only in seen.
	counts [contexts][bins]tally
	seen   [contexts]uint32
	// dice is the state of the random numbers by which large counts grow.
	dice uint32
	// jitter is the running mean of lateness and earliness, which chooses the
	// context, recent the fading maximum of lateness, worst the maximum ever.
	jitter, recent, worst float32
	// mean and dev are the running interval and its deviation, nanoseconds.
	mean, dev float64
	interval  time.Duration
}

func newTail(interval time.Duration) *tail {
	return &tail{interval: interval, mean: float64(interval), dev: float64(interval) / 20, dice: 1}
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
	late := float32(t.late(x))
	t.count(late)
	t.jitter += (min(max(late, -late), jitterCut) - t.jitter) * jitterWeight
	t.recent = max(t.recent*recentFade, late)
	t.worst = max(t.worst, late)

	r := x/float64(max(beats, 1)) - t.mean
	clip := 2 * t.dev
	t.dev += (min(math.Abs(r), t.mean) - t.dev) * smoothing
	t.mean += min(max(r, -clip), clip) * smoothing
	t.mean = max(t.mean, float64(MinInterval)/2)
}

// unit is one interval of lateness, nanoseconds: the declared one for an agent
// that has slowed down, for it may speed up again, and slow down again.
func (t *tail) unit() float64 { return min(t.mean, float64(t.interval)) }

// late is the lateness of a gap of so many nanoseconds.
func (t *tail) late(x float64) float64 { return (x - t.mean) / t.unit() }

// count adds one lateness to the bin and the context it was seen in.
func (t *tail) count(late float32) {
	c := t.context()
	if b := bin(late); b >= 0 {
		// xorshift (Marsaglia, 2003)
		t.dice ^= t.dice << 13
		t.dice ^= t.dice >> 17
		t.dice ^= t.dice << 5
		t.counts[c][b].grow(t.dice)
	}
	t.seen[c]++
	if t.total() >= agedSamples {
		t.age()
	}
}

func (t *tail) age() {
	for c := range t.counts {
		for b := range t.counts[c] {
			t.counts[c][b].halve()
		}
		t.seen[c] /= 2
	}
}

func (t *tail) context() int {
	c := 0
	for c < len(levels) && t.jitter >= levels[c] {
		c++
	}
	return c
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
	q := float64(here) + contextWeight*p
	record := min(s.worst*powers[b].cube, 1)
	record *= record
	return max(q, recordWeight*record*record) * s.here
}

// within reports whether silence this late is shorter than recent experience.
func (t *tail) within(late float64) bool { return late < recentReach*float64(t.recent) }

func (t *tail) Phi(silence time.Duration) float64 {
	late := t.late(float64(silence))
	b := bin(float32(late))
	if b < 0 {
		return 0
	}
	s := t.survival()
	var all, here uint32
	for i := b; i < bins; i++ {
		here += t.counts[s.context][i].value()
		for o := range t.counts {
			all += t.counts[o][i].value()
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
		here += t.counts[s.context][b].value()
		for o := range t.counts {
			all += t.counts[o][b].value()
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
	return duration(t.mean + t.unit()*late*(1+1e-6))
}

func (t *tail) Interval() time.Duration { return time.Duration(t.mean) }

func (t *tail) Samples() int { return int(t.total()) }
