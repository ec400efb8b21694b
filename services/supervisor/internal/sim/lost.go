package sim

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// lostAfter is how long a host must have been silent to be given up.
const lostAfter = 6 * time.Second

// loseHost takes a host away, with all that runs on it, unless agents can run
// nowhere else. The detector gets to know, as it does of all that falls silent.
func (w *world) loseHost(r *runner, rest time.Duration) {
	if !r.up || r.i == 0 || slices.ContainsFunc(w.Specs, func(n *tree.Spec) bool { return n.Agent != nil && n.Agent.Runner == r.name }) {
		return
	}
	for _, name := range w.names {
		a := w.agents[name]
		if n := a.decided; slices.Contains(a.logged[effectKey{tree.DoStart, n}], r.name) {
			w.after(a.r.between(time.Second, 4*time.Second), func() { w.verdict(a, n, "heartbeat_timeout") })
		}
	}
	w.reboot(r, rest)
	r.dead = true
}

// forGood is longer than any run.
const forGood = time.Hour

// lookForLost reports as lost what was to be started or stopped on hosts that
// are gone. It comes back from the log, to be decided upon.
func (s *supervisor) lookForLost() {
	for _, r := range s.w.runners {
		gone := r.dead || s.w.opt.Break == HastyLoss && !r.reachable()
		if !gone || s.w.now < max(r.heard, s.opened).Add(lostAfter) {
			continue
		}
		s.leader.Gone(r.name)
		for _, name := range s.w.names {
			spec, st, ok := s.tree.Lookup(name)
			if !ok || spec.Agent == nil || st.Runner != r.name || st.Phase != tree.Starting && st.Phase != tree.Stopping {
				continue
			}
			s.lose(name, st.Incarnation, "its host is gone")
		}
	}
}

// lookForReboots reports as lost what ran, or was to, on hosts that have booted
// since they were last heard of.
func (s *supervisor) lookForReboots() {
	for _, r := range s.w.runners {
		if !r.reachable() || s.w.now <= r.from.Add(announceEvery) || s.boots[r.name] == r.boot {
			continue
		}
		known := s.boots[r.name]
		s.boots[r.name] = r.boot
		if known == 0 {
			continue
		}
		for _, name := range s.w.names {
			spec, st, ok := s.tree.Lookup(name)
			if ok && spec.Agent != nil && st.Runner == r.name && (st.Phase == tree.Starting || st.Phase.Up()) {
				s.lose(name, st.Incarnation, "its host has booted")
			}
		}
	}
}

// lose reports an agent as lost until the log has it, and gives up at once what
// is under way about it.
func (s *supervisor) lose(agent string, n uint64, why string) {
	s.leader.Lose(leader.Fence{Agent: agent, Incarnation: n})
	s.forget(agent, n)
	in := tree.Input{Kind: tree.Lost, Node: agent, Incarnation: n, At: s.wall(), Reason: why}
	s.report(s.w.agent(agent), "host_lost", in, func(done bool) {
		if !done {
			s.after(50*time.Millisecond, func() { s.lose(agent, n, why) })
		}
	})
}

// forget gives up every order about incarnations up to one, done or not: what it
// was for is settled.
func (s *supervisor) forget(agent string, n uint64) {
	if t := s.lanes.Forget(agent, n); t != nil {
		s.tried(t, false)
	}
}
