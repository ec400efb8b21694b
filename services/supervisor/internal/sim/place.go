package sim

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Placed: an agent begins only on a runner that has all the labels it asks for.
const Placed Invariant = "placed"

// template is what the agents are instances of that an operator scales.
const template = "pool"

// labels are those of a runner. The first has all that is ever asked for, so that
// nobody waits for ever.
func (s *Scenario) labels(runner int) map[string]string {
	if runner > 0 && s.Unlabelled&(1<<runner) != 0 {
		return nil
	}
	return map[string]string{"zone": "b"}
}

// spread gives some scenarios what has to do with where agents are: labels, hosts
// that come back and agents that return to them, instances that are scaled, and
// nodes that are moved. It draws from a stream of its own, as moderate does.
func (s *Scenario) spread() {
	r := streamOf(s.Seed, "places")
	if !r.chance(35) {
		return
	}
	s.Unlabelled = uint(r.below(1 << s.Runners))
	for i, n := range s.Specs {
		if n.Agent != nil {
			s.Specs[i] = changed(n, func(c *tree.Spec) { somewhere(&r, c.Agent) })
		}
	}
	if r.chance(60) {
		s.addTemplate(&r)
	}
	supervisors := s.supervisors()
	for range r.below(4) {
		s.Faults = append(s.Faults, Fault{
			At: r.between(0, s.Calm), Kind: Operator, Command: tree.CmdMove,
			Node: s.Specs[1+r.below(len(s.Specs)-1)].ID, To: supervisors[r.below(len(supervisors))],
		})
	}
	if s.Runners > 1 && r.chance(60) {
		s.Faults = append(s.Faults, Fault{
			At: r.between(0, s.Calm), Kind: LoseHost, Of: 1 + r.below(s.Runners-1), For: r.between(lostAfter, 3*lostAfter),
		})
	}
	s.order()
}

// somewhere draws where an agent wants to be, if any runner will do.
func somewhere(r *stream, a *tree.Agent) {
	if a.Runner != tree.AnyRunner {
		return
	}
	if a.Return = r.chance(60); r.chance(40) {
		a.Labels = map[string]string{"zone": "b"}
	}
}

// addTemplate adds some instances of an agent, and orders to have more or fewer.
func (s *Scenario) addTemplate(r *stream) {
	supervisors := s.supervisors()
	first := s.agent(r, tree.Instance(template, 1), supervisors[r.below(len(supervisors))])
	first.Template, first.Instances, first.Significant = template, 1+r.below(3), false
	somewhere(r, first.Agent)
	first.Agent.Listen = 3 * time.Second
	for _, n := range s.Specs {
		if n.Parent == first.Parent {
			first.Rank = max(first.Rank, n.Rank)
		}
	}
	for i := range first.Instances {
		spec := *first
		spec.ID, spec.Index, spec.Rank = tree.Instance(template, i+1), i+1, first.Rank+int64(i+1)<<20
		s.Specs = append(s.Specs, &spec)
	}
	for range 1 + r.below(3) {
		s.Faults = append(s.Faults, Fault{At: r.between(0, s.Calm), Kind: Operator, Command: tree.CmdScale, Node: template, Count: 1 + r.below(4)})
	}
}

// supervisors are the names of the tree's.
func (s *Scenario) supervisors() (names []string) {
	for _, n := range s.Specs {
		if n.Supervisor != nil {
			names = append(names, n.ID)
		}
	}
	return names
}

// countPlaces counts decisions about where agents are.
func (w *world) countPlaces(parts []*decision) {
	for _, e := range parts[0].effects {
		switch e.Kind {
		case tree.NoteMove:
			w.stats.Moved++
		case tree.NoteScale:
			w.stats.Scaled++
		case tree.NoteReturn:
			w.stats.Returned++
		}
	}
}

// placed checks where a process begins.
func (c *checker) placed(w *world, p *process) {
	n := w.log.truth.tree.Nodes[p.agent.name]
	if n == nil || n.Spec == nil || n.Spec.Agent == nil {
		return
	}
	have := w.labels(p.runner.i)
	for k, v := range n.Spec.Agent.Labels {
		if have[k] != v {
			w.broken(Placed, "incarnation %d of %s begins at %s, which has not %s=%s", p.incarnation, p.agent.name, p.runner.name, k, v)
		}
	}
}
