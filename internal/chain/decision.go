package chain

import (
	"slices"
	"strconv"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// decision is a decision with all its parts: a large one is stored as several
// messages, of which the first stands for all.
type decision struct {
	event contracts.StoredEvent
	data  contracts.DecisionsData
	parts int
	open  bool
}

// whole reads a decision from its first message.
func (w *walk) whole(first contracts.StoredEvent) (decision, error) {
	d, err := contracts.DecodeData[contracts.DecisionsData](first.Event)
	if err != nil || !d.More {
		return decision{event: first, data: d}, err
	}
	rest, err := w.log.After(first.Sequence, TreeTypes, first.Event.Entity, maxParts)
	if err != nil {
		return decision{event: first, data: d}, err
	}
	if all := join(append([]contracts.StoredEvent{first}, rest...)); len(all) > 0 && all[0].event.Event.ID == first.Event.ID {
		return all[0], nil
	}
	return decision{event: first, data: d}, nil
}

// join reads the decisions from messages that follow each other. What was never
// completed is left out: it was never acted on.
func join(events []contracts.StoredEvent) []decision {
	out, _ := joinOpen(events)
	return out
}

// joinOpen is join; rest is where the last decision begins, if it continues after
// the events, else 0.
func joinOpen(events []contracts.StoredEvent) (out []decision, rest uint64) {
	for _, e := range events {
		d, err := contracts.DecodeData[contracts.DecisionsData](e.Event)
		if err != nil {
			continue
		}
		last := len(out) - 1
		if last < 0 || !out[last].takes(e.Event.ID) {
			if last >= 0 && out[last].open {
				out = out[:last]
			}
			out = append(out, decision{event: e, data: d, parts: 1, open: d.More})
			continue
		}
		whole := &out[last]
		whole.parts, whole.open = whole.parts+1, d.More
		whole.data.Inputs = append(whole.data.Inputs, d.Inputs...)
		whole.data.Effects = append(whole.data.Effects, d.Effects...)
	}
	if last := len(out) - 1; last >= 0 && out[last].open {
		return out[:last], out[last].event.Sequence
	}
	return out, 0
}

// takes reports whether a message is the decision's next part.
func (d *decision) takes(id string) bool {
	return d.open && id == contracts.DerivedID(d.event.Event.ID, strconv.Itoa(d.parts))
}

// continues reports whether a decision did something about a node in a story.
func (d decision) continues(node, story string) bool {
	return slices.ContainsFunc(d.data.Effects, func(f contracts.DecisionEffect) bool { return f.Node == node && d.storyOf(f) == story })
}

// storyOf is the story that an effect belongs to: its own, or that of the decision
// where older supervisors recorded none. One that names a cause, or whose input
// began a story, has none.
func (d decision) storyOf(f contracts.DecisionEffect) string {
	if f.Correlation != "" || f.Cause != "" || f.Input >= 0 && f.Input < len(d.data.Inputs) && begins(d.data.Inputs[f.Input]) {
		return f.Correlation
	}
	return d.event.Event.CorrelationID
}

// concerns reports whether a decision did something about a node, or was upon
// an order about it.
func (d decision) concerns(node string) bool {
	return slices.ContainsFunc(d.data.Effects, func(f contracts.DecisionEffect) bool { return f.Node == node }) ||
		slices.ContainsFunc(d.data.Inputs, func(in contracts.DecisionInput) bool { return in.Kind == "command" && in.Node == node })
}

// choose finds the effect about the target, and the input that led to it.
// Without such an effect it finds the input about the target, or where the story
// begins.
func choose(d contracts.DecisionsData, about target) (*contracts.DecisionEffect, *contracts.DecisionInput) {
	if e := chooseEffect(d.Effects, about); e != nil {
		if e.Input >= 0 && e.Input < len(d.Inputs) {
			return e, &d.Inputs[e.Input]
		}
		return e, inputAbout(d, about)
	}
	return nil, inputAbout(d, about)
}

// origin finds in a decision that was named as the cause the input with which the
// story begins, and what that led to about the target.
func origin(d contracts.DecisionsData, about target) (effect *contracts.DecisionEffect, input *contracts.DecisionInput) {
	rank := -1
	for i := range d.Inputs {
		in := &d.Inputs[i]
		if !begins(*in) {
			continue
		}
		var found *contracts.DecisionEffect
		r := 0
		for j := range d.Effects {
			e := &d.Effects[j]
			if e.Input != i {
				continue
			}
			if e.Correlation == about.story && about.story != "" {
				r = max(r, 1)
			}
			if e.Node == about.node {
				found, r = e, max(r, 3)
			}
		}
		if in.Node == about.node && in.Node != "" {
			r = max(r, 2)
		}
		if r > rank {
			effect, input, rank = found, in, r
		}
	}
	if input == nil {
		return choose(d, about)
	}
	return effect, input
}

// proposal is the kind of effect that nothing comes of.
const proposal = "propose"

func chooseEffect(effects []contracts.DecisionEffect, about target) *contracts.DecisionEffect {
	var best *contracts.DecisionEffect
	bestRank := -1
	for i := range effects {
		e := &effects[i]
		if e.Node != about.node || e.Kind == proposal && !slices.Contains(about.kinds, proposal) {
			continue // what would be done leads to nothing
		}
		rank := 0
		if k := slices.Index(about.kinds, e.Kind); k >= 0 {
			rank = 4 * (len(about.kinds) - k)
		}
		if about.story != "" && e.Correlation == about.story {
			rank += 2
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

// inputAbout finds the input about a node; else the one whose effects are of the
// story; else the first where a story begins, else the first.
func inputAbout(d contracts.DecisionsData, about target) *contracts.DecisionInput {
	if len(d.Inputs) == 0 {
		return nil
	}
	i := slices.IndexFunc(d.Inputs, func(in contracts.DecisionInput) bool { return in.Node == about.node })
	if i < 0 && about.story != "" {
		e := slices.IndexFunc(d.Effects, func(e contracts.DecisionEffect) bool { return e.Correlation == about.story })
		if e >= 0 && d.Effects[e].Input < len(d.Inputs) {
			i = d.Effects[e].Input
		}
	}
	if i < 0 {
		i = slices.IndexFunc(d.Inputs, begins)
	}
	return &d.Inputs[max(i, 0)]
}

// addDecision adds what a decision did about the node.
func (w *walk) addDecision(e contracts.StoredEvent, d contracts.DecisionsData, effect *contracts.DecisionEffect, input *contracts.DecisionInput, incarnation uint64) {
	if effect != nil && effect.Incarnation != 0 {
		incarnation = effect.Incarnation
	}
	l := link(e, incarnation, decisionEvidence(d, effect, input))
	if effect != nil {
		l.Effect, l.Node, l.Due = effect.Kind, effect.Node, effect.Due
	}
	if input != nil {
		l.By = input.By
	}
	w.seen[e.Event.ID] = true
	w.add(l)
}
