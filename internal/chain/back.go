package chain

import (
	"fmt"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// back adds the event to begin at and everything that led to it.
func (w *walk) back(event contracts.StoredEvent) error {
	about := target{node: w.q.Node, incarnation: w.q.Incarnation, story: w.q.Chain, origin: event.Event.ID == w.q.Cause}
	for len(w.reply.Chain) < maxLinks {
		w.seen[event.Event.ID] = true
		cause, next, err := w.step(event, about)
		if err != nil {
			return err
		}
		if cause == "" || w.seen[cause] {
			return nil
		}
		found := false
		if event, found, err = w.log.Event(cause); err != nil {
			return err
		}
		if !found {
			w.reply.Complete = false
			w.note("the beginning of the story is no longer stored (event " + cause + ")")
			return nil
		}
		about = next
	}
	w.reply.Complete = false
	w.note(fmt.Sprintf("the chain is longer than %d links", maxLinks))
	return nil
}

// step adds one link and returns the event that led to it; "" is the beginning.
func (w *walk) step(e contracts.StoredEvent, about target) (cause string, next target, err error) {
	switch {
	case slices.Contains(TreeTypes, e.Event.Type):
		return w.decision(e, about)
	case e.Event.Type == contracts.AgentFailed:
		return w.failure(e, about)
	default:
		inc := incarnationOf(e.Event)
		w.add(link(e, inc, evidence(e.Event)))
		next = target{node: e.Event.Entity, incarnation: inc, kinds: ordersOf(e.Event.Type), story: e.Event.CorrelationID}
		if e.Event.CausationID == "" {
			return about.cause, target{node: about.node, story: about.story, origin: true}, nil
		}
		return e.Event.CausationID, next, nil
	}
}

// failure adds a failure. One that a runner or the detector found is where the
// story begins, whatever had started what failed. One that the supervisor found
// in an attempt to restart, or that only confirmed a stop, is a link like others.
func (w *walk) failure(e contracts.StoredEvent, about target) (cause string, next target, err error) {
	data, err := contracts.DecodeData[contracts.AgentFailedData](e.Event)
	if err != nil {
		return "", next, err
	}
	w.add(link(e, data.Incarnation, evidence(e.Event)))
	if data.Reason == contracts.ReasonStartFailed || data.Reason == contracts.ReasonUnverified {
		return e.Event.CausationID, target{node: e.Event.Entity, incarnation: data.Incarnation, kinds: []string{"start", "stop"}, story: e.Event.CorrelationID}, nil
	}
	if about.cause != e.Event.ID {
		return about.cause, target{node: about.node, story: about.story, origin: true}, nil
	}
	return "", next, nil
}

// decision adds a decision and continues with what led to what it ordered about
// the target.
func (w *walk) decision(e contracts.StoredEvent, about target) (cause string, next target, err error) {
	whole, err := w.whole(e)
	if err != nil {
		return "", next, err
	}
	w.tree = e.Event.Entity
	d := whole.data
	effect, input := choose(d, about)
	if about.origin {
		effect, input = origin(d, about)
	}
	w.addDecision(e, d, effect, input, about.incarnation)
	if about.origin {
		return "", next, nil
	}
	next = target{node: about.node, incarnation: about.incarnation, story: e.Event.CorrelationID}
	if effect != nil {
		next.incarnation, next.story, next.cause = effect.Incarnation, whole.storyOf(*effect), effect.Cause
	}
	switch {
	case input != nil && input.Event != "" && input.Event != e.Event.ID && (next.cause == "" || input.Node == about.node):
		next.node, next.incarnation = input.Node, input.Incarnation
		return input.Event, next, nil
	case next.cause == "" && input != nil && begins(*input):
		return "", next, nil
	}
	cause, err = w.earlier(e, next)
	next.origin = cause == next.cause
	next.cause = ""
	return cause, next, err
}

// begins reports whether an input is where a story begins: nothing that is
// stored led to it.
func begins(in contracts.DecisionInput) bool {
	switch in.Kind {
	case "timer", "start_result", "stop_result", "heartbeat", "seen", "deaf":
		return false // they continue one
	}
	return in.Event == ""
}

// earlier finds what led to a decision whose input only continues a story, such
// as a timer or a runner's answer: the decision before it, in the same story,
// that concerns the target; else the cause that it names. Decisions of older
// supervisors name none: then it is the decision's own, if that is of the same
// story, or the story's beginning.
func (w *walk) earlier(e contracts.StoredEvent, about target) (id string, err error) {
	cause := about.cause
	if cause == "" && about.story == e.Event.CorrelationID {
		cause = e.Event.CausationID
	}
	first, found, err := w.event(cause)
	if err == nil && !found {
		first, found, err = w.event(about.story)
		if cause == "" && found && about.story != e.Event.ID {
			cause = about.story
		}
	}
	if err != nil || !found || about.story == "" || first.Sequence >= e.Sequence {
		return cause, err
	}
	if cause != "" && len(w.reply.Chain) >= maxBetween {
		w.note("there were more attempts in between")
		return cause, nil
	}
	between, err := w.log.After(first.Sequence, TreeTypes, e.Event.Entity, maxForward)
	if err != nil {
		return "", err
	}
	for _, d := range slices.Backward(join(between)) {
		if d.event.Sequence < e.Sequence && d.continues(about.node, about.story) {
			return d.event.Event.ID, nil
		}
	}
	return cause, nil
}

// ordersOf lists the effects that lead to an event of a type.
func ordersOf(t contracts.EventType) []string {
	switch t {
	case contracts.AgentStarted:
		return []string{"start"}
	case contracts.AgentStopped:
		return []string{"stop", "terminate", "remove"}
	default:
		return nil
	}
}
