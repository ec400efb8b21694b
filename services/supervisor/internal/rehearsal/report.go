package rehearsal

import (
	"cmp"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// maxAgents bounds the agents that a report lists.
const maxAgents = 500

// report returns the figures of both sides.
func (r *run) report() contracts.RehearseReply {
	out := r.reply
	out.Recorded, out.Rehearsed, out.Assumed = r.recorded.total, r.rehearsed.total, r.world.assumed
	seen := map[string]bool{}
	for _, m := range []*meter{r.recorded, r.rehearsed} {
		for id := range m.lives {
			if seen[id] || r.node(id) {
				continue
			}
			seen[id] = true
			a := contracts.RehearsalAgent{Agent: id, Recorded: *r.recorded.life(id), Rehearsed: *r.rehearsed.life(id)}
			if a.Recorded == a.Rehearsed && a.Recorded.Restarts == 0 && a.Recorded.Downtime == 0 {
				out.Others++
				continue
			}
			out.Agents = append(out.Agents, a)
		}
	}
	slices.SortFunc(out.Agents, func(a, b contracts.RehearsalAgent) int {
		return cmp.Or(cmp.Compare(apart(b), apart(a)), cmp.Compare(a.Agent, b.Agent))
	})
	if n := len(out.Agents) - maxAgents; n > 0 {
		out.Agents, out.Others = out.Agents[:maxAgents], out.Others+n
	}
	return out
}

// node reports whether a name is a supervisor's.
func (r *run) node(id string) bool {
	a, b := r.recorded.nodes[id], r.rehearsed.nodes[id]
	return a != nil && !a.agent || b != nil && !b.agent
}

// apart is how much an agent's downtimes differ.
func apart(a contracts.RehearsalAgent) contracts.Duration {
	d := a.Recorded.Downtime - a.Rehearsed.Downtime
	return max(d, -d)
}
