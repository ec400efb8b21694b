package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// strike makes a fault happen.
func (w *world) strike(f Fault) {
	if w.telling() {
		w.say("FAULT", "%s", f)
	}
	switch f.Kind {
	case CrashSupervisor, PauseSupervisor:
		s := w.supervisors[f.Of]
		switch {
		case f.Point != Anywhere:
			s.armed = &f
		case f.Kind == CrashSupervisor:
			s.crash(f.For)
		default:
			s.pause(f.For)
		}
	case CutSupervisor:
		s := w.supervisors[f.Of]
		s.cut = true
		w.after(f.For, s.rejoin)
	case Reconfigure:
		w.reconfigure(f)
	case StopService:
		w.operate(Fault{At: f.At, Command: tree.CmdClose, Node: w.Specs[0].ID})
		w.after(f.For, func() {
			for _, s := range w.supervisors {
				s.crash(f.Rest)
			}
		})
	case SkewClock:
		w.supervisors[f.Of].skew = f.For
	case CrashRunner:
		w.runners[f.Of].crash(f.For)
	case RebootHost:
		w.reboot(w.runners[f.Of], f.For)
	case RestartContainer:
		w.restartContainer(w.runners[f.Of], f.For)
	case WithdrawAgents:
		w.runners[f.Of].withdraw(f.For)
	case RollBackLog:
		w.rollBack(f.For)
	case FillDisk:
		w.full = true
		w.after(f.For, func() { w.full = false })
	case Starve:
		r := w.runners[f.Of]
		r.starved = true
		w.after(f.For, func() { r.starved = false })
	case LoseHost:
		w.loseHost(w.runners[f.Of], cmp.Or(f.For, forGood))
	case CutRunner:
		r := w.runners[f.Of]
		r.away()
		r.cut = true
		w.after(f.For, r.rejoin)
	case CutLog:
		w.cut = true
		w.after(f.For, w.rejoin)
	case Storm:
		w.stormy = true
		w.after(f.For, func() { w.stormy = false })
	case LoseSnapshot:
		w.log.snapshot = nil
	case Operator:
		w.operate(f)
	case ApplyConfig:
		w.applyEdited(f)
	case ChangeMode:
		f.Command = tree.CmdMode
		w.operate(f)
	case RunsElsewhere:
		w.runElsewhere(w.agent(f.Node), f.For)
	default:
		w.strikeAgent(w.agent(f.Node), f)
	}
}

func (w *world) strikeAgent(a *agent, f Fault) {
	switch f.Kind {
	case WrongVerdict:
		if f.Next {
			f.Next = false
			a.doom = &f
			return
		}
		var n uint64
		if f.Age >= 0 {
			n = max(1, a.decided-min(a.decided, uint64(f.Age)))
		}
		w.verdict(a, n, "wrong verdict")
	case AgentExits:
		if len(a.live) > 0 {
			a.live[0].exit(f.Normal)
		}
	case AgentHangs:
		if len(a.live) > 0 {
			a.live[0].hang()
		}
	}
}

func (s *supervisor) rejoin() {
	if !s.cut {
		return
	}
	s.cut, s.rejoined, s.reconnected, s.doubts = false, true, true, true
	s.since = s.w.now
	s.arouse()
}

// stopping gives some scenarios services that end. It draws from a stream of its own.
func (s *Scenario) stopping() {
	r := streamOf(s.Seed, "stopping")
	if !r.chance(10) {
		return
	}
	stop := Fault{At: r.between(0, s.Calm), Kind: StopService, Rest: r.between(10*time.Millisecond, 3*time.Second)}
	stop.For = r.between(0, min(4*time.Second, s.Calm-stop.At))
	s.Faults = append(s.Faults, stop)
	if r.chance(50) {
		s.failing(&r, stop.At)
	}
	s.order()
}

// failing lets an agent fail once too often, mostly soon before an instant.
func (s *Scenario) failing(r *stream, before time.Duration) {
	agents := slices.DeleteFunc(slices.Clone(s.Specs), func(n *tree.Spec) bool { return n.Agent == nil })
	agent := agents[r.below(len(agents))]
	sup := s.Specs[slices.IndexFunc(s.Specs, func(n *tree.Spec) bool { return n.ID == agent.Parent })].Supervisor
	sup.MaxRestarts, sup.CoolOff = 0, r.between(time.Second, 20*time.Second)
	sup.MaxCoolOff = 2 * sup.CoolOff
	for range 2 {
		s.Faults = append(s.Faults, Fault{At: max(0, before-r.between(0, 2*time.Second)), Kind: AgentExits, Node: agent.ID})
	}
}

// reconfigure lets whoever takes over find another configuration, and somebody
// take over.
func (w *world) reconfigure(f Fault) {
	was := w.config
	if now := w.inForce(); now != nil {
		was = now
	}
	at := was.index(f.Node)
	config := slices.Clone(was.specs)
	switch {
	case at < 0:
		config = w.restored(config, f.Node)
	case config[at].Agent != nil:
		config = slices.Delete(config, at, at+1)
	default:
		config[at] = changed(config[at], func(c *tree.Spec) {
			strategies := []tree.Strategy{tree.OneForOne, tree.RestForOne, tree.OneForAll, tree.Escalate}
			c.Supervisor.Strategy = strategies[(slices.Index(strategies, c.Supervisor.Strategy)+1)%len(strategies)]
			onlyAlone(c.Supervisor)
		})
	}
	w.config = w.newFile(config, was)
	for _, s := range w.supervisors {
		s.crash(f.For)
	}
}

// restored is a configuration that has a node of the first one again.
func (w *world) restored(config []*tree.Spec, node string) []*tree.Spec {
	if !w.Releases {
		return w.Specs
	}
	if at := slices.IndexFunc(w.Specs, func(s *tree.Spec) bool { return s.ID == node }); at >= 0 {
		return append(config, w.Specs[at])
	}
	return config
}

func (w *world) reboot(r *runner, rest time.Duration) {
	r.boot++
	w.restartContainer(r, rest)
}

// restartContainer ends a runner with all that it runs, as a host that loses power
// does; nobody sees how its agents end.
func (w *world) restartContainer(r *runner, rest time.Duration) {
	r.crash(rest)
	for _, name := range w.names {
		for _, p := range append([]*process(nil), w.agents[name].live...) {
			if p.runner == r {
				p.withHost = true
				p.end(false)
			}
		}
	}
}

func (r *runner) rejoin() {
	if !r.cut {
		return
	}
	r.cut = false
	r.back()
}

func (w *world) rejoin() {
	if !w.cut {
		return
	}
	w.cut = false
	for _, s := range w.supervisors {
		s.reconnected, s.doubts = true, true
		s.since = w.now
		s.arouse()
	}
}

// operate gives an operator's command to whoever leads.
func (w *world) operate(f Fault) {
	in := tree.Input{Kind: tree.Order, Command: f.Command, Node: f.Node, To: f.To, Count: f.Count, Outdated: f.Outdated, Mode: f.Mode, Token: fmt.Sprintf("operator-%d-%s-%s", f.At, f.Command, f.Node)}
	switch f.Command {
	case tree.CmdAdd:
		for _, s := range w.Specs {
			if s.ID == f.Node {
				in.Spec = s
			}
		}
		w.excused[f.Node] = true
	case tree.CmdStart, tree.CmdTerminate, tree.CmdDelete:
		w.excused[f.Node] = true
	}
	if f.Command == tree.CmdRemove || f.Command == tree.CmdDelete {
		w.taken[f.Node] = true
	}
	if s := w.whoLeads(); s != nil {
		s.sendOwn(func() { s.post(arrival{Input: in}) })
	}
}

// ceaseFaults makes everything well that is not the product's business.
func (w *world) ceaseFaults() {
	w.tell("FAULT", "no more faults from here on")
	w.calm, w.stormy, w.full = true, false, false
	w.rejoin()
	for _, name := range w.names {
		w.agents[name].doom = nil
		if p := w.agents[name].foreign; p != nil {
			p.end()
		}
	}
	for _, r := range w.runners {
		r.starved = false
		r.rejoin()
		if !r.up && !r.dead {
			r.recover()
		}
	}
	for _, s := range w.supervisors {
		s.armed = nil
		s.rejoin()
		s.goOn()
		if s.mode == down {
			s.begin()
		}
	}
	w.await()
}

// patienceAfter is the bound within which all must be well again.
const patienceAfter = 150 * time.Second

// lookEvery is out of step with everything else that recurs.
const lookEvery = 937 * time.Millisecond

// await looks again and again whether all is well.
func (w *world) await() {
	why := w.unwell()
	switch {
	case why == "":
		w.settledAt = w.now
		w.check.settled(w)
		w.settledConfiguration(w.leader())
	case w.now > epoch.Add(w.Calm+patienceAfter):
		w.broken(Recovers, "%s after faults ceased: %s", patienceAfter, why)
		w.settledAt = w.now // go no further
	default:
		w.resume()
		w.after(lookEvery, w.await)
	}
}

// resume ends suspensions, as the operator would.
func (w *world) resume() {
	w.enforceAll()
	s := w.leader()
	if s == nil {
		return
	}
	w.rollOn(s)
	for _, id := range s.nodes() {
		if _, st, _ := s.tree.Lookup(id); st.Supervisor != nil && st.Supervisor.Suspended {
			w.operate(Fault{Command: tree.CmdResume, Node: id})
		}
	}
}

// leader is who leads and knows the tree's last decision.
func (w *world) leader() *supervisor {
	for _, s := range w.supervisors {
		if s.mode == leading && !s.busy && s.follows(s.last) {
			return s
		}
	}
	return nil
}
