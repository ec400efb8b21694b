package fleet

import (
	"bytes"
	"slices"
	"time"
)

// View is what is known of one agent.
type View struct {
	Agent       string
	Incarnation uint64
	Band        Band
	About       About
	Evidence    Evidence
	// Silence is what counts as the agent's silence now. DegradedAfter and
	// FailedAfter are the silences that make it degraded and failed; without
	// Watched they say what would be; they are 0 while it stops.
	Silence, DegradedAfter, FailedAfter time.Duration
	// Mistakes are the verdicts on it that were taken back.
	Mistakes int
	// Watched is false for agents that left, ended or are not monitored.
	Watched bool
	// Failed is set while the agent is taken for dead, with the reason.
	Failed bool
	Reason Reason
	// Ended: its end is proven.
	Ended bool
	// Waits: a verdict on it waits until its runner is heard.
	Waits bool
}

// Agent gives what is known of an agent.
func (f *Fleet) Agent(now Instant, id string) (View, bool) {
	a := f.lookup(id)
	if a == nil {
		return View{}, false
	}
	trusted := f.clock.trusted(now)
	_, waits := f.waits[a.number]
	half, _ := f.limit(a, 0.5)
	full, rule := f.limit(a, 1)
	if a.state == awaited {
		start := f.past(a).start
		half, full, rule = start, start, RuleStartDeadline
	}
	if a.state == leaving {
		half, full, rule = 0, 0, RuleShutdownTimeout
	}
	return View{
		Agent: id, Incarnation: a.incarnation, Band: a.band, About: f.about(a),
		Evidence: f.evidence(a, now, trusted, rule),
		Silence:  max(trusted-f.silentFrom(a), 0), DegradedAfter: half, FailedAfter: full, Mistakes: f.mistakes[a.number],
		Watched: a.state == awaited || a.state == watched || a.state == failed || a.state == leaving,
		Waits:   waits,
		Failed:  a.state == failed, Reason: Reason(f.texts.text(a.reason)), Ended: a.ended && a.state == gone,
	}, true
}

// Levels are the silences after which suspicion of an agent, as its own record
// goes, reaches the given levels.
func (f *Fleet) Levels(id string, levels []float64) []time.Duration {
	a := f.lookup(id)
	if a == nil {
		return nil
	}
	out := make([]time.Duration, len(levels))
	for n, level := range levels {
		out[n] = f.bank.Crossing(a.number, level)
	}
	return out
}

// Filter chooses agents; zero fields let all pass.
type Filter struct {
	// After lets pass what comes later in the order of names.
	After string
	// Type is the agents' type.
	Type string
	// Band is the agents' health.
	Band *Band
	// Status is what they say of themselves.
	Status Status
}

func (f *Fleet) passes(a *agent, filter *Filter) bool {
	return (filter.Type == "" || f.texts.text(a.kind) == filter.Type) && (filter.Band == nil || a.band == *filter.Band) &&
		(filter.Status == "" || f.texts.text(a.status) == string(filter.Status))
}

// Names lists the first names, at most so many, of the agents that pass. It is
// the only thing that looks at all agents.
func (f *Fleet) Names(filter Filter, most int) []string {
	var first []uint32 // in order
	byName := func(number uint32, name []byte) int { return bytes.Compare(f.roster.View(number), name) }
	after := []byte(filter.After)
	for number := range f.roster.Numbers() {
		name := f.roster.View(number)
		if name == nil || bytes.Compare(name, after) <= 0 || !f.passes(f.at(number), &filter) {
			continue
		}
		at, _ := slices.BinarySearchFunc(first, name, byName)
		if at == most {
			continue
		}
		first = slices.Insert(first[:min(len(first), most-1)], at, number)
	}
	names := make([]string, len(first))
	for i, number := range first {
		names[i] = f.roster.Name(number)
	}
	return names
}
