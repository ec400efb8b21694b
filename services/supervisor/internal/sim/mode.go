package sim

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Modes: nothing is decided of an agent that is not enforced, and whoever knows
// that it is not orders nothing of it.
const Modes Invariant = "modes"

// ChangeMode: an operator gives a node another mode of supervision.
const ChangeMode FaultKind = "mode is changed"

// drawMode draws a setting; half of the time all is enforced.
func drawMode(r *stream) tree.Rollout {
	return pick(r, tree.RolloutOf(tree.Enforce), tree.RolloutOf(tree.Enforce), tree.RolloutOf(tree.Shadow), tree.RolloutOf(tree.Off),
		tree.Rollout{Enforce: 50, Otherwise: tree.Shadow}, tree.Rollout{Enforce: 30, Otherwise: tree.Off})
}

// moderate gives some scenarios modes. It draws from a stream of its own, so that
// the others are what they would be without.
func (s *Scenario) moderate() {
	r := streamOf(s.Seed, "modes")
	if !r.chance(35) {
		return
	}
	s.Ends = r.chance(70)
	for i, n := range s.Specs {
		s.Specs[i] = changed(n, func(c *tree.Spec) {
			if c.Agent != nil {
				c.Agent.Listen = 3 * time.Second
			}
			if r.chance(20) {
				mode := drawMode(&r)
				c.Mode = &mode
			}
		})
	}
	for range 1 + r.below(5) {
		mode := drawMode(&r)
		f := Fault{At: r.between(0, s.Calm), Kind: ChangeMode, Node: s.Specs[r.below(len(s.Specs))].ID, Mode: &mode}
		if r.chance(25) {
			f.Mode = nil
		}
		s.Faults = append(s.Faults, f)
	}
	s.elsewhere()
	s.order()
}

// knows keeps what a supervisor knows to be stored of who is enforced.
func (c *checker) knows(s *supervisor, changes []tree.Change) {
	for _, change := range changes {
		if change.State != nil {
			s.apart[change.ID] = change.State.Phase == tree.Watched
		}
	}
}

// moded checks what a supervisor orders against what it knows to be stored.
func (c *checker) moded(s *supervisor, cmd *command) {
	if s.apart[cmd.Node] {
		s.w.broken(Modes, "%s orders %s of %s incarnation %d, which is not enforced", s.name, cmd.Kind, cmd.Node, cmd.Incarnation)
	}
}

// decidedModes checks a stored decision against the modes before and after it.
func (w *world) decidedModes(parts []*decision) {
	modes := 0
	for _, e := range parts[0].effects {
		if e.Kind == tree.NoteMode || e.Kind == tree.NoteMove {
			modes++
		}
	}
	for _, e := range parts[0].effects {
		if modes > 1 || !e.Kind.Ordered() {
			continue // in between it may have been enforced
		}
		if a := w.agent(e.Node); a.apart && !w.enforced(e.Node) {
			w.broken(Modes, "%s of %s incarnation %d is decided, which is not enforced", e.Kind, e.Node, e.Incarnation)
		}
	}
	changed := modes > 0
	for _, d := range parts {
		for _, c := range d.changes {
			if a := w.agents[c.ID]; a != nil && c.Removed {
				a.left = a.left || a.apart || a.phase.Apart() || changed
			}
		}
	}
	for _, name := range w.names {
		w.agents[name].apart = !w.enforced(name)
	}
}

// enforced tells what the log says of an agent's mode.
func (w *world) enforced(agent string) bool {
	nodes := w.log.truth.tree.Nodes
	for n := nodes[agent]; n != nil && n.Spec != nil; n = nodes[n.Spec.Parent] { // a broken log may lack a spec
		r := n.Spec.Mode
		if n.State.Mode != nil {
			r = &n.State.Mode.Rollout
		}
		if r != nil {
			return r.For(agent) == tree.Enforce
		}
	}
	return true
}

// enforceAll ends a rollout, as the operator would.
func (w *world) enforceAll() {
	s := w.leader()
	if s == nil || !w.Ends {
		return
	}
	all := tree.RolloutOf(tree.Enforce)
	for _, id := range s.nodes() {
		r, own, _ := s.tree.Rollout(id)
		if own && r != all {
			w.operate(Fault{Command: tree.CmdMode, Node: id, Mode: &all})
		}
	}
}
