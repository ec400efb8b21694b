package fleet

import (
	"bytes"
	"slices"
)

// View is what is known of one agent.
type View struct {
	Agent       string
	Incarnation uint64
	Band        Band
	About       About
	Evidence    Evidence
	// Watched is false for agents that left, ended or are not monitored.
	Watched bool
	// Failed is set while the agent is taken for dead, with the reason.
	Failed bool
	Reason Reason
	// Ended: its end is proven.
	Ended bool
}

// Agent gives what is known of an agent.
func (f *Fleet) Agent(now Instant, id string) (View, bool) {
	a := f.lookup(id)
	if a == nil {
		return View{}, false
	}
	rule := RuleStartDeadline
	if a.state == watched || a.state == failed {
		_, rule = f.limit(a, 1)
	}
	return View{
		Agent: id, Incarnation: a.incarnation, Band: a.band, About: f.about(a),
		Evidence: f.evidence(a, now, f.clock.trusted(now), rule),
		Watched:  a.state == awaited || a.state == watched || a.state == failed,
		Failed:   a.state == failed, Reason: Reason(f.texts.text(a.reason)), Ended: a.ended && a.state == gone,
	}, true
}

// Filter chooses agents; zero fields let all pass.
type Filter struct {
	// After lets pass what comes later in the order of names.
	After string
	// Type is the agents' type.
	Type string
	// Band is the agents' health.
	Band *Band
}

func (f *Fleet) passes(a *agent, filter *Filter) bool {
	return (filter.Type == "" || f.texts.text(a.kind) == filter.Type) && (filter.Band == nil || a.band == *filter.Band)
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
