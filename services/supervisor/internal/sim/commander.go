package sim

import (
	"cmp"
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// command is a decided start, stop or report.
type command struct {
	tree.Effect
	spec *tree.Spec
	// free is when it could be carried out, stood what the supervisor had
	// stood still until then.
	free  tree.Instant
	stood time.Duration
	// boot is that of the host which a start is meant for; 0 means any.
	boot int
	// given is set when it was given up.
	given bool
}

// lane holds the commands of one agent, which are carried out one after the
// other.
type lane struct {
	queue []*command
	busy  bool
	// current is under way.
	current *command
}

// Requests are given up sooner than in the product, so that more of their
// messages arrive when nobody waits for them any more.
const (
	startTimeout = time.Second
	stopMargin   = 4 * time.Second
)

// perform takes an effect on.
func (s *supervisor) perform(e tree.Effect) {
	switch e.Kind {
	case tree.DoStart, tree.DoStop, tree.DoReport:
	case tree.Propose:
		if s.w.opt.Break != ShadowActs || e.Action != tree.Proposed {
			return
		}
		e.Kind = tree.DoStop
	default:
		return
	}
	spec, st, ok := s.tree.Lookup(e.Node)
	if !ok || spec.Agent == nil || st.Phase.Apart() && s.w.opt.Break != KeepsOrdering && s.w.opt.Break != ShadowActs {
		return
	}
	if e.Runner == "" {
		e.Runner = st.Runner
	}
	if e.Runner == "" {
		return
	}
	if s.w.opt.Break != EndlessStop && s.w.opt.Break != OneLane && e.Incarnation > 0 {
		// The older one's end is settled, or there would be no newer.
		s.forget(e.Node, e.Incarnation-1)
	}
	key := e.Node
	if s.w.opt.Break == OneLane {
		key = ""
	}
	l := s.lanes[key]
	if l == nil {
		l = &lane{}
		s.lanes[key] = l
	}
	s.pending++
	l.queue = append(l.queue, &command{Effect: e, spec: spec, boot: s.boots[e.Runner], free: s.w.now, stood: s.w.check.stood(s)})
	if !l.busy {
		s.next(l)
	}
}

// next carries out the next command of a lane.
func (s *supervisor) next(l *lane) {
	if l.busy = len(l.queue) > 0; !l.busy {
		return
	}
	c := l.queue[0]
	l.queue, l.current = l.queue[1:], c
	s.w.check.departs(s, c)
	s.carryOut(l, c, 50*time.Millisecond)
}

// carryOut repeats a command until it is done.
func (s *supervisor) carryOut(l *lane, c *command, wait time.Duration) {
	if c.given {
		return
	}
	s.attemptCommand(c, func(done bool) {
		if c.given {
			return
		}
		if done || s.w.opt.Break == OneTry || c.Kind == tree.DoStart && l.overtakes(c) {
			s.finished(l, c)
			return
		}
		s.after(wait, func() { s.carryOut(l, c, min(2*wait, time.Second)) })
	})
}

// overtakes tells whether a later command waits for the same agent.
func (l *lane) overtakes(c *command) bool {
	for _, q := range l.queue {
		if q.Node == c.Node {
			return true
		}
	}
	return false
}

func (s *supervisor) finished(l *lane, c *command) {
	for _, q := range l.queue {
		if q.Node == c.Node {
			q.free, q.stood = s.w.now, s.w.check.stood(s)
			break
		}
	}
	s.pending--
	l.current = nil
	s.next(l)
	if s.waiting && s.pending == 0 {
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
	if c.boot == 0 {
		c.boot = s.boots[c.Runner]
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
		s.report(a, "unverified", tree.Input{Kind: tree.Failed, Node: c.Node, Incarnation: c.Incarnation, At: s.wall(), Reason: "unverified"}, then)
	}
}

func (s *supervisor) start(a *agent, c *command, then func(done bool)) {
	r := s.w.runner(c.Runner)
	up, boot, meant := r.up, r.boot, c.boot
	ask := func(reply func(answer)) {
		if meant == 0 && (!up || boot != r.boot) {
			return // there was nobody to send it to, and it knows of no boot to be refused by
		}
		r.start(a, c.Incarnation, meant, reply)
	}
	s.ask(a, r, startTimeout, ask, func(got answer, ok bool) {
		switch {
		case !ok:
			then(false)
		case got.code == codeOK:
			s.post(arrival{Input: tree.Input{Kind: tree.Started, Node: c.Node, Incarnation: c.Incarnation, PID: 7}})
			then(true)
		case got.code == codeExited:
			s.post(arrival{Input: tree.Input{Kind: tree.Exited, Node: c.Node, Incarnation: c.Incarnation, Normal: got.normal, Reason: "it had already ended"}})
			then(true)
		case got.code == codeFenced:
			then(false)
		case got.code == codeStillRunning:
			s.stop(a, c, got.incarnation, false, func(bool) { then(false) })
		default:
			s.report(a, "start_failed", tree.Input{Kind: tree.StartFailed, Node: c.Node, Incarnation: c.Incarnation, At: s.wall(), Reason: got.code}, then)
		}
	})
}

func (s *supervisor) stop(a *agent, c *command, incarnation uint64, kill bool, then func(done bool)) {
	r := s.w.runner(c.Runner)
	timeout := cmp.Or(c.Timeout, c.spec.ShutdownTimeout)
	ask := func(reply func(answer)) { r.stop(a, incarnation, timeout, kill, reply) }
	s.ask(a, r, timeout+stopMargin, ask, func(_ answer, ok bool) { then(ok) })
}

// ask sends a request to a runner. It is answered once: by the runner, by the
// network that nobody is there, or by time.
func (s *supervisor) ask(a *agent, r *runner, timeout time.Duration, call func(reply func(answer)), then func(answer, bool)) {
	open, own := true, s.owner()
	once := func(got answer, ok bool) func() {
		return own(func() {
			if open {
				open = false
				then(got, ok)
			}
		})
	}
	arrive := func() {
		if !r.reachable() {
			s.send(&a.r, once(answer{}, false))
			return
		}
		call(func(got answer) {
			if r.reachable() {
				s.send(&a.r, once(got, true))
			}
		})
	}
	if a.lag > 0 {
		s.w.after(a.lag, arrive)
		a.lag = 0
	} else {
		s.send(&a.r, arrive)
	}
	s.w.after(timeout, once(answer{}, false))
}

// report stores what the supervisor itself found; told again it is the same
// event.
func (s *supervisor) report(a *agent, what string, in tree.Input, then func(done bool)) {
	id := what + "." + a.name + "." + strconv.FormatUint(in.Incarnation, 10)
	open, own := true, s.owner()
	once := func(ok bool) func() {
		return own(func() {
			if open {
				open = false
				then(ok)
			}
		})
	}
	expected := s.last
	s.send(&a.r, func() {
		if s.w.cut {
			return
		}
		// What this side takes for lost, its successor may have started.
		if in.Kind == tree.Lost && expected != s.w.log.lastOfTree && s.w.opt.Break != StaleLosses {
			s.send(&a.r, once(false))
			return
		}
		s.w.log.publish(id, in)
		s.send(&a.r, once(true))
	})
	s.w.after(5*time.Second, once(false))
}
