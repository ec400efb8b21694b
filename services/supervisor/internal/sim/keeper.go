package sim

import (
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// logTimeout is how long an answer of the log is waited for.
const logTimeout = time.Second

// arouse reads on in the log.
func (s *supervisor) arouse() {
	if s.mode < catching {
		return
	}
	s.after(s.r.between(100*time.Microsecond, 5*time.Millisecond), func() {
		l := s.w.log
		if s.w.cut || s.cut {
			return
		}
		for s.read < l.last() {
			s.read++
			if ev := l.messages[s.read-1].evidence; ev != nil {
				in := *ev
				if s.w.opt.Break == NoKill && in.Kind == tree.Failed {
					in.Kind = tree.Exited
				}
				s.post(arrival{Input: in, seq: s.read})
			}
		}
	})
}

func (s *supervisor) arrive(a arrival) arrival {
	a.posted, a.held = s.w.now, s.w.check.held(s)
	return a
}

// post hands an input to the loop.
func (s *supervisor) post(a arrival) {
	s.inbox = append(s.inbox, s.arrive(a))
	s.wake()
}

// wake is the loop: unless it is in the middle of a decision, it decides upon
// all that waits.
func (s *supervisor) wake() {
	switch {
	case s.busy || s.mode < catching:
	case s.mode == catching && s.cursor >= s.until:
		s.configure()
	case len(s.inbox) > 0:
		batch := s.inbox
		s.inbox = nil
		s.busy = true
		s.decide(batch, s.idle)
	default:
		s.rearm()
	}
}

// idle ends a turn of the loop.
func (s *supervisor) idle() {
	if s.w.opt.Break == WaitForEffects && s.pending > 0 {
		s.waiting = true
		return
	}
	s.busy = false
	s.wake()
}

// rearm sets the timer to the tree's next wait.
func (s *supervisor) rearm() {
	due, ok := s.tree.Next()
	if !ok || s.mode != leading {
		return
	}
	s.timer++
	timer := s.timer
	s.after(max(0, time.Duration(due-s.wall())), func() {
		if timer == s.timer {
			s.deaf()
			s.post(arrival{Input: tree.Input{Kind: tree.Tick}})
		}
	})
}

func (s *supervisor) newID() string {
	s.ids++
	return s.name + "." + strconv.Itoa(s.ids)
}

// decide is the order of operations that everything rests on: step, append,
// act. All that waits is decided together; what changes too much at once
// becomes several decisions.
func (s *supervisor) decide(batch []arrival, done func()) {
	if len(batch) == 0 {
		done()
		return
	}
	now, id := s.present(), s.newID()
	s.tree.Deciding(id)
	var effects []tree.Effect
	n := 0
	for n < len(batch) && (n == 0 || s.tree.Dirty() < s.w.MaxChanged) {
		a := &batch[n]
		n++
		s.cursor = max(s.cursor, a.seq)
		s.w.check.consumed(s, a)
		if a.Kind == tree.Beat && !s.news(a) {
			continue
		}
		effects = s.tree.Step(&a.Input, now, effects)
	}
	changes := s.tree.Changes(nil)
	act := func() {
		s.follow(changes)
		s.letGo(changes)
		for _, a := range batch[:n] {
			if a.Kind == tree.Lost {
				s.forget(a.Node, a.Incarnation)
			}
		}
		s.act(effects, func() {
			s.snapshot(changes)
			s.decide(batch[n:], done)
		})
	}
	switch {
	case len(changes) == 0:
		act()
	case s.w.opt.Break == ActFirst:
		s.act(effects, func() {
			s.append(id, changes, effects, func() { effects = nil; act() })
		})
	default:
		s.reach(BeforeAppend, func() {
			s.append(id, changes, effects, func() { s.reach(AfterAppend, act) })
		})
	}
}

// act performs effects.
func (s *supervisor) act(effects []tree.Effect, done func()) {
	for i, e := range effects {
		s.perform(e)
		if i == 0 && len(effects) > 1 && s.armed != nil && s.armed.Point == BetweenEffects {
			s.reach(BetweenEffects, func() { s.act(effects[1:], done) })
			return
		}
	}
	done()
}

// append stores a decision, in parts if need be.
func (s *supervisor) append(id string, changes []tree.Change, effects []tree.Effect, done func()) {
	d := decision{supervisor: s.name, number: s.number + 1, cursor: s.cursor, first: id}
	if s.w.opt.Break == EagerCursor {
		d.cursor = max(d.cursor, s.w.log.last())
	}
	var parts []*decision
	for {
		p := d
		p.part = len(parts)
		if p.part == 0 {
			p.effects = effects
		}
		p.changes = changes[:min(s.w.Part, len(changes))]
		changes = changes[len(p.changes):]
		p.more = len(changes) > 0
		parts = append(parts, &p)
		if !p.more {
			break
		}
	}
	s.w.check.hold(s)
	s.store(parts, func() {
		s.number++
		s.w.check.release(s)
		s.w.check.replayed(s)
		done()
	})
}

func (s *supervisor) store(parts []*decision, done func()) {
	if len(parts) == 0 {
		done()
		return
	}
	s.try(parts[0], func() { s.store(parts[1:], done) })
}

// try sends one message to the log until it is in it, or somebody else's is.
func (s *supervisor) try(d *decision, done func()) {
	s.attempt++
	attempt, expected, id, own := s.attempt, s.last, partID(d.first, d.part), s.owner()
	s.send(&s.r, func() {
		if s.w.cut {
			return
		}
		seq := s.w.log.append(id, d, expected)
		s.send(&s.r, own(func() {
			switch {
			case attempt != s.attempt:
			case seq > 0:
				s.attempt++
				s.last = seq
				done()
			default:
				s.settle(id, done)
			}
		}))
	})
	s.after(logTimeout, func() {
		if attempt == s.attempt {
			s.try(d, done)
		}
	})
}

// settle finds out what a refusal means.
func (s *supervisor) settle(id string, done func()) {
	s.lastMessage(func(seq uint64, last string) {
		if last != id {
			s.superseded()
			return
		}
		s.last = seq
		done()
	})
}

// copiedAtOnce is how many nodes are copied after each decision, few, so that
// snapshots are made while the tree goes on.
const copiedAtOnce = 4

// snapshot begins a snapshot when it is time to, goes on with the one that is
// being made, and stores it.
func (s *supervisor) snapshot(changes []tree.Change) {
	if s.copy == nil {
		if s.number-s.saved < uint64(s.w.SnapshotEvery) {
			return
		}
		s.copy = s.tree.Copy()
	} else if s.w.opt.Break != StaleCopy {
		s.copy.Update(changes)
	}
	if !s.copy.Take(copiedAtOnce) {
		return
	}
	l, copied := s.w.log, s.copy.Snapshot()
	s.copy = nil
	if s.w.cut || s.cut || s.revision != l.revision {
		return
	}
	l.revision++
	older := l.snapshot
	l.snapshot = &stored{fold: fold{tree: copied, number: s.number, cursor: s.cursor}, sequence: s.last}
	if s.w.opt.Break == OldSnapshot && older != nil {
		l.snapshot.tree = older.tree
	}
	s.revision, s.saved = l.revision, s.number
}

// follow listens to whoever comes up.
func (s *supervisor) follow(changes []tree.Change) {
	for _, c := range changes {
		if c.Removed {
			delete(s.watching, c.ID)
		} else if spec, _, ok := s.tree.Lookup(c.ID); ok && spec.Agent != nil && c.State != nil {
			s.watch(c.ID, spec, c.State.Phase)
		}
	}
}

func (s *supervisor) watch(agent string, spec *tree.Spec, p tree.Phase) {
	verifying := spec.Agent.Verify && (p == tree.Starting || p == tree.Verifying || p == tree.Stabilising)
	if !verifying && (p != tree.Claiming || s.w.opt.Break == NoListening) {
		delete(s.watching, agent)
		return
	}
	s.watching[agent] = true
	s.w.agent(agent).listenedTo()
}

// news tells whether a heartbeat says anything new.
func (s *supervisor) news(a *arrival) bool {
	_, st, ok := s.tree.Lookup(a.Node)
	switch {
	case ok && st.Phase == tree.Claiming:
	case !ok || a.Incarnation != 0 && a.Incarnation != st.Incarnation:
		return false
	case st.Phase == tree.Starting && st.Beat && st.Unwell == a.Unwell, st.Phase == tree.Stabilising && st.Unwell == a.Unwell:
		return false
	}
	a.At = s.present()
	return true
}
