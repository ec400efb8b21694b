package sim

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/internal/chain"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Caused: a start names what really led to it: the agent's own end if it ended by
// itself, else the end or order that concerned a supervisor above it; never an
// older end, unless that is what it was stopped for just now, or a stranger's. And what is told from the log is the same.
const Caused Invariant = "caused"

// story is what the world knows of what led to an agent's starts.
type story struct {
	// own holds, by incarnation, the evidence of ends that nobody had asked for.
	own map[uint64]string
	// stopped holds the incarnations whose stop was decided, and those that were
	// to stay down; for those that went with others, the cause that was named.
	stopped map[uint64]string
	// started is the incarnation whose start was decided last, cause what that
	// named, and cursor how far evidence had been consumed before.
	started uint64
	cause   string
	cursor  uint64
}

func newStory() story { return story{own: map[uint64]string{}, stopped: map[uint64]string{}} }

// drawn are the supervisors that a cause concerns beyond the node that it is
// about: those that restart a group because of it, and those that it brought
// down.
type drawn struct{ group, down map[string]bool }

// decidedCauses checks what a decision names as the causes of starts.
func (w *world) decidedCauses(parts []*decision) {
	for _, e := range parts[0].effects {
		switch e.Kind {
		case tree.NoteGroup:
			w.drawn(e.Event).group[e.Node] = true
		case tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteGiveUp, tree.NoteIsolate:
			w.drawn(e.Event).down[e.Node] = true
		case tree.NoteBoot:
			w.booted[e.Node] = parts[0].cursor
		case tree.DoStop, tree.NoteFinished, tree.DoReply: // the latter ends an order about it
			w.agent(e.Node).story.stopped[e.Incarnation] = withOthers(e)
		case tree.DoStart:
			if s := &w.agent(e.Node).story; e.Incarnation > s.started {
				w.startCaused(w.agent(e.Node), e)
				s.started, s.cause, s.cursor = e.Incarnation, e.Event, w.consumed
			}
		}
	}
	w.consumed = parts[0].cursor
}

// withOthers is the cause of a stop that came because of others, or "".
func withOthers(e tree.Effect) string {
	if strings.HasPrefix(e.Reason, "with its ") {
		return e.Event
	}
	return ""
}

func (w *world) drawn(cause string) drawn {
	d, ok := w.causes[cause]
	if !ok {
		d = drawn{group: map[string]bool{}, down: map[string]bool{}}
		w.causes[cause] = d
	}
	return d
}

// startCaused checks the cause of one start.
func (w *world) startCaused(a *agent, e tree.Effect) {
	if w.forgot {
		return // what it names may be lost
	}
	seq := w.log.ids[e.Event]
	if seq == 0 {
		w.broken(Caused, "the start of %s incarnation %d names %q, which the log does not hold", a.name, e.Incarnation, e.Event)
		return
	}
	ev := w.log.messages[seq-1].evidence
	if ev == nil {
		return // an order, the configuration, or what a runner answered
	}
	last, drawn := e.Incarnation-1, w.drawn(e.Event)
	ran := a.spawned == last && last > 0
	own, ended := a.story.own[last]
	_, stopped := a.story.stopped[last]
	switch {
	case ev.Node == a.name && ran && a.story.started == last && seq <= a.story.cursor && !w.above(a.name, a.name, drawn.down) && a.story.stopped[last] != e.Event:
		w.broken(Caused, "the start of %s incarnation %d names %s, which is older than incarnation %d", a.name, e.Incarnation, e.Event, last)
	case ev.Node == a.name:
	case ended && ran && !stopped && w.log.ids[own] > w.rebooted(a.name):
		w.broken(Caused, "the start of %s incarnation %d names %s, though the last ended by itself: %s", a.name, e.Incarnation, e.Event, own)
	case w.stats.Moved == 0 && !w.above(a.name, ev.Node, drawn.down) && !w.above(a.name, ev.Node, drawn.group) && w.log.truth.tree.Nodes[ev.Node] != nil:
		w.broken(Caused, "the start of %s incarnation %d names %s, which is about %s and has nothing to do with it", a.name, e.Incarnation, e.Event, ev.Node)
	}
}

// rebooted is how far evidence was consumed when a supervisor above a node started
// afresh last: what ended before is of its former life.
func (w *world) rebooted(node string) (cursor uint64) {
	nodes := w.log.truth.tree.Nodes
	for n := nodes[node]; n != nil; n = nodes[n.Spec.Parent] {
		cursor = max(cursor, w.booted[n.Spec.ID])
	}
	return cursor
}

// above reports whether one of some supervisors is above both nodes. Supervisors
// that end quietly when a child does count as well.
func (w *world) above(node, other string, some map[string]bool) bool {
	nodes := w.log.truth.tree.Nodes
	common := map[string]bool{}
	for n := nodes[other]; n != nil; n = nodes[n.Spec.Parent] {
		common[n.Spec.ID] = true
	}
	for n := nodes[node]; n != nil; n = nodes[n.Spec.Parent] {
		sup := n.Spec.Supervisor
		if sup == nil || !common[n.Spec.ID] {
			continue
		}
		if some[n.Spec.ID] || sup.AutoShutdown != "" && sup.AutoShutdown != tree.Never {
			return true
		}
	}
	return false
}

// told checks, at the end, that the chain of an agent that runs begins with what
// its last start named.
func (w *world) told() {
	if w.violation != nil || w.forgot || w.log.forgotten > 0 || len(w.names) == 0 {
		return
	}
	a := w.agent(w.names[int(w.Seed%uint64(len(w.names)))])
	n := w.log.truth.tree.Nodes[a.name]
	if n == nil || n.State.Phase != tree.Running || n.State.Incarnation != a.story.started || a.story.cause != n.State.Cause {
		return
	}
	reply, known, err := chain.Why(&storedLog{w: w, seen: map[uint64]contracts.StoredEvent{}}, chain.Question{
		Node: a.name, Tree: treeName, Incarnation: n.State.Incarnation, Up: true, Cause: n.State.Cause, Chain: n.State.Chain, Decision: n.State.Decision,
	})
	switch {
	case err != nil || !known || len(reply.Chain) == 0:
		w.broken(Caused, "nothing is told of %s: %v", a.name, err)
	case reply.Chain[0].ID != a.story.cause:
		var links []string
		for _, l := range reply.Chain {
			links = append(links, l.ID)
		}
		w.broken(Caused, "what is told of %s incarnation %d begins with %s, and not with %s", a.name, a.story.started, strings.Join(links, ", "), a.story.cause)
	}
}

// treeName is what the tree is called in events.
const treeName = "main"

// storedLog is the world's log as the event store reads it.
type storedLog struct {
	w    *world
	seen map[uint64]contracts.StoredEvent
}

var _ chain.Log = (*storedLog)(nil)

// Event implements chain.Log.
func (s *storedLog) Event(id string) (contracts.StoredEvent, bool, error) {
	seq := s.w.log.ids[id]
	if seq == 0 {
		return contracts.StoredEvent{}, false, nil
	}
	return s.at(seq), true, nil
}

// Last implements chain.Log.
func (s *storedLog) Last(t contracts.EventType, entity string) (contracts.StoredEvent, bool, error) {
	for _, m := range slices.Backward(s.w.log.messages) {
		if m.evidence != nil && m.evidence.Node == entity && evidenceType(m.evidence) == t {
			return s.at(m.seq), true, nil
		}
	}
	return contracts.StoredEvent{}, false, nil
}

// After implements chain.Log. It is asked for decisions only.
func (s *storedLog) After(seq uint64, _ []contracts.EventType, _ string, limit int) (out []contracts.StoredEvent, _ error) {
	for _, m := range s.w.log.messages[seq:] {
		if m.decision != nil && len(out) < limit {
			out = append(out, s.at(m.seq))
		}
	}
	return out, nil
}

// Newest implements chain.Log.
func (s *storedLog) Newest(types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error) {
	all, err := s.After(0, types, entity, len(s.w.log.messages))
	return all[max(0, len(all)-limit):], err
}

func evidenceType(in *tree.Input) contracts.EventType {
	switch {
	case in.Kind == tree.SeenAlive:
		return contracts.AgentRecovered
	case in.Kind == tree.Exited && in.Normal:
		return contracts.AgentStopped
	}
	return contracts.AgentFailed
}

// at is a message as an event.
func (s *storedLog) at(seq uint64) contracts.StoredEvent {
	if e, ok := s.seen[seq]; ok {
		return e
	}
	m := s.w.log.messages[seq-1]
	e := contracts.StoredEvent{Sequence: seq, Event: contracts.Event{ID: m.id, Type: contracts.TreeDecided, Entity: treeName}}
	var data any
	if in := m.evidence; in != nil {
		e.Event.Type, e.Event.Entity, e.Event.CorrelationID = evidenceType(in), in.Node, m.id
		reason := contracts.ReasonExited
		if in.Kind != tree.Exited {
			reason = contracts.ReasonHeartbeatTimeout
		}
		data = contracts.AgentFailedData{Agent: in.Node, Incarnation: in.Incarnation, Reason: reason}
	} else {
		part := contracts.DecisionsData{Tree: treeName, Number: m.decision.number, More: m.decision.more}
		if b := m.decision.batch; b != nil {
			d, err := decisionlog.Of(treeName, m.decision.supervisor, b)
			if err != nil {
				s.w.broken(Caused, "decision %d cannot be recorded: %v", m.decision.number, err)
			}
			part.Inputs, part.Effects = d.Inputs, d.Effects
			e.Event.Type, e.Event.CausationID, e.Event.CorrelationID = d.Type, d.Cause, d.Chain
			if e.Event.CorrelationID == "" {
				e.Event.CorrelationID = m.id
			}
		}
		data = part
	}
	e.Event.Data, _ = json.Marshal(data) // it is made of what JSON has
	s.seen[seq] = e
	return e
}
