package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// forward adds what was decided about the node since the event that the walk
// began at: that it was found running, that it waits, or that it was given up.
func (w *walk) forward(tip contracts.StoredEvent) error {
	since, err := w.since(tip)
	if err != nil {
		return err
	}
	if n := len(since) - maxSince; n > 0 {
		w.note(fmt.Sprintf("%d decisions in between are left out", n))
		since = since[n:]
	}
	running := false
	for _, d := range since {
		effect, input := choose(d.data, target{node: w.q.Node, incarnation: incarnationOf(tip.Event)})
		if effect == nil && !orders(input, w.q.Node) {
			if effect, input = uponEvent(d.data, tip.Event.ID); effect == nil {
				continue // it was only recorded
			}
		}
		w.addDecision(d.event, d.data, effect, input, 0)
		running = running || effect != nil && effect.Kind == "running"
	}
	if tip.Event.Type != contracts.AgentStarted {
		return nil
	}
	if inc := incarnationOf(tip.Event); inc <= 1 {
		w.note(w.q.Node + " runs as its first incarnation; it has not been restarted")
	} else if !running {
		w.note(fmt.Sprintf("incarnation %d is not verified as running yet", inc))
	}
	return nil
}

// since lists the decisions after an event that did something about the node,
// were upon that event, or upon an order about the node.
func (w *walk) since(tip contracts.StoredEvent) ([]decision, error) {
	var out []decision
	after := tip.Sequence
	for read := 0; read < maxForward; {
		events, err := w.log.After(after, TreeTypes, w.tree, page)
		if err != nil || len(events) == 0 {
			return out, err
		}
		read += len(events)
		decisions, rest := joinOpen(events)
		if next := rest - 1; rest > 0 && next > after {
			after = next // the rest is on the next page
		} else {
			after = events[len(events)-1].Sequence
		}
		for _, d := range decisions {
			if !w.q.Since.IsZero() && d.event.Event.Time.After(w.q.Since.Add(time.Millisecond)) {
				return out, nil
			}
			if !w.seen[d.event.Event.ID] && (d.concerns(w.q.Node) || d.upon(tip.Event.ID)) {
				out = append(out, d)
			}
		}
		if len(events) < page {
			return out, nil
		}
	}
	w.note("what was decided since is looked through only in part")
	return out, nil
}

// orders reports whether an input is an order about a node.
func orders(in *contracts.DecisionInput, node string) bool {
	return in != nil && in.Kind == "command" && in.Node == node
}

// upon reports whether an event is among a decision's inputs.
func (d decision) upon(event string) bool {
	return slices.ContainsFunc(d.data.Inputs, func(in contracts.DecisionInput) bool { return in.Event == event })
}

// uponEvent finds the input that an event was, and the gravest thing that it led
// to, which comes first.
func uponEvent(d contracts.DecisionsData, event string) (*contracts.DecisionEffect, *contracts.DecisionInput) {
	i := slices.IndexFunc(d.Inputs, func(in contracts.DecisionInput) bool { return in.Event == event })
	if i < 0 {
		return nil, nil
	}
	e := slices.IndexFunc(d.Effects, func(e contracts.DecisionEffect) bool { return e.Input == i })
	if e < 0 {
		return nil, &d.Inputs[i]
	}
	return &d.Effects[e], &d.Inputs[i]
}
