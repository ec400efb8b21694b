// Package chain finds out why a node of a tree is as it is. It begins at the
// latest event about the node, walks back through the events and decisions that
// led to it, and forward to what was decided since.
//
// The event store answers from it, and the simulation of the supervisor, which
// writes what it reads, checks it against the truth. It is pure: it reads from a
// Log and knows neither clock nor network. A walk is bounded, and ends at events
// that are no longer stored.
package chain

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Log is what a walk reads. An error of it ends the walk.
type Log interface {
	// Event returns the event of an id; found is false when it is not stored.
	Event(id string) (e contracts.StoredEvent, found bool, err error)
	// Last returns the last event of a type about an entity.
	Last(t contracts.EventType, entity string) (e contracts.StoredEvent, found bool, err error)
	// After lists the first events above a sequence that have one of the types
	// and are about the entity, at most limit of them; an empty entity is any.
	After(seq uint64, types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error)
	// Newest lists the last events of the types about an entity, oldest first,
	// at most limit of them; an empty entity is any.
	Newest(types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error)
}

const (
	// maxLinks bounds the way back; a healthy chain has about five links, one
	// more pair for every failed attempt.
	maxLinks = 100
	// maxBetween is after how many links the walk goes straight to the cause:
	// starts that fail again and again make long stories.
	maxBetween = 40
	// maxForward bounds how many decisions are looked through for what was
	// decided since, and maxSince how many of them are told, the latest.
	maxForward = 2000
	maxSince   = 20
	// maxParts bounds the messages of one decision.
	maxParts = 64
	// page is how many decisions are read at a time.
	page = 200
)

// TreeTypes are the types whose data is contracts.DecisionsData.
var TreeTypes = []contracts.EventType{
	contracts.TreeDecided, contracts.TreeRollingStopped, contracts.TreeIsolated, contracts.TreeEscalated, contracts.TreeGaveUp, contracts.TreeProposed,
}

// Question asks about an agent or a supervisor node. Only the name is needed;
// the rest is what the supervisor knows, if one answers.
type Question struct {
	// Node is its name, Tree that of its tree.
	Node, Tree string
	// Incarnation is its newest, and Up is set when that runs: then an older
	// report of its failure does not explain anything.
	Incarnation uint64
	Up          bool
	// Cause is the event or decision that led to its state, Chain its story,
	// Decision the one in which its last start or stop was decided.
	Cause, Chain, Decision string
	// Since is when it came into its state: nothing was decided about it after.
	Since time.Time
}

// Why returns the causal chain of a node's state, oldest first. Known is false
// when nothing is stored about the node.
func Why(log Log, q Question) (reply contracts.WhyReply, known bool, err error) {
	reply = contracts.WhyReply{Agent: q.Node, Chain: []contracts.WhyLink{}, Complete: true}
	w := walk{log: log, q: q, tree: q.Tree, seen: map[string]bool{}, reply: &reply}
	tip, found, err := w.tip()
	if err != nil || !found {
		if err == nil {
			reply.Note = "no stored event or decision tells of " + q.Node
		}
		return reply, found, err
	}
	if err := w.back(tip); err != nil {
		return reply, true, err
	}
	slices.Reverse(reply.Chain)
	if err := w.forward(tip); err != nil {
		return reply, true, err
	}
	return reply, true, w.order(tip)
}

// order adds the cause of the state of a node that runs if that is later than what
// started it: an order that changed something else about it.
func (w *walk) order(tip contracts.StoredEvent) error {
	e, stored, err := w.event(w.q.Cause)
	if err != nil || !stored || !w.follows(e) || e.Sequence <= tip.Sequence || w.seen[e.Event.ID] {
		return err
	}
	_, _, err = w.decision(e, target{node: w.q.Node, story: w.q.Chain, origin: true})
	return err
}

// walk collects the links of one chain, newest first.
type walk struct {
	log   Log
	q     Question
	seen  map[string]bool
	reply *contracts.WhyReply
	// tree is the one that the node is in, as far as known.
	tree string
}

// target is what a link is about: it selects, in the decision that led to the
// link, the input that matters.
type target struct {
	node        string
	incarnation uint64
	kinds       []string // of effects, in order of preference; nil is any
	// story is the correlation of what is followed, if known.
	story string
	// cause is what led to the decision that led here, where that names it:
	// there the walk continues when the event itself leads nowhere.
	cause string
	// origin is set when the event itself was named as the cause: of a decision,
	// the input matters with which the story begins.
	origin bool
}

// tip is the event to begin at: the last about the node, unless the supervisor
// knows better.
func (w *walk) tip() (contracts.StoredEvent, bool, error) {
	tip, found, err := w.latest()
	if err != nil {
		return tip, found, err
	}
	// A start or stop that was ordered and is not reported yet.
	ordered, stored, err := w.event(w.q.Decision)
	if err != nil {
		return tip, found, err
	}
	if stored && (!found || w.q.Incarnation > incarnationOf(tip.Event)) {
		tip, found = ordered, true
	}
	// What has led to the state since, though nothing had to be done for it.
	cause, stored, err := w.event(w.q.Cause)
	if err != nil {
		return tip, found, err
	}
	if stored && (!found || cause.Sequence > tip.Sequence && !w.follows(cause)) {
		tip, found = cause, true
	}
	if found {
		return tip, true, nil
	}
	return w.mentioned()
}

// follows reports whether the cause of a state is added after what started the node,
// if it is later.
func (w *walk) follows(cause contracts.StoredEvent) bool {
	return w.q.Up && slices.Contains(TreeTypes, cause.Event.Type)
}

// latest is the last event about the agent itself: that of its newest
// incarnation, since reports of older ones may be late.
func (w *walk) latest() (tip contracts.StoredEvent, found bool, err error) {
	var newest uint64
	for _, t := range []contracts.EventType{contracts.AgentStarted, contracts.AgentStopped, contracts.AgentFailed} {
		e, stored, err := w.log.Last(t, w.q.Node)
		if err != nil {
			return tip, found, err
		}
		inc := incarnationOf(e.Event)
		if w.q.Up && t != contracts.AgentStarted && (inc == 0 || inc >= w.q.Incarnation) {
			continue
		}
		if !stored || found && (inc < newest && inc > 0 || inc == newest && e.Sequence < tip.Sequence) {
			continue
		}
		tip, found, newest = e, true, max(newest, inc)
	}
	return tip, found, nil
}

// mentioned is the last decision that did something about the node, as far back
// as is looked.
func (w *walk) mentioned() (contracts.StoredEvent, bool, error) {
	recent, err := w.log.Newest(TreeTypes, w.tree, maxForward)
	if err != nil {
		return contracts.StoredEvent{}, false, err
	}
	for _, d := range slices.Backward(join(recent)) {
		if d.concerns(w.q.Node) {
			return d.event, true, nil
		}
	}
	return contracts.StoredEvent{}, false, nil
}

func (w *walk) event(id string) (contracts.StoredEvent, bool, error) {
	if id == "" {
		return contracts.StoredEvent{}, false, nil
	}
	return w.log.Event(id)
}

func (w *walk) add(l contracts.WhyLink) { w.reply.Chain = append(w.reply.Chain, l) }

func (w *walk) note(s string) {
	if w.reply.Note != "" {
		s = w.reply.Note + "; " + s
	}
	w.reply.Note = s
}

func link(e contracts.StoredEvent, incarnation uint64, evidence string) contracts.WhyLink {
	return contracts.WhyLink{
		Sequence: e.Sequence, Time: e.Event.Time, Type: e.Event.Type, ID: e.Event.ID,
		Entity: e.Event.Entity, Incarnation: incarnation, Evidence: evidence,
	}
}
