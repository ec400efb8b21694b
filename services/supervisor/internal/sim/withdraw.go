package sim

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// withdrawing gives some scenarios runners that end their agents. It draws from a
// stream of its own.
func (s *Scenario) withdrawing() {
	r := streamOf(s.Seed, "withdrawing")
	if !r.chance(15) {
		return
	}
	for range 1 + r.below(2) {
		s.Faults = append(s.Faults, Fault{
			At: r.between(0, s.Calm), Kind: WithdrawAgents, Of: r.below(s.Runners), For: r.between(100*time.Millisecond, 5*time.Second),
		})
	}
	s.order()
}

// withdrawn is how long agents have that their runner ends.
const withdrawn = 2 * time.Second

// withdraw ends all agents of a runner without an order, whatever they answer, and
// then the runner.
func (r *runner) withdraw(rest time.Duration) {
	if !r.up {
		return
	}
	r.w.tell(r.name, "ends its agents")
	for _, name := range r.order {
		if rec := r.ledger[name]; rec.state == running && rec.stopped == 0 && rec.process.alive {
			rec.withdrawn = true
			rec.process.terminate(withdrawn, false)
		}
	}
	life := r.life
	r.w.after(withdrawn+time.Second, func() {
		if r.life == life {
			r.crash(rest)
		}
	})
}

// staysDown reports whether a transient agent is down for no other reason than that
// its runner ended it, which nobody wanted.
func (w *world) staysDown(spec *tree.Spec, st *tree.State) bool {
	return spec.Agent != nil && spec.Restart == tree.Transient && st.Phase != tree.Running && !w.excused[spec.ID] &&
		w.agent(spec.ID).withdrawn == st.Incarnation && (st.End == tree.EndFinished || st.End == tree.EndStopped)
}
