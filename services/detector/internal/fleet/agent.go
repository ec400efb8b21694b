package fleet

import (
	"math"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

const (
	// What a young agent, with fewer gaps than this known, has shown of itself
	// never excuses more than so many times the missed beats, at first and
	// later: a high threshold cannot be told from little evidence.
	youngSamples          = 5000
	youngFirst, youngLast = 1.48, 2
	// From and to so many gaps the one becomes the other.
	youngFrom, youngTo = 100, 400
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

// threshold is the level of a verdict. A configured one is meant as it is
// written. The default one is for an agent that beats once per second, and
// rises for one that beats more often, so that mistakes are as rare in time.
func (f *Fleet) threshold(a *agent) float64 {
	level := or(f.rule(a).Threshold, f.cfg.Threshold)
	if f.cfg.TargetMistakes > 0 && f.rule(a).Threshold == 0 {
		return targetLevel(f.interval(a), f.cfg.TargetMistakes)
	}
	if interval := f.interval(a); f.byDefault(a) && interval < time.Second {
		level += math.Log10(time.Second.Seconds() / interval.Seconds())
	}
	return level
}

// byDefault tells whether nobody chose a threshold for the agent's tail.
func (f *Fleet) byDefault(a *agent) bool { return f.cfg.byDefault && f.rule(a).Threshold == 0 }

// rule are the agent's own rules.
func (f *Fleet) rule(a *agent) Override {
	if !a.ruled {
		return Override{}
	}
	return f.rules[a.number]
}

// setRule gives an agent rules of its own, or none.
func (f *Fleet) setRule(a *agent, rule Override) {
	if a.ruled = rule != (Override{}); a.ruled {
		f.rules[a.number] = rule
	} else {
		delete(f.rules, a.number)
	}
}

func (f *Fleet) missedBeats(a *agent) time.Duration {
	return time.Duration(or(f.rule(a).MissedBeats, f.cfg.MissedBeats))
}

// silentFrom is the trusted instant from which silence counts.
func (f *Fleet) silentFrom(a *agent) Instant {
	from := a.last
	if a.last <= f.graceFrom {
		from = max(a.last, f.graceTo)
	}
	if a.spoken {
		from = max(from, f.voice(a).back)
	}
	return from
}

// limit is the silence at which phi reaches a share of the threshold, and the
// rule that says so. An agent whose runner has just come back is given the
// missed beats in any case.
func (f *Fleet) limit(a *agent, share float64) (time.Duration, Rule) {
	at, rule := f.ownLimit(a, share)
	if a.spoken && f.voice(a).back > a.last {
		if missed := time.Duration(float64(f.missedBeats(a)*f.interval(a)) * share); missed > at {
			return missed, RuleMissedBeats
		}
	}
	return at, rule
}

// ownLimit is the limit as far as it follows from the agent's own heartbeats.
func (f *Fleet) ownLimit(a *agent, share float64) (time.Duration, Rule) {
	interval := f.interval(a)
	missed := float64(f.missedBeats(a)*interval) * share
	samples := f.bank.Samples(a.number)
	fixed := f.cfg.Suspicion.Algorithm == suspicion.Fixed
	level := f.threshold(a)
	var taught time.Duration
	var like bool
	if samples < youth && !fixed {
		taught, like = f.taught(a, level*share, time.Duration(missed))
	}
	if samples < f.cfg.MinSamples && !fixed {
		if like {
			return younger(time.Duration(missed), taught, samples), RuleType
		}
		return time.Duration(missed), RuleMissedBeats
	}
	at := f.bank.Crossing(a.number, level*share)
	if fixed {
		return at, RuleMissedBeats
	}
	if share == 1 && f.byDefault(a) {
		if surer := f.bank.Crossing(a.number, level+surerLevel); float64(surer) <= surerCost*float64(at) {
			at = surer
		}
	}
	at, rule := f.bounded(a, at, missed)
	if like {
		return younger(at, taught, samples), RulePhi
	}
	return at, rule
}

// bounded keeps a limit within what any evidence can excuse.
func (f *Fleet) bounded(a *agent, at time.Duration, missed float64) (time.Duration, Rule) {
	most := patience * max(f.interval(a), f.bank.Interval(a.number))
	if samples := f.bank.Samples(a.number); samples < youngSamples {
		grown := min(max(0, float64(samples-youngFrom)/(youngTo-youngFrom)), 1)
		most = time.Duration((youngFirst + grown*(youngLast-youngFirst)) * missed)
	}
	if at > most {
		return most, RuleMissedBeats
	}
	return at, RulePhi
}

// half is about the silence at which phi reaches half the threshold: right as
// of a few heartbeats ago. After it the exact limit is asked for.
func (f *Fleet) half(a *agent) time.Duration {
	samples := f.bank.Samples(a.number)
	if samples < f.cfg.MinSamples || f.cfg.Suspicion.Algorithm == suspicion.Fixed {
		at, _ := f.limit(a, 0.5)
		return at
	}
	missed := float64(f.missedBeats(a)*f.interval(a)) / 2
	level := f.threshold(a) / 2
	at, _ := f.bounded(a, f.bank.Soon(a.number, level), missed)
	if samples < youth {
		if taught, like := f.taught(a, level, time.Duration(missed)); like {
			return younger(at, taught, samples)
		}
	}
	return at
}

// phi is the level of suspicion after so much silence.
func (f *Fleet) phi(a *agent, silence time.Duration) float64 {
	if a.state == leaving || a.state == gone || a.state == ignored || silence <= 0 {
		return 0
	}
	threshold := f.threshold(a)
	if a.state == awaited {
		return min(threshold*float64(silence)/float64(f.past(a).start), suspicion.MaxPhi)
	}
	full, _ := f.limit(a, 1)
	phi := f.bank.Phi(a.number, silence)
	if f.bank.Samples(a.number) < f.cfg.MinSamples {
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
	e := Evidence{
		Phi: f.phi(a, trusted-f.silentFrom(a)), Threshold: f.threshold(a),
		Elapsed: f.elapsed(a, now), Since: a.since(),
		Interval: f.interval(a), Samples: f.bank.Samples(a.number), Rule: rule,
	}
	if a.state == leaving {
		e.Stopping, e.MayStop = now-f.past(a).since, f.shutdown(a)
	}
	return e
}

// since is what Elapsed counts from.
func (a *agent) since() Since {
	if a.heard > 0 {
		return SinceHeartbeat
	}
	return a.awaitedOf
}

// elapsed is the real time since the last heartbeat, or since the agent is
// awaited.
func (f *Fleet) elapsed(a *agent, now Instant) time.Duration {
	if a.heard > 0 {
		return now - a.heard
	}
	return f.clock.trusted(now) - f.past(a).met + f.clock.lost - a.lost
}

// find adds a finding about an agent.
func (f *Fleet) find(a *agent, fd Finding) {
	fd.Agent, fd.Incarnation, fd.About = f.roster.Name(a.number), a.incarnation, f.about(a)
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
	if (a.band == Unknown) != (b == Unknown) {
		f.census.enrol(a, b != Unknown)
	}
	f.counts[a.band]--
	f.counts[b]++
	a.band = b
}

// fail declares an agent failed.
func (f *Fleet) fail(a *agent, reason Reason, rule Rule, now, trusted Instant) {
	f.failSaying(a, reason, rule, "", now, trusted)
}

// failSaying is fail of an agent that said why itself.
func (f *Fleet) failSaying(a *agent, reason Reason, rule Rule, detail string, now, trusted Instant) {
	f.create(a)
	e := f.evidence(a, now, trusted, rule)
	f.settle(a)
	a.state, f.past(a).since = failed, now
	f.texts.set(&a.reason, string(reason))
	f.find(a, Finding{Kind: Failed, Reason: reason, Detail: detail, Evidence: e, OfRunner: a.spoken})
	f.become(a, Unhealthy, e)
	f.wheel.Set(a.number, trusted+f.cfg.ForgetAfter)
}

// depart says that nothing is expected of the agent any more.
func (f *Fleet) depart(a *agent, ended bool, now, trusted Instant) {
	if a.state == ignored {
		return
	}
	a.ended = a.ended || ended
	if a.state != gone {
		f.settle(a)
		a.state, f.past(a).since = gone, now
	}
	if ended {
		f.says(a, "")
		f.move(a, Unknown) // the exit event says it already
	} else {
		f.become(a, Unknown, Evidence{})
	}
	f.wheel.Set(a.number, trusted+f.cfg.ForgetAfter)
}

// fire handles an agent's deadline.
func (f *Fleet) fire(now, trusted Instant, a *agent) {
	silence := trusted - f.silentFrom(a)
	switch a.state {
	case gone, failed:
		// One that beats on, though hung or leaving, is not forgotten.
		if idle := now - max(a.heard, f.past(a).since); idle < f.cfg.ForgetAfter {
			f.wheel.Set(a.number, trusted+f.cfg.ForgetAfter-idle)
			return
		}
		f.forget(a)
	case ignored:
	case leaving:
		f.overstay(a, now, trusted)
	case awaited:
		if silence < f.past(a).start {
			f.arm(a)
			return
		}
		if f.waitsForRunner(a, trusted, min(f.interval(a), f.past(a).start)) {
			return
		}
		// One that was started before the detector was may have beaten since.
		reason := NoFirstHeartbeat
		if a.awaitedOf == SinceListening {
			reason = HeartbeatTimeout
		}
		f.fail(a, reason, RuleStartDeadline, now, trusted)
	case watched:
		f.suspect(a, silence, now, trusted)
	}
}

// suspect acts on a silence that may have crossed the next level.
func (f *Fleet) suspect(a *agent, silence time.Duration, now, trusted Instant) {
	if a.band != Degraded {
		if half := f.half(a); silence < half {
			f.wheel.Set(a.number, trusted-silence+half)
			return
		}
		half, rule := f.limit(a, 0.5)
		if silence < half {
			f.wheel.Set(a.number, trusted-silence+half)
			return
		}
		if full, _ := f.limit(a, 1); silence < full {
			f.become(a, Degraded, f.evidence(a, now, trusted, rule))
			f.find(a, Finding{Kind: ProbeWanted, OfRunner: a.spoken})
		}
	}
	full, rule := f.limit(a, 1)
	if silence < full {
		f.wheel.Set(a.number, trusted-silence+full)
		return
	}
	if half, _ := f.limit(a, 0.5); f.waitsForRunner(a, trusted, half) {
		return
	}
	f.fail(a, HeartbeatTimeout, rule, now, trusted)
}

// arm sets the deadline to the next level the agent's silence can cross.
func (f *Fleet) arm(a *agent) {
	from := f.silentFrom(a)
	switch a.state {
	case awaited:
		f.wheel.Set(a.number, from+f.past(a).start)
	case watched:
		share := 0.5
		if a.band == Degraded {
			share = 1
		}
		at, _ := f.limit(a, share)
		f.wheel.Set(a.number, from+at)
	}
}
