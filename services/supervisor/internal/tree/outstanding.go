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

func (n *node) startEffect() Effect {
	return Effect{Kind: DoStart, Node: n.spec.ID, Incarnation: n.st.Incarnation, Runner: n.st.Runner, Event: n.st.Cause, Chain: n.st.Chain}
}

func (n *node) stopEffect() Effect {
	timeout, kill := n.timeToStop()
	return Effect{
		Kind: DoStop, Node: n.spec.ID, Incarnation: n.st.Incarnation, Runner: n.st.Runner,
		Timeout: timeout, Kill: kill, Reason: n.st.Why, Event: n.st.Cause, Chain: n.st.Chain,
	}
}

func (n *node) reportEffect() Effect {
	return Effect{Kind: DoReport, Node: n.spec.ID, Incarnation: n.st.Incarnation, Runner: n.st.Runner, Reason: n.st.Why, Event: n.st.Cause, Chain: n.st.Chain}
}
