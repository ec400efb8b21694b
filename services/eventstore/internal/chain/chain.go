// Package chain finds out why an agent was last restarted: it walks from the
// agent's last start back through the events and decisions that led to it, and
// forward to the decision that found it running.
//
// It is pure: it reads from a Log and knows neither clock nor network. A walk
// is bounded, and ends at events that are no longer stored.
package chain

import (
	"fmt"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Log is what a walk reads. An error of it ends the walk.
type Log interface {
	// Event gives the event of an id; found is false when it is not stored.
	Event(id string) (e contracts.StoredEvent, found bool, err error)
	// Last gives the last event of a type about an entity.
	Last(t contracts.EventType, entity string) (e contracts.StoredEvent, found bool, err error)
	// After lists the first events above a sequence that have one of the types
	// and are about the entity, at most limit of them.
	After(seq uint64, types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error)
}

const (
	// maxLinks bounds a chain; a healthy one has about five links, one more
	// pair for every failed attempt.
	maxLinks = 100
	// maxForward bounds how many decisions after a start are looked through
	// for the one that found it running.
	maxForward = 2000
	// maxParts bounds the messages of one decision.
	maxParts = 64
)

// treeTypes are the types whose data is contracts.DecisionsData.
var treeTypes = []contracts.EventType{contracts.TreeDecided, contracts.TreeIsolated, contracts.TreeEscalated, contracts.TreeGaveUp}

// Why gives the causal chain of an agent's last restart, oldest first. An agent
// that was never restarted has an empty chain and a note; known is false when
// no event tells of its start at all.
func Why(log Log, agent string) (reply contracts.WhyReply, known bool, err error) {
	reply = contracts.WhyReply{Agent: agent, Chain: []contracts.WhyLink{}, Complete: true}
	start, found, err := log.Last(contracts.AgentStarted, agent)
	if err != nil {
		return reply, found, err
	}
	if !found {
		return unstarted(log, reply)
	}
	data, err := contracts.DecodeData[contracts.AgentStartedData](start.Event)
	if err != nil {
		return reply, true, err
	}
	if data.Incarnation <= 1 {
		reply.Note = agent + " runs as its first incarnation; it has not been restarted"
		return reply, true, nil
	}
	w := walk{log: log, seen: map[string]bool{}, reply: &reply}
	if err := w.back(start, data.Incarnation); err != nil {
		return reply, true, err
	}
	slices.Reverse(reply.Chain)
	return reply, true, w.forward(start, data.Incarnation)
}

// unstarted explains an agent that no runner has started.
func unstarted(log Log, reply contracts.WhyReply) (contracts.WhyReply, bool, error) {
	failed, found, err := log.Last(contracts.AgentFailed, reply.Agent)
	if err != nil || !found {
		reply.Note = "no event tells of a start of " + reply.Agent
		return reply, false, err
	}
	reply.Chain = append(reply.Chain, link(failed, 0, evidence(failed.Event)))
	reply.Note = "no runner has started " + reply.Agent + "; this is its last failure"
	return reply, true, nil
}

// walk collects the links of one chain, newest first.
type walk struct {
	log   Log
	seen  map[string]bool
	reply *contracts.WhyReply
	// tree and ordered are where the start was ordered: forward begins there.
	tree    string
	ordered uint64
}

// target is what a link was about: it selects, in the decision that led to the
// link, the input that matters.
type target struct {
	node        string
	incarnation uint64
	kinds       []string // of effects, in order of preference; nil is any
}

// back adds the start and everything that led to it.
func (w *walk) back(start contracts.StoredEvent, incarnation uint64) error {
	event := start
	about := target{node: start.Event.Entity, incarnation: incarnation, kinds: []string{"start"}}
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
			w.reply.Note = "the beginning of the story is no longer stored (event " + cause + ")"
			return nil
		}
		about = next
	}
	w.reply.Complete = false
	w.reply.Note = fmt.Sprintf("the chain is longer than %d links", maxLinks)
	return nil
}

// step adds one link and says which event led to it; "" is the beginning.
func (w *walk) step(e contracts.StoredEvent, about target) (cause string, next target, err error) {
	switch {
	case slices.Contains(treeTypes, e.Event.Type):
		return w.decision(e, about)
	case e.Event.Type == contracts.AgentFailed:
		return w.failure(e)
	default:
		inc := incarnationOf(e.Event)
		w.add(link(e, inc, evidence(e.Event)))
		return e.Event.CausationID, target{node: e.Event.Entity, incarnation: inc, kinds: ordersOf(e.Event.Type)}, nil
	}
}

// failure adds a failure. One that a runner or the detector found is where the
// story begins, whatever had started what failed. One that the supervisor found
// in an attempt to restart is a link like others.
func (w *walk) failure(e contracts.StoredEvent) (cause string, next target, err error) {
	data, err := contracts.DecodeData[contracts.AgentFailedData](e.Event)
	if err != nil {
		return "", next, err
	}
	w.add(link(e, data.Incarnation, evidence(e.Event)))
	if data.Reason != contracts.ReasonStartFailed && data.Reason != contracts.ReasonUnverified {
		return "", next, nil
	}
	return e.Event.CausationID, target{node: e.Event.Entity, incarnation: data.Incarnation, kinds: []string{"start", "stop"}}, nil
}

// decision adds a decision and goes on through the input that led to what it
// ordered about the target.
func (w *walk) decision(e contracts.StoredEvent, about target) (cause string, next target, err error) {
	whole, err := w.whole(e)
	if err != nil {
		return "", next, err
	}
	d := whole.data
	effect, input := choose(d, about)
	inc := about.incarnation
	if effect != nil && effect.Incarnation != 0 {
		inc = effect.Incarnation
	}
	w.add(link(e, inc, decisionEvidence(d, effect, input)))
	if w.ordered == 0 {
		w.tree, w.ordered = e.Event.Entity, e.Sequence
	}
	next = about
	if input != nil {
		if input.Node != "" {
			next = target{node: input.Node, incarnation: input.Incarnation}
		}
		if input.Event != "" && input.Event != e.Event.ID {
			return input.Event, next, nil
		}
	}
	story := e.Event.CorrelationID
	if effect != nil && effect.Correlation != "" {
		story = effect.Correlation
	}
	cause, err = w.earlier(e, next, story)
	return cause, next, err
}

// earlier finds what led to a decision whose input came from no event, such as
// a timer or a runner's answer: the decision before it, in the same story, that
// concerns the target; else the cause it names; else the story's beginning.
func (w *walk) earlier(e contracts.StoredEvent, about target, story string) (id string, err error) {
	if story == "" || story == e.Event.ID {
		return e.Event.CausationID, nil
	}
	first, found, err := w.log.Event(story)
	if err != nil {
		return "", err
	}
	if !found || first.Sequence >= e.Sequence {
		return e.Event.CausationID, nil
	}
	between, err := w.log.After(first.Sequence, treeTypes, e.Event.Entity, maxForward)
	if err != nil {
		return "", err
	}
	for _, d := range slices.Backward(join(between)) {
		if d.event.Sequence < e.Sequence && d.continues(about.node, story) {
			return d.event.Event.ID, nil
		}
	}
	if e.Event.CausationID != "" {
		return e.Event.CausationID, nil
	}
	return story, nil
}

// forward adds the decision that found the started incarnation running, or the
// failure that came before it could.
func (w *walk) forward(start contracts.StoredEvent, incarnation uint64) error {
	agent := w.reply.Agent
	failed, err := w.log.After(start.Sequence, []contracts.EventType{contracts.AgentFailed}, agent, maxForward)
	if err != nil {
		return err
	}
	end := slices.IndexFunc(failed, func(e contracts.StoredEvent) bool { return incarnationOf(e.Event) == incarnation })
	if w.ordered != 0 {
		decisions, err := w.log.After(w.ordered, treeTypes, w.tree, maxForward)
		if err != nil {
			return err
		}
		for _, d := range join(decisions) {
			if i := runningEffect(d.data, agent, incarnation); i >= 0 {
				w.add(link(d.event, incarnation, runningEvidence(d.data, d.data.Effects[i])))
				break
			}
		}
	}
	verified := slices.Contains(treeTypes, w.reply.Chain[len(w.reply.Chain)-1].Type)
	if end >= 0 {
		w.add(link(failed[end], incarnation, evidence(failed[end].Event)))
		w.note(fmt.Sprintf("incarnation %d has failed since", incarnation))
	} else if !verified {
		w.note(fmt.Sprintf("incarnation %d is not verified as running yet", incarnation))
	}
	return nil
}

func (w *walk) add(l contracts.WhyLink) { w.reply.Chain = append(w.reply.Chain, l) }

func (w *walk) note(s string) {
	if w.reply.Note != "" {
		s = w.reply.Note + "; " + s
	}
	w.reply.Note = s
}

// ordersOf says which effects lead to an event of a type.
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

func link(e contracts.StoredEvent, incarnation uint64, evidence string) contracts.WhyLink {
	return contracts.WhyLink{
		Sequence: e.Sequence, Time: e.Event.Time, Type: e.Event.Type, ID: e.Event.ID,
		Entity: e.Event.Entity, Incarnation: incarnation, Evidence: evidence,
	}
}
