package sim

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Alone: nothing is started beside a living process that somebody else keeps.
const Alone Invariant = "alone"

// RunsElsewhere: from the beginning somebody else keeps an agent that is not
// enforced then, and lets go of it after For.
const RunsElsewhere FaultKind = "agent runs elsewhere"

// foreign is a process that no runner has started. It tells no incarnation.
type foreign struct {
	agent *agent
	alive bool
}

// elsewhere gives some agents to somebody else, and has an operator take them up.
// It draws from a stream of its own, as moderate does. Clocks do not jump then:
// how long is listened is measured by them.
func (s *Scenario) elsewhere() {
	r := streamOf(s.Seed, "elsewhere")
	if !r.chance(60) {
		return
	}
	s.Faults = slices.DeleteFunc(s.Faults, func(f Fault) bool { return f.Kind == SkewClock })
	for i, n := range s.Specs {
		if n.Agent == nil || !r.chance(50) {
			continue
		}
		mode := tree.RolloutOf(pick(&r, tree.Shadow, tree.Off))
		s.Specs[i] = changed(n, func(c *tree.Spec) { c.Mode = &mode })
		s.Faults = append(s.Faults, Fault{Kind: RunsElsewhere, Node: n.ID, For: r.between(time.Second, 2*s.Calm)})
		if r.chance(80) {
			all := tree.RolloutOf(tree.Enforce)
			s.Faults = append(s.Faults, Fault{At: r.between(100*time.Millisecond, s.Calm), Kind: ChangeMode, Node: n.ID, Mode: &all})
		}
	}
}

// runElsewhere begins a foreign process, unless the agent is enforced from the
// beginning: then whoever keeps it should not have.
func (w *world) runElsewhere(a *agent, d time.Duration) {
	if w.enforcedAtFirst(a.name) {
		return
	}
	p := &foreign{agent: a, alive: true}
	a.foreign = p
	p.beat()
	w.after(d, p.end)
}

func (w *world) enforcedAtFirst(agent string) bool {
	for id := agent; id != ""; {
		at := slices.IndexFunc(w.Specs, func(n *tree.Spec) bool { return n.ID == id })
		if at < 0 {
			return true
		}
		if m := w.Specs[at].Mode; m != nil {
			return m.For(agent) == tree.Enforce
		}
		id = w.Specs[at].Parent
	}
	return true
}

// beat reaches all that listen and are not cut off: heartbeats are not lost
// singly, or three of them would say nothing.
func (p *foreign) beat() {
	if !p.alive {
		return
	}
	a := p.agent
	for _, s := range a.w.supervisors {
		if s.mode < catching || s.cut || !s.watching[a.name] {
			continue
		}
		a.w.after(a.r.between(100*time.Microsecond, 2*time.Millisecond), s.own(func() {
			if !s.cut && s.watching[a.name] {
				s.post(arrival{Input: tree.Input{Kind: tree.Beat, Node: a.name}})
			}
		}))
	}
	a.w.after(a.interval, p.beat)
}

// end is the process's end, which the detector notices.
func (p *foreign) end() {
	if !p.alive {
		return
	}
	p.alive = false
	w := p.agent.w
	w.tell(p.agent.name, "ends elsewhere")
	w.after(p.agent.r.between(time.Second, 4*time.Second), func() { w.verdict(p.agent, 0, "heartbeat_timeout") })
}

// deaf is news that heartbeats may have gone unheard.
func (s *supervisor) deaf() {
	if s.cut || s.rejoined {
		s.post(arrival{Input: tree.Input{Kind: tree.HeartbeatsMissed}})
	}
	s.rejoined = false
}
