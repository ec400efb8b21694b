package sim

import (
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Rests: what gave up, was set apart or cools off stays down until its time is over, an
// operator orders otherwise, the configuration changes, or a supervisor above it is
// restarted. That the service stops and starts changes nothing.
const Rests Invariant = "rests"

// decidedRests checks what a decision starts against what rests.
func (w *world) decidedRests(parts []*decision) {
	b := parts[0].batch
	if b == nil {
		return
	}
	if w.rests == nil || w.forgot {
		w.rests, w.restarting = map[string]tree.Instant{}, map[string]bool{}
	}
	for _, step := range b.Steps {
		if step.Kind == tree.Order && step.Command != tree.CmdClose {
			w.disturb(step.Node)
		}
	}
	for _, e := range b.Effects {
		switch e.Kind {
		case tree.NoteRestart, tree.NoteGroup, tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteIsolate:
			w.disturbBelow(e.Node)
		case tree.NoteMode, tree.NoteMove:
			clear(w.rests)
		}
	}
	for _, d := range parts {
		for _, c := range d.changes {
			if c.Spec != nil || c.Removed {
				clear(w.rests)
			}
		}
	}
	for _, d := range parts {
		for _, c := range d.changes {
			w.decidedRest(b.At, c)
		}
	}
	for group := range w.restarting {
		w.disturbBelow(group)
	}
}

// decidedRest checks one change, and notes what rests from now on. What rests until
// somebody starts it does so forever.
func (w *world) decidedRest(now tree.Instant, c tree.Change) {
	if c.ID == w.Specs[0].ID && c.State != nil {
		w.rootGaveUp = c.State.Phase == tree.Idle && c.State.End == tree.EndGaveUp
	}
	if c.State != nil && c.State.Supervisor != nil {
		op := c.State.Supervisor.Op
		if delete(w.restarting, c.ID); op != nil && op.Kind == tree.OpGroup {
			w.restarting[c.ID] = true
		}
	}
	switch st := c.State; {
	case st == nil:
	case w.rootGaveUp: // it starts afresh with the service, and all below it
		clear(w.rests)
	case st.Phase == tree.Isolated, st.Phase == tree.Waiting && st.End == tree.EndCooling:
		w.rests[c.ID] = st.Due
	case st.Phase == tree.Idle && st.End == tree.EndGaveUp && c.ID != w.Specs[0].ID:
		w.rests[c.ID] = forever
	case !st.Phase.Down():
		if until, ok := w.rests[c.ID]; ok && now < until {
			w.broken(Rests, "%s is %s, and was to rest until %d", c.ID, st.Phase, until)
		}
		delete(w.rests, c.ID)
	}
}

// forever is when the rest of a supervisor that gave up is over.
const forever tree.Instant = 1<<63 - 1

// disturb forgets what rests at and below a node.
func (w *world) disturb(id string) {
	delete(w.rests, id)
	w.disturbBelow(id)
}

// disturbBelow forgets what rests below a node.
func (w *world) disturbBelow(id string) {
	for name := range w.rests {
		for n := w.node(name); n != nil; n = w.node(n.Spec.Parent) {
			if n.Spec.Parent == id {
				delete(w.rests, name)
			}
		}
	}
}
