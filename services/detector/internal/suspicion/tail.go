package suspicion

import (
	"math"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/slab"
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
//	S(l)    >= r*min(1, (l/l_max)^-4) / (N_c + v)                   r = recordWeight
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

// tails is the bank of these estimators.
type tails struct {
	states slab.Array[tail]
	cells  *slab.Blocks
	// targets are the probabilities of the last two levels asked for: a detector
	// asks for the same ones over and over.
	targets [2]struct{ phi, target float64 }
	warmth  byte // keeps the compiler from leaving out Warm
}

// tail is the state of one. What is relative to an interval needs no more than
// the precision of a float32.
type tail struct {
	// cells is the histogram of latenesses; gaps below the first edge are only
	// in seen, which counts all gaps of each context.
	cells slab.Ref
	seen  [contexts]uint32
	// dice is the state of the random numbers by which large counts grow.
	dice uint32
	// jitter is the running mean of lateness and earliness, which chooses the
	// context, recent the fading maximum of lateness, worst the maximum ever.
	jitter, recent, worst float32
	// interval is the one declared, mean and dev are the running interval and
	// its deviation, all in nanoseconds.
	interval, mean, dev float32
	soon                soon
}

// soon is what Soon found last: at which level, from how many gaps, and in
// which context.
type soon struct {
	phi, late float32
	samples   uint32
	context   uint32
}

func newTails() *tails { return &tails{cells: slab.NewBlocks(blockSizes...)} }

func (ts *tails) Open(n uint32, interval time.Duration) {
	ts.states.Grow(n)
	i := float32(Clamp(interval))
	*ts.states.At(n) = tail{interval: i, mean: i, dev: i / 20, dice: 1}
}

func (ts *tails) Close(n uint32) {
	t := ts.states.At(n)
	ts.cells.Free(t.cells)
	*t = tail{}
}

func (ts *tails) Warm(n uint32) {
	if t := ts.states.At(n); t.cells != 0 {
		ts.warmth += ts.cells.Bytes(t.cells)[0]
	}
}

func (ts *tails) Declare(n uint32, interval time.Duration) {
	t := ts.states.At(n)
	to := float32(Clamp(interval))
	scale := to / t.interval
	t.mean *= scale
	t.dev *= scale
	t.interval = to
}

func (ts *tails) Observe(n uint32, gap time.Duration, beats int) {
	t := ts.states.At(n)
	x := float64(max(gap, 0))
	late := float32(t.late(x))
	ts.count(t, late)
	t.jitter += (min(max(late, -late), jitterCut) - t.jitter) * jitterWeight
	t.recent = max(t.recent*recentFade, late)
	t.worst = max(t.worst, late)

	r := float32(x/float64(max(beats, 1))) - t.mean
	clip := 2 * t.dev
	t.dev += (min(max(r, -r), t.mean) - t.dev) * smoothing
	t.mean += min(max(r, -clip), clip) * smoothing
	t.mean = max(t.mean, float32(MinInterval)/2)
}

// unit is one interval of lateness, nanoseconds: the declared one for an agent
// that has slowed down, for it may speed up again, and slow down again.
func (t *tail) unit() float64 { return float64(min(t.mean, t.interval)) }

// late is the lateness of a gap of so many nanoseconds.
func (t *tail) late(x float64) float64 { return (x - float64(t.mean)) / t.unit() }

// count adds one lateness to the bin and the context it was seen in.
func (ts *tails) count(t *tail, late float32) {
	c := t.context()
	if b := bin(late); b >= 0 {
		// xorshift (Marsaglia, 2003)
		t.dice ^= t.dice << 13
		t.dice ^= t.dice >> 17
		t.dice ^= t.dice << 5
		ts.grow(t, c, b)
	}
	t.seen[c]++
	if t.total() >= agedSamples {
		for c := range t.seen {
			t.seen[c] /= 2
		}
		if t.cells != 0 {
			ts.histogram(t).halve()
		}
	}
}

// grow counts one more in a bin.
func (ts *tails) grow(t *tail, context, bin int) {
	h := ts.histogram(t)
	at, exists := h.place(context, bin)
	if exists {
		count := tally(h[at])
		count.grow(t.dice)
		h[at] = byte(count)
		return
	}
	if t.cells == 0 {
		t.cells = ts.cells.Alloc(header + 1)
		clear(ts.cells.Bytes(t.cells)[:header])
	} else {
		t.cells = ts.cells.Fit(t.cells, h.size()+1)
	}
	histogram(ts.cells.Bytes(t.cells)).insert(context, bin, at)
}

// histogram gives an agent's counts.
func (ts *tails) histogram(t *tail) histogram {
	if t.cells == 0 {
		return blank[:]
	}
	return ts.cells.Bytes(t.cells)
}

// blank is the histogram of those who have none; nobody writes to it.
var blank [header]byte

func (t *tail) context() int {
	c := 0
	for c < len(levels) && t.jitter >= levels[c] {
		c++
	}
	return c
}

func (t *tail) total() uint32 { return t.seen[0] + t.seen[1] + t.seen[2] + t.seen[3] }

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

// powers holds, for each edge l, l^-3, l^-4 and the prior min(1, (l/0.1)^-3).
var powers = func() (p [bins]struct{ cube, fourth, prior float64 }) {
	for b, l := range edges {
		p[b].cube = 1 / (float64(l) * float64(l) * float64(l))
		p[b].fourth = p[b].cube / float64(l)
		p[b].prior = min(p[b].cube*priorScale*priorScale*priorScale, 1)
	}
	return p
}()

// survival estimates probabilities for one state of the counts.
type survival struct {
	context       int
	worst, utmost float64 // (worst lateness)^3 and ^4
	all, single   float64 // 1/(N+w), 1/(N+1)
	here          float64 // 1/(N_c+v)
}

func (t *tail) survival() survival {
	n, c := float64(t.total()), t.context()
	s := survival{context: c, all: 1 / (n + priorWeight), single: 1 / (n + 1), here: 1 / (float64(t.seen[c]) + contextWeight)}
	if w := float64(t.worst); w > 0 {
		s.worst, s.utmost = w*w*w, w*w*w*w
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
	return max(q, recordWeight*min(s.utmost*powers[b].fourth, 1)) * s.here
}

// within reports whether silence this late is shorter than recent experience.
func (t *tail) within(late float64) bool { return late < recentReach*float64(t.recent) }

func (ts *tails) Phi(n uint32, silence time.Duration) float64 {
	t := ts.states.At(n)
	late := t.late(float64(silence))
	b := bin(float32(late))
	if b < 0 {
		return 0
	}
	s := t.survival()
	f := ts.histogram(t).falling(s.context)
	for next := f.peek(); next >= b; next = f.peek() {
		f.take(next)
	}
	phi := -math.Log10(s.at(b, f.all, f.here))
	if b == bins-1 { // beyond the last bin the power law goes on
		phi += 3 * math.Log10(max(late/float64(edges[b]), 1))
	}
	if t.within(late) {
		phi = min(phi, recentLevel)
	}
	return min(max(phi, 0), MaxPhi)
}

func (ts *tails) Crossing(n uint32, phi float64) time.Duration {
	t := ts.states.At(n)
	return t.after(ts.lateness(t, phi))
}

// Soon looks anew when the number of gaps has grown by a sixteenth, or the
// context is another. The crossing comes earlier only as evidence grows.
func (ts *tails) Soon(n uint32, phi float64) time.Duration {
	t := ts.states.At(n)
	s, samples, context := &t.soon, t.total(), uint32(t.context())
	if s.phi != float32(phi) || s.context != context || samples < s.samples || samples > s.samples+s.samples/16 {
		*s = soon{phi: float32(phi), late: float32(ts.lateness(t, phi)), samples: samples, context: context}
	}
	return t.after(float64(s.late))
}

// after is the silence of a lateness: one part in a million more, so that
// rounding cannot put it into the bin before.
func (t *tail) after(late float64) time.Duration {
	return duration(float64(t.mean) + t.unit()*late*(1+1e-6))
}

// lateness is that at which Phi reaches a level.
func (ts *tails) lateness(t *tail, phi float64) float64 {
	phi = min(phi, MaxPhi)
	s := t.survival()
	late := ts.crossing(t, &s, ts.target(phi))
	if phi > recentLevel {
		late = max(late, recentReach*float64(t.recent))
	}
	return late
}

// target is the probability of a level.
func (ts *tails) target(phi float64) float64 {
	for _, t := range ts.targets {
		if t.phi == phi && phi > 0 {
			return t.target
		}
	}
	ts.targets[1] = ts.targets[0]
	ts.targets[0].phi, ts.targets[0].target = phi, math.Pow(10, -phi)
	return ts.targets[0].target
}

// crossing is the lateness at which the probability falls to the target: the
// lowest edge at which it is no higher. It grows from bin to bin downwards, so
// that between two bins with counts it can be searched by halves.
func (ts *tails) crossing(t *tail, s *survival, target float64) float64 {
	f := ts.histogram(t).falling(s.context)
	low := bins // the lowest bin known to be no likelier than the target
	for low > 0 {
		next := max(f.peek(), 0)
		// With these sums down to above the next bin that has counts.
		for from := next + 1; from < low; {
			mid := (from + low) / 2
			if s.at(mid, f.all, f.here) > target {
				from = mid + 1
			} else {
				low = mid
			}
		}
		if low > next+1 {
			break
		}
		f.take(next)
		if s.at(next, f.all, f.here) > target {
			break
		}
		low = next
	}
	if low == bins { // beyond the last bin the power law goes on
		last := bins - 1
		return float64(edges[last]) * math.Cbrt(s.at(last, f.all, f.here)/target)
	}
	return float64(edges[low])
}

func (ts *tails) Interval(n uint32) time.Duration { return time.Duration(ts.states.At(n).mean) }

func (ts *tails) Samples(n uint32) int { return int(ts.states.At(n).total()) }
