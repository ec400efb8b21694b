package suspicion

import (
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/slab"
)

// Bank holds the estimators of many agents, each under a small number, such as
// an index into the owner's own list: memory is proportional to the highest one
// used. The methods are those of [Estimator], for the agent of a number that is
// open.
type Bank interface {
	// Open begins a new estimate under a number that is not open.
	Open(n uint32, interval time.Duration)
	// Close forgets it.
	Close(n uint32)

	Declare(n uint32, interval time.Duration)
	Observe(n uint32, gap time.Duration, beats int)
	Phi(n uint32, silence time.Duration) float64
	Crossing(n uint32, phi float64) time.Duration
	Interval(n uint32) time.Duration
	Samples(n uint32) int

	// Soon is Crossing, but may be what it was a few gaps ago. It costs less, and
	// is for deadlines at which one looks again.
	Soon(n uint32, phi float64) time.Duration
	// Warm begins to bring what Observe needs into the processor's cache. Called
	// twice, with calls for others in between, the second begins where the first
	// has told to look. It changes nothing.
	Warm(n uint32)
}

// NewBank makes an empty bank. Tail takes about 120 bytes for most agents and
// never more than 352; Normal about 500 with its default window.
func NewBank(s Settings) Bank {
	if s.Algorithm == "" || s.Algorithm == Tail {
		return newTails()
	}
	return &loose{settings: s}
}

// loose is a bank of estimators made one by one.
type loose struct {
	settings Settings
	each     slab.Array[Estimator]
}

func (l *loose) Open(n uint32, interval time.Duration) {
	l.each.Grow(n)
	*l.each.At(n) = New(l.settings, interval)
}
func (l *loose) Close(n uint32)                           { *l.each.At(n) = nil }
func (l *loose) Declare(n uint32, interval time.Duration) { (*l.each.At(n)).Declare(interval) }

func (l *loose) Observe(n uint32, gap time.Duration, beats int) { (*l.each.At(n)).Observe(gap, beats) }

func (l *loose) Phi(n uint32, silence time.Duration) float64 { return (*l.each.At(n)).Phi(silence) }

func (l *loose) Crossing(n uint32, phi float64) time.Duration { return (*l.each.At(n)).Crossing(phi) }

func (l *loose) Interval(n uint32) time.Duration          { return (*l.each.At(n)).Interval() }
func (l *loose) Soon(n uint32, phi float64) time.Duration { return l.Crossing(n, phi) }
func (l *loose) Warm(uint32)                              {}
func (l *loose) Samples(n uint32) int                     { return (*l.each.At(n)).Samples() }

// single is a bank of one, as an Estimator.
type single struct{ bank Bank }

func (s single) Declare(interval time.Duration)       { s.bank.Declare(0, interval) }
func (s single) Observe(gap time.Duration, beats int) { s.bank.Observe(0, gap, beats) }
func (s single) Phi(silence time.Duration) float64    { return s.bank.Phi(0, silence) }
func (s single) Crossing(phi float64) time.Duration   { return s.bank.Crossing(0, phi) }
func (s single) Interval() time.Duration              { return s.bank.Interval(0) }
func (s single) Samples() int                         { return s.bank.Samples(0) }
