package sim

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// rollBack makes the log forget what was stored in its last stretch of time, though
// it was acknowledged: a server that loses power, or a backup that is restored. The
// runners and their agents live on. For a while nothing reaches it.
func (w *world) rollBack(last time.Duration) {
	l := w.log
	keep := len(l.messages)
	for keep > 0 && l.messages[keep-1].at > w.now.Add(-last) {
		keep--
	}
	w.say("log", "loses %d of %d messages", len(l.messages)-keep, len(l.messages))
	for _, m := range l.messages[keep:] {
		delete(l.ids, m.id)
	}
	l.messages = slices.Clone(l.messages[:keep])
	l.truth, l.lastOfTree, l.lastEvidence = fold{}, 0, 0
	for _, m := range l.messages {
		if m.decision != nil {
			l.truth.take(m.decision)
			l.lastOfTree = m.seq
		} else {
			l.lastEvidence = m.seq
		}
	}
	if l.snapshot != nil && l.snapshot.sequence > l.last() {
		l.snapshot = nil // it is lost with the rest
	}
	l.revision++
	w.forgot = true
	w.losses++
	clear(w.down)
	for _, name := range w.names {
		w.agents[name].rolledBack()
	}
	w.cut = true
	w.after(w.runners[0].r.between(50*time.Millisecond, 2*time.Second), w.rejoin)
}

// rolledBack makes what is known of an agent's decisions what the log has now.
func (a *agent) rolledBack() {
	a.decided, a.phase = a.w.log.truth.tree.Tombstones[a.name], tree.Idle
	if n := a.w.log.truth.tree.Nodes[a.name]; n != nil && n.State != nil {
		a.decided, a.phase = n.State.Incarnation, n.State.Phase
	}
	for _, p := range a.live {
		p.forgotten = a.forgets(p.incarnation)
		if p.hung {
			// The detector does not know that its verdict is lost. Here it gives
			// it again, once the tree may know the incarnation again.
			a.w.after(20*time.Second, p.silent)
		}
	}
}

// forgets reports whether the log does not know that an incarnation was started.
func (a *agent) forgets(n uint64) bool {
	return n > a.decided || n == a.decided && a.phase != tree.Starting && !a.phase.Up()
}

// forgetful gives some scenarios a log that loses what it acknowledged, while all
// runners can be reached: of one that cannot be, nobody could know what it runs. It
// draws from a stream of its own.
func (s *Scenario) forgetful() {
	r := streamOf(s.Seed, "log")
	if !r.chance(20) || slices.ContainsFunc(s.Specs, func(n *tree.Spec) bool { return n.Mode != nil }) {
		return
	}
	s.Faults = slices.DeleteFunc(s.Faults, func(f Fault) bool {
		switch f.Kind {
		case CrashRunner, RebootHost, LoseHost, CutRunner, RestartContainer, WithdrawAgents, ChangeMode, RunsElsewhere, Reconfigure, SkewClock, Storm:
			return true
		}
		return false
	})
	s.Loss, s.Late = 0, 0
	at := r.between(s.Calm/2, s.Calm)
	s.Faults = append(s.Faults, Fault{At: at, Kind: RollBackLog, For: pick(&r, r.between(0, 3*time.Second), r.between(0, s.Calm), time.Hour)})
	s.comesBack(&r, at)
	s.order()
}

// comesBack has an operator remove agents and add them again while the runners that
// have them are being found, after the log was lost.
func (s *Scenario) comesBack(r *stream, lost time.Duration) {
	for _, n := range s.Specs {
		if n.Agent == nil || n.Template != "" || !r.chance(40) {
			continue
		}
		removed := lost + r.between(500*time.Millisecond, 5*time.Second)
		if removed > s.Calm {
			continue
		}
		s.Faults = append(s.Faults,
			Fault{At: removed, Kind: Operator, Command: tree.CmdRemove, Node: n.ID},
			Fault{At: removed + r.between(10*time.Millisecond, 2*time.Second), Kind: Operator, Command: tree.CmdAdd, Node: n.ID})
	}
}
