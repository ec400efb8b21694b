package fleet

import (
	"maps"
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
	i, known := f.index[id]
	if !known {
		return View{}, false
	}
	a := &f.agents[i]
	rule := RuleStartDeadline
	if a.state == watched || a.state == failed {
		_, rule = f.limit(a, 1)
	}
	return View{
		Agent: a.id, Incarnation: a.incarnation, Band: a.band, About: a.about,
		Evidence: f.evidence(a, now, f.clock.trusted(now), rule),
		Watched:  a.state == awaited || a.state == watched || a.state == failed,
		Failed:   a.state == failed, Reason: a.reason, Ended: a.ended && a.state == gone,
	}, true
}

// Names lists the agents known after the given one, in order.
func (f *Fleet) Names(after string) []string {
	names := make([]string, 0, len(f.index))
	for name := range maps.Keys(f.index) {
		if name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
