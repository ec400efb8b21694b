package leader

import (
	"slices"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// listening holds the agents whose heartbeats matter: those whose start is being
// verified, or that may run already. A fleet's other heartbeats are the
// detector's matter.
type listening map[string]bool

// follow keeps the agents to listen to, as nodes change.
func (l *Leader) follow(changes []tree.Change) (listen, deafen []string) {
	for _, c := range changes {
		switch {
		case c.Removed:
			deafen = l.deafen(c.ID, deafen)
		case c.State == nil || c.State.Supervisor != nil:
		case l.matters(c.ID, c.State):
			if !l.heard[c.ID] {
				l.heard[c.ID] = true
				listen = append(listen, c.ID)
			}
		default:
			deafen = l.deafen(c.ID, deafen)
		}
	}
	return listen, deafen
}

func (l *Leader) deafen(agent string, to []string) []string {
	if !l.heard[agent] {
		return to
	}
	delete(l.heard, agent)
	return append(to, agent)
}

// listenAll lists the agents of a tree just taken over that are to be listened
// to and are not yet.
func (l *Leader) listenAll() []string {
	var out []string
	for id, r := range l.tree.Snapshot().Nodes {
		if r.Spec.Agent != nil && !l.heard[id] && l.matters(id, r.State) {
			l.heard[id] = true
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// matters reports whether an agent's heartbeats say anything new.
func (l *Leader) matters(agent string, st *tree.State) bool {
	switch st.Phase {
	case tree.Claiming:
		return true
	case tree.Starting, tree.Verifying, tree.Stabilising:
	default:
		// Not while its start waits, either: listening to each of ten thousand
		// that wait would take longer than the decision.
		return false
	}
	spec, _, ok := l.tree.Lookup(agent)
	return ok && spec.Agent != nil && spec.Agent.Verify
}

// News reports whether a heartbeat of an agent's incarnation (0: it does not
// say) says anything that the tree does not know.
func (l *Leader) News(agent string, incarnation uint64, unwell bool) bool {
	_, st, ok := l.tree.Lookup(agent)
	switch {
	case ok && st.Phase == tree.Claiming:
		return true
	case !ok || incarnation != 0 && incarnation != st.Incarnation:
		return false
	case st.Phase == tree.Starting && st.Beat, st.Phase == tree.Stabilising:
		return st.Unwell != unwell
	}
	return true
}
