package fleet

import (
	"math"
	"time"
)

const (
	// defaultShutdown is how long an agent may take to end of which it is not
	// known.
	defaultShutdown = 30 * time.Second
	// leaveMargin is how much longer than that, for the word of its end to come.
	leaveMargin = 2 * time.Second
	// askedWithin is how long its runner may take to say whether it has ended.
	askedWithin = 2 * time.Second
	// leaveHold is how long a verdict waits for a runner that is not heard.
	leaveHold = 2 * time.Minute
)

// leave is what is awaited of an agent that said that it stops, at since of its
// past.
type leave struct {
	from  Instant // trusted, from which its end is awaited
	until Instant // trusted, of what is awaited next
	asked bool    // its runner was asked
}

// milliseconds is a duration as an entry keeps it.
func milliseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 0), math.MaxUint32))
}

// shutdown is how long the agent may take to end.
func (f *Fleet) shutdown(a *agent) time.Duration {
	if own := f.past(a).shutdown; own > 0 {
		return time.Duration(own) * time.Millisecond
	}
	return defaultShutdown
}

// leave begins an agent's going: it said at the real instant since that it stops.
// No silence is held against it any longer, but it has to end.
func (f *Fleet) leave(a *agent, since, trusted Instant) {
	if a.state == leaving || a.state == ignored {
		return
	}
	delete(f.waits, a.number)
	a.state, f.past(a).since = leaving, since
	f.leaves[a.number] = leave{from: max(trusted, f.graceTo)}
	f.rebound(a)
	f.become(a, Unknown, Evidence{})
}

// rebound sets the time of an agent that is leaving by what its start said, which
// may come later than its first heartbeats.
func (f *Fleet) rebound(a *agent) {
	if l, leaves := f.leaves[a.number]; leaves && !l.asked {
		l.until = l.from + f.shutdown(a) + leaveMargin
		f.leaves[a.number] = l
		f.wheel.Set(a.number, l.until)
	}
}

// settle forgets what was awaited of an agent: of its end, or of its runner.
func (f *Fleet) settle(a *agent) {
	if a.state == leaving {
		delete(f.leaves, a.number)
	}
	if len(f.waits) > 0 {
		delete(f.waits, a.number)
	}
}

// overstay decides about an agent that said that it stops, and had its time.
// The end of one that a runner started is reported, so that it lives when it is
// not. Another one has ended when it has fallen silent.
func (f *Fleet) overstay(a *agent, now, trusted Instant) {
	l := f.leaves[a.number]
	if until := max(l.until, f.graceTo); trusted < until {
		f.wheel.Set(a.number, until)
		return
	}
	owned := a.runner != 0
	late := trusted - l.until
	switch {
	case !owned && now-a.heard > f.missedBeats(a)*f.interval(a):
		f.depart(a, false, now, trusted)
		return
	case owned && !l.asked:
		l.asked = true
		f.find(a, Finding{Kind: ProbeWanted, OfRunner: true})
	case owned && !f.speaks(a) && trusted-l.from < f.shutdown(a)+leaveHold:
		l.asked = false
	default:
		f.fail(a, StoppingTimeout, RuleShutdownTimeout, now, trusted)
		return
	}
	l.until += late + askedWithin
	f.leaves[a.number] = l
	f.wheel.Set(a.number, l.until)
}
