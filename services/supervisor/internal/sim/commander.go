package sim

import (
	"cmp"
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// command is a decided start, stop or report on its way.
type command = leader.Task[*sent]

// sent is what the simulation keeps with a command.
type sent struct {
	// from is when it came.
	from mark
	// boot is that of the host which a start is meant for; 0 means any.
	boot int
}

// mark is an instant, and how long the supervisor had stood still until then.
type mark struct {
	at    tree.Instant
	stood time.Duration
}

func (s *supervisor) mark() mark { return mark{s.w.now, s.w.check.stood(s)} }

// Requests are given up sooner than in the product, so that more of their
// messages arrive when nobody waits for them any more.
const (
	startTimeout = time.Second
	stopMargin   = 4 * time.Second
)

// perform takes an order on.
func (s *supervisor) perform(o leader.Order) {
	if o.Runner == "" {
		if _, st, ok := s.tree.Lookup(o.Node); ok {
			o.Runner = st.Runner
		}
	}
	if o.Runner == "" {
		return
	}
	_, current := s.lanes.Add(o, &sent{boot: s.boots[o.Runner], from: s.mark()})
	if current != nil && current.Given() {
		s.tried(current, false)
	}
	s.next(o.Node)
}

// next carries out the next order of an agent.
func (s *supervisor) next(agent string) {
	c := s.lanes.Next(agent)
	if c == nil {
		return
	}
	s.w.check.departs(s, c)
	s.carryOut(c)
}

// carryOut tries an order.
func (s *supervisor) carryOut(c *command) {
	if c.Given() {
		return
	}
	life := s.life
	s.attemptCommand(c, func(done bool) {
		if s.life == life && !c.Given() { // what came of it may have struck it down
			s.tried(c, done)
		}
	})
}

// tried ends an attempt: the order is tried again, or the agent's next begins.
func (s *supervisor) tried(c *command, done bool) {
	wait, again := s.lanes.Tried(c, done)
	if again {
		s.after(wait, func() { s.carryOut(c) })
		return
	}
	s.freed[c.Node] = s.mark()
	s.next(c.Node)
	if s.waiting && s.lanes.Pending() == 0 {
		s.waiting = false
		s.idle()
	}
}

func (s *supervisor) attemptCommand(c *command, then func(done bool)) {
	a := s.w.agent(c.Node)
	if s.w.telling() {
		s.w.say(s.name, "orders %s of %s incarnation %d at %s", c.Kind, c.Node, c.Incarnation, c.Runner)
	}
	s.w.check.ordered(s, c)
	s.w.check.moded(s, c)
	if c.Carrier.boot == 0 {
		c.Carrier.boot = s.boots[c.Runner]
	}
	switch c.Kind {
	case tree.DoStart:
		s.start(a, c, then)
	case tree.DoStop:
		s.stop(a, c, c.Incarnation, c.Kill, func(done bool) {
			if done {
				s.post(arrival{Input: tree.Input{Kind: tree.Stopped, Node: c.Node, Incarnation: c.Incarnation}})
			}
			then(done)
		})
	case tree.DoReport:
		a.own++
		s.report(a, "unverified", tree.Input{Kind: tree.Failed, Node: c.Node, Incarnation: c.Incarnation, At: s.wall(), Reason: "unverified"}, then)
	}
}

func (s *supervisor) start(a *agent, c *command, then func(done bool)) {
	r := s.w.runner(c.Runner)
	up, boot, meant, term := r.up, r.boot, c.Carrier.boot, s.leader.Term()
	ask := func(reply func(answer)) {
		if meant == 0 && (!up || boot != r.boot) {
			return // there was nobody to send it to, and it knows of no boot to be refused by
		}
		r.start(a, c.Incarnation, c.Spec.Agent.Build, meant, term, reply)
	}
	s.ask(a, r, startTimeout, ask, func(got answer, ok bool) {
		switch {
		case !ok:
			then(false)
		case got.code == codeOK:
			s.post(arrival{Input: tree.Input{Kind: tree.Started, Node: c.Node, Incarnation: c.Incarnation, PID: 7}})
			then(true)
		case got.code == codeExited:
			h := tree.Held{Agent: c.Node, Incarnation: c.Incarnation, State: got.end, Reason: got.code}
			s.post(arrival{Input: h.Ended()})
			then(true)
		case got.code == codeFenced:
			s.visitAgain(c.Runner)
			then(false)
		case got.code == codeStale:
			in := tree.Input{Kind: tree.Raised, Node: c.Node, Incarnation: got.incarnation, Runner: c.Runner, Reason: got.code}
			if got.live {
				in.Kind = tree.Found
			}
			s.post(arrival{Input: in})
			then(true)
		case got.code == codeNoResources:
			// The service asks such a runner for no starts for a second and more.
			s.after(time.Second, func() {
				s.post(arrival{Input: tree.Input{Kind: tree.Declined, Node: c.Node, Incarnation: c.Incarnation, Runner: c.Runner, Reason: got.code}})
				then(true)
			})
		case got.code == codeStillRunning:
			s.stop(a, c, got.incarnation, false, func(bool) { then(false) })
		default:
			s.report(a, "start_failed", tree.Input{Kind: tree.StartFailed, Node: c.Node, Incarnation: c.Incarnation, At: s.wall(), Reason: got.code}, then)
		}
	})
}

func (s *supervisor) stop(a *agent, c *command, incarnation uint64, kill bool, then func(done bool)) {
	r := s.w.runner(c.Runner)
	timeout := cmp.Or(c.Timeout, c.Spec.ShutdownTimeout)
	ask := func(reply func(answer)) { r.stop(a, incarnation, timeout, kill, reply) }
	s.ask(a, r, timeout+stopMargin, ask, func(_ answer, ok bool) { then(ok) })
}

// ask sends a request to a runner. It is answered once: by the runner, by the
// network that nobody is there, or by time.
func (s *supervisor) ask(a *agent, r *runner, timeout time.Duration, call func(reply func(answer)), then func(answer, bool)) {
	once := s.once()
	unanswered := once(func() { then(answer{}, false) })
	losses := s.w.losses
	arrive := func() {
		if s.w.losses != losses {
			return // the server that lost the log has lost what it carried, too
		}
		if !r.reachable() {
			s.send(&a.r, unanswered)
			return
		}
		call(func(got answer) {
			if r.reachable() {
				s.send(&a.r, once(func() { then(got, true) }))
			}
		})
	}
	if a.lag > 0 {
		s.w.after(a.lag, arrive)
		a.lag = 0
	} else {
		s.send(&a.r, arrive)
	}
	s.w.after(timeout, unanswered)
}

// report stores what the supervisor itself found; told again it is the same
// event.
func (s *supervisor) report(a *agent, what string, in tree.Input, then func(done bool)) {
	id := what + "." + a.name + "." + strconv.FormatUint(in.Incarnation, 10)
	once := s.once()
	stored, not := once(func() { then(true) }), once(func() { then(false) })
	expected := s.last
	s.send(&a.r, func() {
		if s.w.cut || s.w.full {
			return
		}
		// What this side takes for lost, its successor may have started.
		if in.Kind == tree.Lost && !s.follows(expected) && s.w.opt.Break != StaleLosses {
			s.send(&a.r, not)
			return
		}
		s.w.log.publish(id, in)
		s.send(&a.r, stored)
	})
	s.w.after(5*time.Second, not)
}
