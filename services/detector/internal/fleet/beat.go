package fleet

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

// Beat is a heartbeat.
type Beat struct {
	Agent string
	// Incarnation and Seq are 0 when the agent does not tell.
	Incarnation, Seq uint64
	// Instance names the process, where the agent tells; another one is another
	// life of the agent in the same incarnation.
	Instance string
	// About.Interval is 0 when the agent declares none; About.Runner is the
	// runner that sends it for the agent.
	About    About
	Progress uint64
	// Busy: the agent says that its work may stand still until BusyUntil, which
	// counts as of the first heartbeat with that Promise: the agent's own word
	// for the time of day, 0 where it is not known. So a step of anybody's wall
	// clock neither shortens a promise nor prolongs it.
	Busy      bool
	BusyUntil Instant
	Promise   int64
	// Detail says why the agent is stuck, where it is.
	Detail string
}

// Beat takes note of a heartbeat that arrived at now.
func (f *Fleet) Beat(now Instant, b Beat) []Finding {
	f.beat(now, f.begin(now, false), &b)
	return f.out
}

// Beats takes note of heartbeats that arrived at now, in their order. It finds
// what Beat would, in much less time when there are many agents.
func (f *Fleet) Beats(now Instant, beats []Beat) []Finding {
	trusted := f.begin(now, false)
	for group := range slices.Chunk(beats, groupSize) {
		f.warm(group)
		for i := range group {
			f.beat(now, trusted, &group[i])
		}
	}
	return f.out
}

// groupSize is how many heartbeats are looked ahead.
const groupSize = 32

// warm brings the entries of a group into the processor's cache. What costs
// time with many agents is waiting for memory; looked for one after the other,
// each place tells only when it has come where to look next. Looking for all of
// a group at once, the processor waits for many at a time.
func (f *Fleet) warm(group []Beat) {
	var numbers [groupSize]uint32
	n := 0
	for i := range group {
		if number, ok := f.roster.Guess(group[i].Agent); ok {
			numbers[n] = number
			n++
		}
	}
	for _, number := range numbers[:n] {
		f.warmth += f.at(number).seq + uint64(f.at(number).reason)
		f.bank.Warm(number)
	}
	for _, number := range numbers[:n] {
		f.bank.Warm(number)
	}
}

func (f *Fleet) beat(now, trusted Instant, b *Beat) {
	a := f.lookup(b.Agent)
	known := a != nil
	if !known {
		if len(b.Agent) > MaxName || !f.room() {
			f.stats.Refused++
			f.out = append(f.out, Finding{Kind: Full, Agent: b.Agent})
			return
		}
		a = f.discover(b, trusted)
	}
	if b.About.Type == TypeRunner && !b.About.Status.leaves() {
		f.heardRunner(a, b.Seq, trusted)
	}
	switch {
	case a.state == ignored:
		a.heard = now
		return
	case b.Incarnation != 0 && (b.Incarnation < a.incarnation || b.Incarnation <= a.over):
		f.stats.Stale++
		return
	case b.Incarnation > a.incarnation:
		f.renew(a, b.Incarnation, trusted)
	}
	if b.Instance != "" && !f.sameLife(a, b, trusted) {
		return
	}
	if a.state == gone && !f.revive(a, b, now, trusted) {
		return
	}
	if !known {
		f.note(a, &b.About)
	}
	if a.untold && (b.Incarnation == 0 || trusted-f.past(a).met >= announcedWithin) {
		f.create(a)
	}
	f.hear(a, b, now, trusted)
}

// create tells once that an agent nobody announced was discovered. Who has an
// incarnation was started by somebody, whose word may come after the first
// heartbeat.
func (f *Fleet) create(a *agent) {
	if a.untold && !a.announced {
		f.find(a, Finding{Kind: Created})
	}
	a.untold = false
}

// Untold says that nobody could be told of an agent that was Created. It will
// be found again at a later heartbeat.
func (f *Fleet) Untold(id string) {
	if a := f.lookup(id); a != nil && !a.announced {
		a.untold = true
	}
}

// revive decides about a heartbeat of an agent that is gone: a straggler, or a
// new life that nobody announced.
func (f *Fleet) revive(a *agent, b *Beat, now, trusted Instant) bool {
	if a.ended {
		quiet := f.interval(a)
		if a.incarnation > 0 {
			// Its successor is announced by a start event, so that only
			// somebody else under the same name can beat for long.
			quiet = max(10*quiet, 10*time.Second)
		}
		if b.Incarnation != 0 || now-f.past(a).since <= quiet {
			f.stats.Stale++
			return false
		}
		f.renew(a, 0, trusted)
		f.find(a, Finding{Kind: Created})
		a.untold = false
		return true
	}
	a.unclean = true
	a.state = watched
	return true
}

// hear is a heartbeat of the agent's present life.
func (f *Fleet) hear(a *agent, b *Beat, now, trusted Instant) {
	first := !a.beaten
	if a.beaten && b.Seq != 0 && b.Seq <= a.seq {
		f.find(a, Finding{Kind: WentBack, Seq: b.Seq, LastSeq: a.seq})
	}
	rearm := a.state != watched || a.band != Healthy
	if f.declare(a, b.About.Interval) {
		rearm = true
	} else if a.beaten {
		f.learn(a, b.Seq, now)
		rearm = f.assume(a) || rearm
	}
	process := a.process(b.Seq)
	leaves := b.About.Status.leaves()
	hung, rule := f.hung(a, b, now) && !leaves, RuleProgress
	if b.About.Status == Stuck {
		hung, rule = true, RuleWatchdog
	}
	overdue := leaves && a.state == failed && f.texts.text(a.reason) == string(StoppingTimeout)
	a.last, a.heard, a.lost, a.seq = trusted, now, f.clock.lost, b.Seq
	a.beaten, a.unclean, a.cleared = true, false, 0
	f.note(a, &b.About)
	if a.spoken = b.About.Runner != ""; a.spoken {
		f.regroup(a, &a.runner, b.About.Runner)
	}
	if a.state == failed && !hung && !overdue {
		a.state = watched
		f.mistakes[a.number]++
		f.find(a, Finding{Kind: Recovered, For: now - f.past(a).since, Process: process})
	}

	switch {
	case overdue:
		return
	case leaves:
		f.leave(a, now, trusted)
		return
	case hung:
		if a.state != failed {
			f.failSaying(a, Hung, rule, b.Detail, now, trusted)
		}
		a.unclean = rule == RuleWatchdog // it beats no more, on purpose
		return
	}
	f.settle(a)
	a.state = watched
	if a.band != Healthy {
		f.become(a, Healthy, f.evidence(a, now, trusted, ""))
	}
	if first {
		f.find(a, Finding{Kind: ProbeWanted})
	}
	if rearm {
		f.arm(a)
	}
}

// process tells from the count of heartbeats whether it goes on or begins anew.
func (a *agent) process(seq uint64) Process {
	switch {
	case seq == 0 || a.seq == 0:
		return UntoldProcess
	case seq > a.seq:
		return SameProcess
	}
	return NewProcess
}

// declare takes the interval the agent tells, if it is another than before.
func (f *Fleet) declare(a *agent, interval time.Duration) bool {
	if interval <= 0 || a.declares && interval == a.pace {
		return false
	}
	a.pace, a.declares = suspicion.Clamp(interval), true
	f.bank.Declare(a.number, a.pace)
	return true
}

// learn gives the gap before this heartbeat to the estimator, if it was the
// agent's own doing.
func (f *Fleet) learn(a *agent, seq uint64, now Instant) {
	gap := now - a.heard
	beats := 1
	switch {
	case seq == 0 || a.seq == 0:
	case seq <= a.seq: // another process, or out of order
		return
	case seq-a.seq < 1000:
		beats = int(seq - a.seq)
	}
	interval := f.interval(a)
	if a.unclean || a.last <= f.graceFrom || f.clock.lost-a.lost > interval/stallShare {
		a.burst = true
		return
	}
	if a.burst && gap < interval/2 {
		return
	}
	// Heartbeats that were held up come all at once after a long gap.
	a.burst = gap > 2*interval && beats == 1
	if a.state == failed {
		// What ends a suspicion is no normal gap. It is learned as one not far
		// beyond the limit, so that the limit gives way to an agent that
		// changed its habits, but not to one that was away.
		full, _ := f.limit(a, 1)
		gap = min(gap, 2*full)
	}
	f.bank.Observe(a.number, gap, beats)
	f.teach(a, gap, beats)
	if !a.declares {
		f.past(a).longest = max(f.past(a).longest, now-a.heard)
	}
	f.prove(a)
}

// assume guesses the interval of an agent that declares none from its first
// gaps, and tells whether it changed.
func (f *Fleet) assume(a *agent) bool {
	samples := f.bank.Samples(a.number)
	if a.declares || samples == 0 || samples > f.cfg.MinSamples {
		return false
	}
	longest := f.past(a).longest
	if samples < assumeAfter && longest <= f.interval(a) {
		return false
	}
	guess := min(max(longest, minAssumed), maxAssumed)
	if guess == a.pace {
		return false
	}
	a.pace = guess
	f.bank.Declare(a.number, guess)
	return true
}

// hung tells whether the agent beats though its work stands still past the
// time it gave itself. It looks at the heartbeat before this one, too.
func (f *Fleet) hung(a *agent, b *Beat, now Instant) bool {
	same, before := b.Progress == a.progress, a.busy
	a.progress, a.busy = b.Progress, b.Busy
	if !b.Busy {
		if before {
			delete(f.works, a.number)
		}
		return false
	}
	w := f.works[a.number]
	if !before || b.Promise == 0 || b.Promise != w.promise {
		w.promise, w.until = b.Promise, b.BusyUntil
	}
	switch {
	case !same || a.heard == 0:
		w.moved = now
	case !before:
		w.moved = a.heard
	}
	f.works[a.number] = w
	interval := f.interval(a)
	return now > w.until+interval && (w.moved < w.until || now-w.moved > max(patience*interval, maxSkew))
}
