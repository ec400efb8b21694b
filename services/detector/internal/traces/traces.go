// Package traces makes heartbeats of one agent as they arrive over networks and
// hosts of several kinds, from a seed: the same seed gives the same arrivals.
//
// The kinds are those that tell failure detectors apart (Chen et al., "On the
// quality of service of failure detectors", 2002; Bertier et al., 2003): small
// jitter, pauses as of a garbage collector, independent and bursty loss,
// intervals that change with and without a word, load that comes and goes, and
// a detector that itself stands still.
package traces

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/tape"
)

// Trace is the heartbeats of one agent, named "agent".
type Trace struct {
	Name    string
	Entries []tape.Entry
}

// kind is how heartbeats of a trace are sent and how they travel.
type kind struct {
	name string
	// interval is that between two heartbeats at a time, declared what is said
	// of it; nil is one second.
	interval, declared func(at time.Duration) time.Duration
	// delay is the median one; it is log-normally distributed. load says how
	// busy host and network are at a time, 1 as usual.
	delay time.Duration
	load  func(at time.Duration) float64
	// loss is the share lost, bursts the share of time in which most is.
	loss, bursts float64
	// pauses is the share of heartbeats before which the agent pauses.
	pauses float64
	// exact heartbeats come without jitter, but for rare ones.
	exact bool
	// stalls is how often per hour the detector stands still.
	stalls float64
}

const (
	second     = time.Second
	usualDelay = 2 * time.Millisecond
	spread     = 0.7  // of the logarithm of delays
	jitter     = 0.13 // of sending, milliseconds
	longPause  = 2 * time.Second
)

// alternating gives one duration for a part of each period, another for the
// rest.
func alternating(period, part time.Duration, one, other time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		if at%period < part {
			return one
		}
		return other
	}
}

// wave is a day's load: from 1 to most.
func wave(most float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		x := (1 - math.Cos(2*math.Pi*at.Hours()/24)) / 2
		return math.Pow(most, x*x)
	}
}

var kinds = []kind{
	{name: "quiet", delay: 270 * time.Microsecond},
	{name: "pauses", delay: 800 * time.Microsecond, pauses: 0.01},
	{name: "loss 1 %", delay: usualDelay, loss: 0.01},
	{name: "loss 5 %", delay: usualDelay, loss: 0.05},
	{name: "bursts of loss", delay: usualDelay, bursts: 0.004},
	{
		name: "declared changes", delay: usualDelay,
		interval: alternating(4*time.Hour, 2*time.Hour, second, 3*second), declared: alternating(4*time.Hour, 2*time.Hour, second, 3*second),
	},
	{
		name: "drift", delay: usualDelay,
		interval: func(at time.Duration) time.Duration {
			return second + time.Duration(float64(second)*(1-math.Cos(2*math.Pi*at.Hours()/24)))
		},
	},
	{name: "step", delay: usualDelay, interval: alternating(12*time.Hour, 6*time.Hour, second, 2*second)},
	{name: "daily load", delay: usualDelay, load: wave(30), loss: 0.003, pauses: 0.002},
	{name: "stalls of the detector", delay: 270 * time.Microsecond, stalls: 6},
	{name: "regular", exact: true},
}

// Names are those of the kinds of traces.
func Names() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Make makes a trace of each kind.
func Make(seed uint64, length time.Duration) []Trace {
	all := make([]Trace, len(kinds))
	for i, k := range kinds {
		all[i] = Trace{k.name, k.make(rand.New(rand.NewPCG(seed, uint64(i))), length)}
	}
	return all
}

func (k kind) make(r *rand.Rand, length time.Duration) []tape.Entry {
	var entries []tape.Entry
	var seq uint64
	var arrived time.Duration
	burst := false
	next := second // when the next heartbeat is due to be sent
	for next < length {
		at := next
		interval := second
		if k.interval != nil {
			interval = k.interval(at)
		}
		next += interval
		load := 1.0
		if k.load != nil {
			load = k.load(at)
		}
		seq++
		if r.Float64() < k.pauses*load {
			// The agent stands still; heartbeats due meanwhile are sent once.
			at += time.Duration(float64(200*time.Millisecond) + r.Float64()*float64(longPause-200*time.Millisecond))
			next = max(next, at+time.Millisecond)
		}
		if burst {
			burst = r.Float64() < 0.8
		} else {
			burst = r.Float64() < k.bursts/4
		}
		if r.Float64() < k.loss*math.Sqrt(load) || burst && r.Float64() < 0.7 {
			continue
		}
		arrived = max(arrived+30*time.Microsecond, at+k.travel(r, load))
		e := tape.Entry{Kind: tape.Beat, At: arrived, Agent: "agent", Seq: seq, Interval: second}
		if k.declared != nil {
			e.Interval = k.declared(at)
		}
		entries = append(entries, e)
	}
	return k.stall(r, entries, length)
}

// travel is how long a heartbeat is on its way.
func (k kind) travel(r *rand.Rand, load float64) time.Duration {
	if k.exact {
		if r.Float64() < 0.001 {
			return time.Duration(r.ExpFloat64() * float64(4*time.Millisecond))
		}
		return 500 * time.Microsecond
	}
	late := time.Duration(float64(k.delay) * load * math.Exp(r.NormFloat64()*spread))
	return late + time.Duration((r.NormFloat64()+4)*jitter*float64(time.Millisecond))
}

// stall lets the detector stand still now and then: what arrives meanwhile is
// heard at the end.
func (k kind) stall(r *rand.Rand, entries []tape.Entry, length time.Duration) []tape.Entry {
	if k.stalls == 0 {
		return entries
	}
	for at := time.Duration(0); ; {
		at += time.Duration((0.1 + r.ExpFloat64()) / k.stalls * float64(time.Hour))
		lasts := time.Duration((0.05 + 0.95*r.Float64()) * float64(10*second))
		if at+lasts > length {
			break
		}
		for i := range entries {
			if entries[i].At > at && entries[i].At < at+lasts {
				entries[i].At = at + lasts
			}
		}
		entries = append(entries, tape.Entry{Kind: tape.Stalled, At: at + lasts, For: lasts})
	}
	// It knows of its stall before it hears what came meanwhile.
	slices.SortStableFunc(entries, func(a, b tape.Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(b.Kind, a.Kind))
	})
	return entries
}
