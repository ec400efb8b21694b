package fleet

import (
	"math"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

// state is what the detector does about an agent.
type state uint8

const (
	// awaited: started, its first heartbeat is due.
	awaited state = iota
	// watched: it beats, or should.
	watched
	// failed: taken for dead or hung.
	failed
	// gone: it left or ended; nothing is expected of it.
	gone
	// ignored: an operator does not want it watched.
	ignored
)

// Status is what an agent says of itself.
type Status string

// The statuses that matter here.
const (
	Stopping Status = "stopping"
	Stopped  Status = "stopped"
)

// About is what an agent or its starter said of it.
type About struct {
	Type, Runner string
	Status       Status
	Capabilities []string
	InFlight     int
	Capacity     int
	Interval     time.Duration
}

// agent is one entry.
type agent struct {
	id    string
	about About
	est   suspicion.Estimator
	rule  Override

	state     state
	band      Band
	announced bool // a start event or an operator named it
	beaten    bool // it beat in this incarnation
	answers   bool // it answered a ping once
	ended     bool // gone, and proven so by an exit
	unclean   bool // the next gap is not the agent's own doing: do not learn it
	burst     bool // heartbeats that were held up may still follow at once
	untold    bool // discovered, but not yet told so
	reason    Reason

	incarnation uint64
	over        uint64 // the highest incarnation whose end is proven
	seq         uint64
	// last is the trusted instant of the last sign of life, or of the start;
	// heard the real one of the last heartbeat; lost the clock's loss then.
	last, heard Instant
	lost        time.Duration
	met         Instant // trusted instant of discovery
	since       Instant // real instant of failing or going
	start       time.Duration
	// declared is the interval the agent told, assumed the one taken for it
	// when it tells none, from its longest gap.
	declared, assumed, longest time.Duration
	progress                   uint64
	moved                      Instant // when progress last changed
	cleared                    int     // pings answered since the last beat
}

const (
	// A young agent, with fewer gaps than this known, is never given more
	// than twice the missed beats: a high threshold cannot be told from
	// little evidence.
	youngSamples = 5000
	// By default a verdict waits for a level higher by surerLevel where that
	// costs little: at most surerCost times the silence. Verdicts on regular
	// agents become truer by far for hardly any time.
	surerLevel = 0.7
	surerCost  = 1.1
	// patience bounds, in intervals, how much silence any evidence can excuse.
	patience = 20
	// While an agent that declares no interval has fewer gaps than this, only
	// a longer gap changes what is assumed of it.
	assumeAfter = 5
	// minAssumed is the shortest interval that is assumed.
	minAssumed = 100 * time.Millisecond
	maxAssumed = time.Hour
	// maxSkew is how long work may stand still under a busy_until that had
	// passed when it last moved: the agent's clock may be another.
	maxSkew = 5 * time.Minute
	// maxCleared is how often in a row a ping's answer excuses silence.
	maxCleared = 3
	// announcedWithin is how long the word of a start may come after the first
	// heartbeat of an agent that has an incarnation.
	announcedWithin = 5 * time.Second
	// stallShare is the share of an interval that the detector's own stall may
	// have, for a gap across it to be learned.
	stallShare = 8
)

func (f *Fleet) interval(a *agent) time.Duration {
	switch {
	case a.declared > 0:
		return a.declared
	case a.assumed > 0:
		return a.assumed
	}
	return f.cfg.Interval
}

// threshold is the level of a verdict. A configured one is meant as it is
// written. The default one is for an agent that beats once per second, and
// rises for one that beats more often, so that mistakes are as rare in time.
func (f *Fleet) threshold(a *agent) float64 {
	level := or(a.rule.Threshold, f.cfg.Threshold)
	if interval := f.interval(a); f.byDefault(a) && interval < time.Second {
		level += math.Log10(time.Second.Seconds() / interval.Seconds())
	}
	return level
}

// byDefault tells whether nobody chose a threshold for the agent's tail.
func (f *Fleet) byDefault(a *agent) bool { return f.cfg.byDefault && a.rule.Threshold == 0 }

func (f *Fleet) missedBeats(a *agent) time.Duration {
	return time.Duration(or(a.rule.MissedBeats, f.cfg.MissedBeats))
}

// silentFrom is the trusted instant from which silence counts.
func (f *Fleet) silentFrom(a *agent) Instant {
	if a.last <= f.graceFrom {
		return max(a.last, f.graceTo)
	}
	return a.last
}

// limit is the silence at which phi reaches a share of the threshold, and the
// rule that says so.
func (f *Fleet) limit(a *agent, share float64) (time.Duration, Rule) {
	interval := f.interval(a)
	missed := float64(f.missedBeats(a)*interval) * share
	samples := a.est.Samples()
	fixed := f.cfg.Suspicion.Algorithm == suspicion.Fixed
	if samples < f.cfg.MinSamples && !fixed {
		return time.Duration(missed), RuleMissedBeats
	}
	level := f.threshold(a)
	at := a.est.Crossing(level * share)
	if fixed {
		return at, RuleMissedBeats
	}
	if share == 1 && f.byDefault(a) {
		if surer := a.est.Crossing(level + surerLevel); float64(surer) <= surerCost*float64(at) {
			at = surer
		}
	}
	most := patience * max(interval, a.est.Interval())
	if samples < youngSamples {
		most = time.Duration(2 * missed)
	}
	if at > most {
		return most, RuleMissedBeats
	}
	return at, RulePhi
}

// phi is the level of suspicion after so much silence.
func (f *Fleet) phi(a *agent, silence time.Duration) float64 {
	if a.state == gone || a.state == ignored || silence <= 0 {
		return 0
	}
	threshold := f.threshold(a)
	if a.state == awaited {
		return min(threshold*float64(silence)/float64(a.start), suspicion.MaxPhi)
	}
	full, _ := f.limit(a, 1)
	phi := a.est.Phi(silence)
	if a.est.Samples() < f.cfg.MinSamples {
		phi = threshold * float64(silence) / float64(full)
	}
	if silence >= full {
		phi = max(phi, threshold)
	} else {
		phi = min(phi, threshold) // a verdict may wait to be surer
	}
	return min(phi, suspicion.MaxPhi)
}

// evidence is what is known of the agent now.
func (f *Fleet) evidence(a *agent, now, trusted Instant, rule Rule) Evidence {
	return Evidence{
		Phi: f.phi(a, trusted-f.silentFrom(a)), Threshold: f.threshold(a),
		Elapsed: f.elapsed(a, now), Beaten: a.heard > 0,
		Interval: f.interval(a), Samples: a.est.Samples(), Rule: rule,
	}
}

// elapsed is the real time since the last heartbeat, or since the start.
func (f *Fleet) elapsed(a *agent, now Instant) time.Duration {
	if a.heard > 0 {
		return now - a.heard
	}
	return f.clock.trusted(now) - a.last + f.clock.lost - a.lost
}

// find adds a finding about an agent.
func (f *Fleet) find(a *agent, fd Finding) {
	fd.Agent, fd.Incarnation, fd.About = a.id, a.incarnation, a.about
	f.out = append(f.out, fd)
}

// become moves an agent into a band and reports it.
func (f *Fleet) become(a *agent, b Band, e Evidence) {
	if a.band == b {
		return
	}
	from := a.band
	f.move(a, b)
	f.find(a, Finding{Kind: BandChanged, From: from, To: b, Evidence: e})
}

func (f *Fleet) move(a *agent, b Band) {
	f.counts[a.band]--
	f.counts[b]++
	a.band = b
}

// fail declares an agent failed.
func (f *Fleet) fail(i uint32, reason Reason, rule Rule, now, trusted Instant) {
	a := &f.agents[i]
	f.create(a)
	e := f.evidence(a, now, trusted, rule)
	a.state, a.reason, a.since = failed, reason, now
	f.find(a, Finding{Kind: Failed, Reason: reason, Evidence: e})
	f.become(a, Unhealthy, e)
	f.wheel.Set(i, trusted+f.cfg.ForgetAfter)
}

// depart says that nothing is expected of the agent any more.
func (f *Fleet) depart(i uint32, ended bool, now, trusted Instant) {
	a := &f.agents[i]
	if a.state == ignored {
		return
	}
	a.ended = a.ended || ended
	if a.state != gone {
		a.state, a.since = gone, now
	}
	if ended {
		f.move(a, Unknown) // the exit event says it already
	} else {
		f.become(a, Unknown, Evidence{})
	}
	f.wheel.Set(i, trusted+f.cfg.ForgetAfter)
}

// fire handles an agent's deadline.
func (f *Fleet) fire(now, trusted Instant, i uint32) {
	a := &f.agents[i]
	silence := trusted - f.silentFrom(a)
	switch a.state {
	case gone, failed:
		// One that beats on, though hung or leaving, is not forgotten.
		if idle := now - max(a.heard, a.since); idle < f.cfg.ForgetAfter {
			f.wheel.Set(i, trusted+f.cfg.ForgetAfter-idle)
			return
		}
		f.forget(i)
	case ignored:
	case awaited:
		if silence < a.start {
			f.arm(i)
			return
		}
		f.fail(i, NoFirstHeartbeat, RuleStartDeadline, now, trusted)
	case watched:
		f.suspect(i, silence, now, trusted)
	}
}

// suspect acts on a silence that may have crossed the next level.
func (f *Fleet) suspect(i uint32, silence time.Duration, now, trusted Instant) {
	a := &f.agents[i]
	if a.band != Degraded {
		half, rule := f.limit(a, 0.5)
		if silence < half {
			f.wheel.Set(i, trusted-silence+half)
			return
		}
		if full, _ := f.limit(a, 1); silence < full {
			f.become(a, Degraded, f.evidence(a, now, trusted, rule))
			f.find(a, Finding{Kind: ProbeWanted})
		}
	}
	full, rule := f.limit(a, 1)
	if silence < full {
		f.wheel.Set(i, trusted-silence+full)
		return
	}
	f.fail(i, HeartbeatTimeout, rule, now, trusted)
}

// arm sets the deadline to the next level the agent's silence can cross.
func (f *Fleet) arm(i uint32) {
	a := &f.agents[i]
	from := f.silentFrom(a)
	switch a.state {
	case awaited:
		f.wheel.Set(i, from+a.start)
	case watched:
		share := 0.5
		if a.band == Degraded {
			share = 1
		}
		at, _ := f.limit(a, share)
		f.wheel.Set(i, from+at)
	}
}
