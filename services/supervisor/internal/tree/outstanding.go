package tree

import "sort"

// Outstanding returns the effects whose results are awaited, in the order of
// their nodes' names: what a successor performs (again) first.
func (t *Tree) Outstanding() []Effect {
	var out []Effect
	for _, n := range t.nodes {
		if n.spec.Agent == nil {
			continue
		}
		switch {
		case n.st.Phase == Stopping:
			out = append(out, n.stopEffect())
		case n.st.Phase == Starting:
			out = append(out, n.startEffect())
		case n.st.Phase == Unverified:
			out = append(out, n.reportEffect())
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Node < out[j].Node })
	return out
}

// effect is an order about a node's present incarnation.
func (n *node) effect(kind EffectKind) Effect {
	return Effect{Kind: kind, Node: n.spec.ID, Incarnation: n.st.Incarnation, Runner: n.st.Runner, Event: n.st.Cause, Chain: n.st.Chain}
}

func (n *node) startEffect() Effect { return n.effect(DoStart) }

func (n *node) stopEffect() Effect {
	e := n.effect(DoStop)
	e.Timeout, e.Kill = n.timeToStop()
	e.Reason = n.st.Why
	return e
}

func (n *node) reportEffect() Effect {
	e := n.effect(DoReport)
	e.Reason = n.st.Why
	return e
}
