package fleet

import (
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

// newcomer is an unannounced agent on probation.
type newcomer struct {
	index uint32
	id    string
}

// Start is a start that somebody announced.
type Start struct {
	Agent       string
	Incarnation uint64
	About       About
	// Deadline is how long the first heartbeat may take; 0 is the default.
	Deadline time.Duration
	// Age is how long ago it was.
	Age time.Duration
	// Discovered: nobody ordered it, it was once seen to beat.
	Discovered bool
}

// Started takes note of a start. An incarnation already known changes nothing
// but what is known about the agent.
func (f *Fleet) Started(now Instant, s Start) []Finding {
	trusted := f.begin(now, false)
	i, known := f.index[s.Agent]
	if !known {
		if s.Discovered && !f.room() {
			return f.out
		}
		i = f.admit(s.Agent, !s.Discovered)
		if s.Discovered {
			f.newcomers = append(f.newcomers, newcomer{i, s.Agent})
		}
		f.renew(i, s.Incarnation, trusted)
	}
	a := &f.agents[i]
	if s.Incarnation < a.incarnation || s.Incarnation > 0 && s.Incarnation <= a.over {
		f.stats.Stale++
		return f.out
	}
	if !s.Discovered {
		f.announce(a)
	}
	a.about.Runner = or(s.About.Runner, a.about.Runner)
	a.about.Type = or(s.About.Type, a.about.Type)
	if !a.beaten {
		note(&a.about, s.About)
		f.declare(a, s.About.Interval)
	}
	if a.state == ignored {
		a.incarnation = s.Incarnation
		return f.out
	}
	again := a.state == gone && s.Incarnation == 0
	if s.Incarnation > a.incarnation || again {
		f.renew(i, s.Incarnation, trusted)
		note(&a.about, s.About)
		f.declare(a, s.About.Interval)
	}
	f.await(i, s)
	return f.out
}

// await expects the first heartbeat of an agent that has not beaten yet.
func (f *Fleet) await(i uint32, s Start) {
	a := &f.agents[i]
	if a.state != awaited || a.beaten {
		return
	}
	a.start = or(s.Deadline, f.cfg.StartDeadline)
	if s.Age > a.start {
		// It must have been beating long since: what is missing is the next
		// heartbeat, not the first.
		a.state = watched
		a.last = max(a.last, f.graceTo)
	} else {
		a.start -= s.Age
	}
	f.arm(i)
}

// Ended takes note of a proven end: the exit of a process, or a start that did
// not succeed. No verdict will be given on that incarnation any more.
func (f *Fleet) Ended(now Instant, id string, incarnation uint64) []Finding {
	trusted := f.begin(now, false)
	i, known := f.index[id]
	if !known {
		i = f.admit(id, true)
	}
	a := &f.agents[i]
	if incarnation < a.incarnation {
		f.stats.Stale++
		return f.out
	}
	f.announce(a)
	a.incarnation, a.over = incarnation, max(a.over, incarnation)
	f.depart(i, true, now, trusted)
	return f.out
}

// Verdict restores a verdict given earlier: the agent is failed until it beats
// again. It was given age ago.
func (f *Fleet) Verdict(now Instant, id string, incarnation uint64, reason Reason, age time.Duration) []Finding {
	trusted := f.begin(now, false)
	i, known := f.index[id]
	if !known {
		if !f.room() {
			return f.out
		}
		i = f.admit(id, false)
	}
	a := &f.agents[i]
	if incarnation < a.incarnation || a.state == ignored {
		return f.out
	}
	a.incarnation, a.state, a.reason, a.since = incarnation, failed, reason, now-age
	a.beaten, a.unclean, a.last, a.lost = true, true, trusted, f.clock.lost
	f.move(a, Unhealthy)
	f.wheel.Set(i, trusted+f.cfg.ForgetAfter)
	return f.out
}

// Returned restores that a verdict was taken back.
func (f *Fleet) Returned(now Instant, id string, incarnation uint64) []Finding {
	trusted := f.begin(now, false)
	i, known := f.index[id]
	if !known || f.agents[i].state != failed || f.agents[i].incarnation != incarnation {
		return f.out
	}
	a := &f.agents[i]
	a.state, a.last = watched, max(trusted, f.graceTo)
	f.move(a, Unknown)
	f.arm(i)
	return f.out
}

// Left restores what an earlier detector knew: the agent said goodbye.
func (f *Fleet) Left(now Instant, id string, incarnation uint64) []Finding {
	trusted := f.begin(now, false)
	if i, known := f.index[id]; known && incarnation >= f.agents[i].incarnation {
		f.move(&f.agents[i], Unknown)
		f.depart(i, false, now, trusted)
	}
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
	i, known := f.index[id]
	if !known {
		i = f.admit(id, true)
		f.renew(i, 0, trusted)
	}
	a := &f.agents[i]
	f.announce(a)
	a.rule.Threshold = or(m.Threshold, f.cfg.Overrides[id].Threshold)
	f.declare(a, m.Interval)
	if a.state == ignored || a.state == gone || !known {
		a.state, a.beaten, a.ended, a.last, a.lost, a.heard = awaited, false, false, trusted, f.clock.lost, 0
		a.start = or(m.StartDeadline, f.cfg.StartDeadline)
	}
	f.arm(i)
	return f.out
}

// Unmonitor stops watching an agent until Monitor. It reports whether the
// agent was known.
func (f *Fleet) Unmonitor(now Instant, id string) (known bool, found []Finding) {
	f.begin(now, false)
	i, known := f.index[id]
	if known {
		a := &f.agents[i]
		f.announce(a)
		f.become(a, Unknown, Evidence{})
		a.state = ignored
		f.wheel.Clear(i)
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
	i, known := f.index[id]
	if !known || f.agents[i].incarnation != incarnation {
		return f.out
	}
	a := &f.agents[i]
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
		f.arm(i)
	case Nobody:
		// Who answered before and is not connected now is gone. After a
		// reconnect the agent may only be slower than the detector.
		if a.answers && trusted >= f.graceTo && !f.clock.suspended {
			f.fail(i, HealthCheckFailed, RuleProbe, now, trusted)
		}
	}
	return f.out
}

// admit makes an entry.
func (f *Fleet) admit(id string, announced bool) uint32 {
	var i uint32
	if n := len(f.free); n > 0 {
		i, f.free = f.free[n-1], f.free[:n-1]
	} else {
		i = uint32(len(f.agents))
		f.agents = append(f.agents, agent{})
	}
	f.agents[i] = agent{
		id: id, announced: announced, rule: f.cfg.Overrides[id],
		est: suspicion.New(f.cfg.Suspicion, f.cfg.Interval), start: f.cfg.StartDeadline,
	}
	f.index[id] = i
	f.counts[Unknown]++
	if !announced {
		f.unannounced++
	}
	return i
}

// discover admits an agent that nobody announced.
func (f *Fleet) discover(b Beat, trusted Instant) uint32 {
	i := f.admit(b.Agent, false)
	f.newcomers = append(f.newcomers, newcomer{i, b.Agent})
	f.renew(i, b.Incarnation, trusted)
	f.agents[i].untold, f.agents[i].met = true, trusted
	return i
}

// announce takes an agent off probation: somebody vouches for it.
func (f *Fleet) announce(a *agent) {
	if !a.announced {
		a.announced = true
		f.unannounced--
	}
}

// room makes room for one more unannounced agent, at the cost of the oldest of
// those that have hardly beaten. Agents that beat steadily are never given up
// for a newcomer.
func (f *Fleet) room() bool {
	if f.unannounced < f.cfg.MaxAgents {
		return true
	}
	for len(f.newcomers) > 0 {
		n := f.newcomers[0]
		f.newcomers = f.newcomers[1:]
		if f.onProbation(n) {
			f.stats.Evicted++
			f.out = append(f.out, Finding{Kind: Full, Agent: n.id})
			f.forget(n.index)
			return true
		}
	}
	return false
}

func (f *Fleet) onProbation(n newcomer) bool {
	i, known := f.index[n.id]
	if !known || i != n.index {
		return false
	}
	a := &f.agents[i]
	return !a.announced && a.est.Samples() < f.cfg.MinSamples
}

// renew begins a new life of an agent. What was learned of its rhythm stays.
func (f *Fleet) renew(i uint32, incarnation uint64, trusted Instant) {
	a := &f.agents[i]
	f.move(a, Unknown)
	a.incarnation, a.seq, a.state = incarnation, 0, awaited
	a.beaten, a.answers, a.ended, a.unclean = false, false, false, true
	a.last, a.lost, a.heard = trusted, f.clock.lost, 0
	a.progress, a.moved, a.cleared = 0, 0, 0
	a.start = f.cfg.StartDeadline
	a.about.Status, a.about.InFlight = "", 0
}

// forget removes an entry.
func (f *Fleet) forget(i uint32) {
	a := &f.agents[i]
	f.wheel.Clear(i)
	delete(f.index, a.id)
	f.counts[a.band]--
	if !a.announced {
		f.unannounced--
	}
	f.agents[i] = agent{}
	f.free = append(f.free, i)
	f.tidy()
}

// tidy keeps the list of newcomers from growing beyond the agents it is about.
func (f *Fleet) tidy() {
	if len(f.newcomers) < 64 || len(f.newcomers) < 2*f.unannounced {
		return
	}
	kept := f.newcomers[:0]
	for _, n := range f.newcomers {
		if f.onProbation(n) {
			kept = append(kept, n)
		}
	}
	f.newcomers = kept
}
