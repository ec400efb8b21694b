package fleet

import "time"

// Start is a start that somebody announced.
type Start struct {
	Agent       string
	Incarnation uint64
	About       About
	// Deadline is how long the first heartbeat may take; 0 is the default.
	Deadline time.Duration
	// Shutdown is how long it may take to end; 0 is not known.
	Shutdown time.Duration
	// Spoken: its heartbeats come from its runner.
	Spoken bool
	// Age is how long ago it was.
	Age time.Duration
	// Discovered: nobody ordered it, it was once heard. Again: in place of
	// a process that was there before.
	Discovered, Again bool
}

// Started takes note of a start. An incarnation already known changes nothing
// but what is known about the agent.
func (f *Fleet) Started(now Instant, s Start) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(s.Agent)
	if a == nil {
		if s.Discovered && !f.room() {
			return f.out
		}
		a = f.admit(s.Agent, !s.Discovered)
		f.renew(a, s.Incarnation, trusted)
	}
	if s.Incarnation < a.incarnation || s.Incarnation > 0 && s.Incarnation <= a.over {
		f.stats.Stale++
		return f.out
	}
	if !s.Discovered {
		f.announce(a)
	}
	f.regroup(a, &a.runner, s.About.Runner)
	f.regroup(a, &a.kind, s.About.Type)
	if !s.Discovered {
		a.spoken, f.past(a).shutdown = s.Spoken, milliseconds(s.Shutdown)
		f.rebound(a)
	}
	if !a.beaten {
		f.note(a, &s.About)
		f.declare(a, s.About.Interval)
	}
	if a.state == ignored {
		a.incarnation = s.Incarnation
		return f.out
	}
	again := a.state == gone && s.Incarnation == 0
	if s.Incarnation > a.incarnation || again {
		f.renew(a, s.Incarnation, trusted)
		f.note(a, &s.About)
		f.declare(a, s.About.Interval)
	}
	if s.Again && a.state == failed && s.Incarnation == a.incarnation {
		// Seen to beat after its failure: another process took its place.
		a.state, a.last = watched, max(trusted, f.graceTo)
		f.move(a, Unknown)
		f.arm(a)
	}
	f.await(a, s)
	return f.out
}

// await expects the first heartbeat of an agent that has not beaten yet.
func (f *Fleet) await(a *agent, s Start) {
	if a.state != awaited || a.beaten {
		return
	}
	start := &f.past(a).start
	*start = or(s.Deadline, f.cfg.StartDeadline)
	if s.Age > 0 {
		a.awaitedOf = SinceListening
	}
	if s.Discovered || s.Age > *start {
		// It has been heard, or must have been beating long since: what is
		// missing is the next heartbeat, not the first.
		a.state = watched
		a.last = max(a.last, f.graceTo)
	} else {
		*start -= s.Age
	}
	f.arm(a)
}

// Ended takes note of a proven end: the exit of a process, or a start that did
// not succeed. No verdict will be given on that incarnation any more.
func (f *Fleet) Ended(now Instant, id string, incarnation uint64) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	if a == nil {
		a = f.admit(id, true)
	}
	if incarnation < a.incarnation {
		f.stats.Stale++
		return f.out
	}
	f.announce(a)
	a.incarnation, a.over = incarnation, max(a.over, incarnation)
	f.depart(a, true, now, trusted)
	return f.out
}

// Verdict restores a verdict given earlier: the agent is failed until it beats
// again. It was given age ago.
func (f *Fleet) Verdict(now Instant, id string, incarnation uint64, reason Reason, age time.Duration) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	if a == nil {
		if !f.room() {
			return f.out
		}
		a = f.admit(id, false)
	}
	if incarnation < a.incarnation || a.state == ignored {
		return f.out
	}
	f.settle(a)
	a.incarnation, a.state, f.past(a).since = incarnation, failed, now-age
	f.texts.set(&a.reason, string(reason))
	a.beaten, a.unclean, a.last, a.lost = true, true, trusted, f.clock.lost
	if a.heard == 0 {
		a.awaitedOf, f.past(a).met = SinceListening, trusted
	}
	f.move(a, Unhealthy)
	f.wheel.Set(a.number, trusted+f.cfg.ForgetAfter)
	return f.out
}

// Returned restores that a verdict was taken back.
func (f *Fleet) Returned(now Instant, id string, incarnation uint64) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	if a == nil || a.state != failed || a.incarnation != incarnation {
		return f.out
	}
	a.state, a.last = watched, max(trusted, f.graceTo)
	f.move(a, Unknown)
	f.arm(a)
	return f.out
}

// Retract takes back a verdict on silence that nobody was told of, for the
// detector doubts what it rests on. The agent is again in the band it was in
// before, and silent from now or from the end of the grace.
func (f *Fleet) Retract(now Instant, id string, incarnation uint64, before Band) {
	a := f.lookup(id)
	if a == nil || a.state != failed || a.incarnation != incarnation {
		return
	}
	a.state, a.last, a.unclean = awaited, max(f.clock.trusted(now), f.graceTo), true
	if a.beaten {
		a.state = watched
	}
	f.move(a, before)
	f.arm(a)
}

// Left restores what an earlier detector knew: the agent said goodbye, age ago.
func (f *Fleet) Left(now Instant, id string, incarnation uint64, age time.Duration) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	if a == nil || incarnation < a.incarnation || a.state == gone {
		return f.out
	}
	f.move(a, Unknown)
	if a.runner == 0 {
		f.depart(a, false, now, trusted)
		return f.out
	}
	a.awaitedOf = SinceListening
	f.leave(a, now-age, trusted)
	return f.out
}

// Monitoring is what an operator wants of an agent's watching; zero fields
// mean the defaults.
type Monitoring struct {
	Interval, StartDeadline time.Duration
	Threshold               float64
}

// Monitor begins to watch an agent, or changes its rules. One that does not
// beat has its start deadline from now on.
func (f *Fleet) Monitor(now Instant, id string, m Monitoring) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	known := a != nil
	if !known {
		a = f.admit(id, true)
		f.renew(a, 0, trusted)
	}
	f.announce(a)
	rule := f.rule(a)
	rule.Threshold = or(m.Threshold, f.cfg.Overrides[id].Threshold)
	f.setRule(a, rule)
	f.declare(a, m.Interval)
	if a.state == ignored || a.state == gone || !known {
		a.state, a.beaten, a.ended, a.last, a.lost, a.heard = awaited, false, false, trusted, f.clock.lost, 0
		a.awaitedOf = SinceOrder
		f.past(a).met, f.past(a).start = trusted, or(m.StartDeadline, f.cfg.StartDeadline)
	}
	f.arm(a)
	return f.out
}

// Unmonitor stops watching an agent until Monitor. It reports whether the
// agent was known.
func (f *Fleet) Unmonitor(now Instant, id string) (known bool, found []Finding) {
	f.begin(now, false)
	a := f.lookup(id)
	if known = a != nil; known {
		f.announce(a)
		f.become(a, Unknown, Evidence{})
		f.settle(a)
		f.says(a, "") // what it says from now on is not heard
		a.state = ignored
		f.wheel.Clear(a.number)
	}
	return known, f.out
}

// Answer is what came of a ping.
type Answer uint8

// The answers.
const (
	// Silent: nothing came in time.
	Silent Answer = iota
	// Alive: the agent answered.
	Alive
	// Nobody: the server knows nobody who would answer.
	Nobody
)

// Probed takes note of what came of a ping sent at the instant sent to the
// agent's incarnation.
func (f *Fleet) Probed(now, sent Instant, id string, incarnation uint64, answer Answer) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	if a == nil || a.incarnation != incarnation {
		return f.out
	}
	if answer == Alive {
		a.answers = true
	}
	if a.state != watched || a.band != Degraded || a.heard > sent {
		return f.out
	}
	switch answer {
	case Alive:
		if a.cleared++; a.cleared > maxCleared {
			return f.out // alive, but its heart does not beat
		}
		a.last, a.unclean = trusted, true
		f.become(a, Healthy, f.evidence(a, now, trusted, RuleProbe))
		f.arm(a)
	case Nobody:
		// Who answered before and is not connected now is gone. After a
		// reconnect the agent may only be slower than the detector.
		if a.answers && trusted >= f.graceTo && !f.clock.suspended {
			f.fail(a, HealthCheckFailed, RuleProbe, now, trusted)
		}
	}
	return f.out
}

// renew begins a new life of an agent. What was learned of its rhythm stays.
func (f *Fleet) renew(a *agent, incarnation uint64, trusted Instant) {
	f.move(a, Unknown)
	f.settle(a)
	a.incarnation, a.seq, a.state = incarnation, 0, awaited
	a.beaten, a.answers, a.ended, a.unclean = false, false, false, true
	a.last, a.lost, a.heard = trusted, f.clock.lost, 0
	a.progress, a.busy, a.cleared = 0, false, 0
	a.awaitedOf, a.spoken = SinceStart, false
	f.past(a).met, f.past(a).start, f.past(a).shutdown = trusted, f.cfg.StartDeadline, 0
	a.inFlight = 0
	f.says(a, "")
	f.obey(a)
}
