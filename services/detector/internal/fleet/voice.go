package fleet

import "time"

// TypeRunner is the type of runners, which beat like agents, under their name.
const TypeRunner = "runner"

// voice is what is known of a runner, for the agents whose heartbeats it sends:
// while it is not heard, their silence is not theirs.
type voice struct {
	heard Instant // trusted instant of its last sign of life
	back  Instant // trusted instant from which it has been there without a break
	asked Instant // trusted instant of the last question to it
}

// voice returns what is known of an agent's runner: nothing, where it was never
// heard.
func (f *Fleet) voice(a *agent) voice {
	if v := f.voices[f.texts.text(a.runner)]; v != nil {
		return *v
	}
	return voice{}
}

// heardRunner notes a runner's heartbeat, before it changes the runner's entry.
// One that was missed, had left or was started again has come back: its agents
// could not be heard in between.
func (f *Fleet) heardRunner(r *agent, seq uint64, trusted Instant) {
	name := f.roster.Name(r.number)
	v := f.voices[name]
	if v == nil {
		v = &voice{}
		f.voices[name] = v
	}
	if r.state != ignored && (r.state != watched || r.band != Healthy || r.process(seq) == NewProcess) {
		v.back = trusted
	}
	v.heard = trusted
}

// speaks reports whether the agent's runner is there.
func (f *Fleet) speaks(a *agent) bool {
	r := f.lookup(f.texts.text(a.runner))
	return r != nil && (r.state == ignored || r.state == watched && r.band == Healthy)
}

const (
	// respite is the most that an agent is given to be heard after a runner for
	// which its verdict had waited.
	respite = time.Second
	// askAgain is how often a runner is asked while verdicts wait for it.
	askAgain = time.Second
)

// waitsForRunner reports whether a verdict on the silence of an agent has to
// wait, since its runner, which sends its heartbeats, may be what is silent. The
// silence is the agent's as soon as the runner was heard when the agent had been
// silent for so long already. A verdict that had to wait for that leaves the
// agent an interval more, as it may be heard behind its runner.
func (f *Fleet) waitsForRunner(a *agent, trusted Instant, proven time.Duration) bool {
	if !a.spoken {
		return false
	}
	pause := min(f.interval(a), respite)
	v := f.voice(a)
	heard, waits := f.waits[a.number]
	switch {
	case v.heard-f.silentFrom(a) < proven:
		f.waits[a.number] = 0
		if known := f.voices[f.texts.text(a.runner)]; known != nil && trusted-known.asked >= askAgain {
			known.asked = trusted
			f.find(a, Finding{Kind: ProbeWanted, OfRunner: true})
		}
	case !waits:
		return false
	case heard == 0:
		f.waits[a.number] = trusted
	case trusted-heard >= pause:
		delete(f.waits, a.number)
		return false
	}
	f.wheel.Set(a.number, trusted+pause)
	return true
}

// RunnerAnswer is what a runner answered about an agent.
type RunnerAnswer uint8

const (
	// RunnerSilent: no answer came.
	RunnerSilent RunnerAnswer = iota
	// RunnerHasNot: it has no such agent, or one of another incarnation.
	RunnerHasNot
	// RunnerRuns: the agent's process lives, and nobody ordered it to stop.
	RunnerRuns
	// RunnerStops: the agent was ordered to stop, which the runner sees to.
	RunnerStops
	// RunnerEnded: the agent's process has ended.
	RunnerEnded
)

// AskedRunner applies what a runner answered about an agent's incarnation. It is
// a sign of life of the runner, though not of one that had been away: of that its
// own heartbeat tells.
func (f *Fleet) AskedRunner(now Instant, id string, incarnation uint64, answer RunnerAnswer) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	if answer == RunnerSilent || a == nil || a.incarnation != incarnation {
		return f.out
	}
	if v := f.voices[f.texts.text(a.runner)]; v != nil && f.speaks(a) {
		v.heard = trusted
	}
	l, leaves := f.leaves[a.number]
	if !leaves || !l.asked {
		return f.out
	}
	switch answer {
	case RunnerRuns:
		f.fail(a, StoppingTimeout, RuleShutdownTimeout, now, trusted)
	case RunnerStops: // and kills it when its time is over
		l.until, l.asked = trusted+leaveMargin, false
		f.leaves[a.number] = l
		f.wheel.Set(a.number, l.until)
	case RunnerEnded, RunnerHasNot: // the runner and the supervisor see to that
		f.depart(a, false, now, trusted)
	}
	return f.out
}
