package chain

import (
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// decision is a decision with all its parts: a large one is stored as several
// messages, of which the first stands for all.
type decision struct {
	event contracts.StoredEvent
	data  contracts.DecisionsData
}

// whole reads a decision from its first message.
func (w *walk) whole(first contracts.StoredEvent) (decision, error) {
	d, err := contracts.DecodeData[contracts.DecisionsData](first.Event)
	if err != nil || !d.More {
		return decision{first, d}, err
	}
	rest, err := w.log.After(first.Sequence, treeTypes, first.Event.Entity, maxParts)
	if err != nil {
		return decision{first, d}, err
	}
	return join(append([]contracts.StoredEvent{first}, rest...))[0], nil
}

// join reads the decisions of a tree from messages that follow each other.
func join(events []contracts.StoredEvent) []decision {
	var out []decision
	goesOn := false
	for _, e := range events {
		d, err := contracts.DecodeData[contracts.DecisionsData](e.Event)
		if err != nil {
			goesOn = false
			continue
		}
		if last := len(out) - 1; goesOn && out[last].data.Number == d.Number {
			out[last].data.Inputs = append(out[last].data.Inputs, d.Inputs...)
			out[last].data.Effects = append(out[last].data.Effects, d.Effects...)
		} else {
			out = append(out, decision{e, d})
		}
		goesOn = d.More
	}
	return out
}

// continues tells whether a decision ordered something about a node in a story.
func (d decision) continues(node, story string) bool {
	return slices.ContainsFunc(d.data.Effects, func(f contracts.DecisionEffect) bool {
		return f.Node == node && (f.Correlation == story || f.Correlation == "" && d.event.Event.CorrelationID == story)
	})
}

// choose finds the effect about the target, and the input that led to it.
// Without such an effect the input about the target counts, else the first.
func choose(d contracts.DecisionsData, about target) (*contracts.DecisionEffect, *contracts.DecisionInput) {
	if e := chooseEffect(d.Effects, about); e != nil {
		if e.Input >= 0 && e.Input < len(d.Inputs) {
			return e, &d.Inputs[e.Input]
		}
		return e, inputAbout(d.Inputs, about)
	}
	return nil, inputAbout(d.Inputs, about)
}

func chooseEffect(effects []contracts.DecisionEffect, about target) *contracts.DecisionEffect {
	var best *contracts.DecisionEffect
	bestRank := -1
	for i := range effects {
		e := &effects[i]
		if e.Node != about.node {
			continue
		}
		rank := 0
		if k := slices.Index(about.kinds, e.Kind); k >= 0 {
			rank = 2 * (len(about.kinds) - k)
		}
		if e.Incarnation == about.incarnation {
			rank++
		}
		if rank > bestRank {
			best, bestRank = e, rank
		}
	}
	return best
}

func inputAbout(inputs []contracts.DecisionInput, about target) *contracts.DecisionInput {
	if len(inputs) == 0 {
		return nil
	}
	i := slices.IndexFunc(inputs, func(in contracts.DecisionInput) bool { return in.Node == about.node })
	return &inputs[max(i, 0)]
}

func runningEffect(d contracts.DecisionsData, agent string, incarnation uint64) int {
	return slices.IndexFunc(d.Effects, func(e contracts.DecisionEffect) bool {
		return e.Kind == "running" && e.Node == agent && e.Incarnation == incarnation
	})
}
