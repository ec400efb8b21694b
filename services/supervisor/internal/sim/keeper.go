package sim

import (
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
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
		s.read = max(s.read, l.forgotten)
		for s.read < l.last() {
			s.read++
			if m := l.messages[s.read-1]; m.evidence != nil {
				if !s.doubts {
					s.evidence = m
				}
				s.post(arrival{Input: *m.evidence, seq: s.read})
			}
		}
	})
}

// post hands inputs to the loop.
func (s *supervisor) post(batch ...arrival) {
	for _, a := range batch {
		a.posted, a.held = s.w.now, s.w.check.held(s)
		s.inbox = append(s.inbox, a)
	}
	s.wake()
}

// wake is the loop: unless it is in the middle of a decision, it has all decided
// that waits.
func (s *supervisor) wake() {
	if s.busy || s.mode < catching {
		return
	}
	for _, a := range s.inbox {
		if s.leader.Submit(leader.Input{Input: a.Input, Seq: a.seq, Seen: a.seen}, s.wall()) {
			s.submitted = append(s.submitted, a)
		}
	}
	s.inbox = nil
	if !s.leader.Ready() {
		s.rearm()
		return
	}
	s.busy = true
	s.decide(s.idle)
}

// idle ends a turn of the loop.
func (s *supervisor) idle() {
	if s.w.opt.Break == WaitForEffects && s.lanes.Pending() > 0 {
		s.waiting = true
		return
	}
	s.busy = false
	s.wake()
}

// rearm sets the timer to the tree's next wait.
func (s *supervisor) rearm() {
	due, ok := s.leader.Next()
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

// decide drives the leader as long as it is ready, as the service does: what it
// decides is stored, then its orders are carried out. A crash or pause may
// strike in between.
func (s *supervisor) decide(done func()) {
	if !s.leader.Ready() {
		done()
		return
	}
	b := s.leader.Decide(s.wall(), s.newID())
	for range b.Consumed {
		s.w.check.consumed(s, &s.submitted[0])
		s.submitted = s.submitted[1:]
	}
	act := func() { s.advance(b, done) }
	if !b.MustStore() {
		act()
		return
	}
	// Nothing is due before it is stored.
	s.act(s.leader.Due(), func() {
		s.reach(BeforeAppend, func() {
			s.append(b, func() { s.reach(AfterAppend, act) })
		})
	})
}

// advance performs what a stored decision leads to.
func (s *supervisor) advance(b *leader.Batch, done func()) {
	was := s.leader.Stage()
	out := s.leader.Advance(b)
	if b.MustStore() {
		s.w.check.replayed(s)
	}
	for _, agent := range out.Deafen {
		delete(s.watching, agent)
	}
	for _, agent := range out.Listen {
		s.watching[agent] = true
		s.w.agent(agent).listenedTo()
	}
	s.w.check.knows(s, b.Changes)
	s.answer(out.Effects)
	for _, f := range out.Settled {
		s.forget(f.Agent, f.Incarnation)
	}
	for _, r := range out.Revisit {
		s.visitAgain(r)
	}
	s.act(s.leader.Due(), func() {
		s.lacking(b)
		if s.unlooked {
			s.lookAtLog() // the loop serves whoever has waited longest
		}
		s.snapshot()
		s.snapshotOn()
		if s.takenOver(); s.mode == leading && was == leader.Configuring && !s.configured(b) {
			return
		}
		s.decide(done)
	})
}

// takenOver goes on with taking over, once a stage of that is done.
func (s *supervisor) takenOver() {
	switch {
	case s.leader.Stage() == leader.Claimed:
		s.w.stats.Takeovers++
		// A predecessor's reports end with its decisions: all there are count
		// before anything is ordered.
		s.leader.CatchUp(s.w.log.evidenceUntil())
		s.w.tell(s.name, "takes over")
		s.mode = catching
		s.after(s.r.between(time.Millisecond, checkEvery), s.checkUp)
		s.arouse()
	case s.leader.Stage() == leader.Leading && s.mode < leading:
		s.mode, s.standing = leading, tree.TakesOver
		s.w.tell(s.name, "leads")
	}
}

// act carries out orders.
func (s *supervisor) act(orders []leader.Order, done func()) {
	for i, o := range orders {
		s.perform(o)
		if i == 0 && len(orders) > 1 && s.armed != nil && s.armed.Point == BetweenEffects {
			s.reach(BetweenEffects, func() { s.act(orders[1:], done) })
			return
		}
	}
	done()
}

// append stores a decision, in parts if need be.
func (s *supervisor) append(b *leader.Batch, done func()) {
	var parts []*decision
	for changes := b.Changes; ; {
		p := &decision{supervisor: s.name, number: b.Number, cursor: b.Cursor, first: b.ID, part: len(parts)}
		if p.part == 0 {
			p.effects, p.batch = b.Effects, b
		}
		p.changes = changes[:min(s.w.Part, len(changes))]
		changes = changes[len(p.changes):]
		p.more = len(changes) > 0
		parts = append(parts, p)
		if !p.more {
			break
		}
	}
	s.w.check.hold(s)
	s.try(leader.NewAppend(b.ID, len(parts), s.last), parts, func() {
		s.w.check.release(s)
		done()
	})
}

// try sends one message after the other to the log, each until it is in it, or
// somebody else's is.
func (s *supervisor) try(a *leader.Append, parts []*decision, done func()) {
	m, more := a.Next()
	if !more {
		done()
		return
	}
	if s.doubts {
		s.assure(func() { s.try(a, parts, done) })
		return
	}
	if m.Follow == 0 && s.w.Keeps != (retention{}) && s.w.opt.Break != ForgottenRival { // only a log that forgets can have lost a rival's
		s.alone(func(end uint64) { s.store(a, m, parts, &end, done) })
		return
	}
	s.store(a, m, parts, nil, done)
}

// store sends a message to the log, which takes it if it ends at end, unless that is nil.
func (s *supervisor) store(a *leader.Append, m leader.Message, parts []*decision, end *uint64, done func()) {
	s.attempt++
	attempt, own := s.attempt, s.owner()
	s.send(&s.r, func() {
		if s.w.cut || s.w.full {
			return
		}
		seq := uint64(0)
		if end == nil || *end == s.w.log.last() {
			seq = s.w.log.append(m.ID, parts[m.Part], m.Follow)
		}
		s.send(&s.r, own(func() {
			switch {
			case attempt != s.attempt:
			case seq > 0:
				s.attempt++
				a.Stored(seq)
				s.last, s.lastID = a.Last(), a.LastID()
				s.try(a, parts, done)
			default:
				s.refused(a, parts, done)
			}
		}))
	})
	s.after(logTimeout, func() {
		if attempt == s.attempt {
			s.try(a, parts, done)
		}
	})
}

// alone learns where the log ends and then makes sure that this supervisor still has
// the lease: the log has no message of the tree that would keep it out.
func (s *supervisor) alone(then func(end uint64)) {
	s.attempt++
	attempt, own, session := s.attempt, s.owner(), s.session
	s.send(&s.r, func() {
		if s.w.cut || s.w.full {
			return
		}
		end, l := s.w.log.last(), &s.w.lease
		s.send(&s.r, own(func() {
			s.bucket(func(*lease) {
				held := l.holder == session
				if held {
					l.revision++
				}
				revision := l.revision
				s.send(&s.r, own(func() {
					switch {
					case attempt != s.attempt:
					case !held:
						s.superseded()
					default:
						s.attempt++
						s.seen = max(s.seen, revision)
						then(end)
					}
				}))
			})
		}))
	})
	s.after(logTimeout, func() {
		if attempt == s.attempt {
			s.alone(then)
		}
	})
}

// assure makes sure, after the connection was lost, that the log still has the last
// decision that this side knows and the last evidence that it has read: a log that has
// lost its tail gives their places to others, and would take those for the same.
func (s *supervisor) assure(then func()) {
	s.lastMessage(func(seq uint64, id string) {
		forgotten := seq == 0 && s.w.log.forgotten >= s.last
		if !forgotten && (seq < s.last || seq == s.last && id != s.lastID) || !s.w.log.has(s.evidence) {
			s.superseded()
			return
		}
		s.doubts = false
		then()
	})
}

// refused finds out what a refusal means.
func (s *supervisor) refused(a *leader.Append, parts []*decision, done func()) {
	s.lastMessage(func(seq uint64, last string) {
		if a.Refused(seq, last, s.w.log.forgotten+1) == leader.Superseded {
			s.superseded()
			return
		}
		s.last = a.Last()
		if id := a.LastID(); id != "" {
			s.lastID = id
		}
		s.try(a, parts, done)
	})
}

// copiedAtOnce is how many nodes are copied after each decision, few, so that
// snapshots are made while the tree goes on.
const copiedAtOnce = 4

// snapshot begins a snapshot when it is time to, goes on with the one that is
// being made, and stores it.
func (s *supervisor) snapshot() {
	if !s.leader.Copying() {
		if !s.snapshotDue() {
			return
		}
		s.leader.BeginSnapshot()
	}
	copied, whole := s.leader.CopySome(copiedAtOnce)
	l := s.w.log
	if !whole {
		return
	}
	s.lacks = leader.Unsaved{}
	if s.w.Keeps != (retention{}) && (l.snapshot == nil || l.snapshot.number < s.leader.Number()) {
		s.revision = l.revision // as it is found before the snapshot is stored
	}
	if s.w.cut || s.w.full || s.cut || s.revision != l.revision {
		s.lacks.Missed(s.wall())
		return
	}
	l.revision++
	older := l.snapshot
	l.snapshot = &stored{fold: fold{tree: copied, number: s.leader.Number(), cursor: s.leader.Cursor()}, sequence: s.last}
	if s.w.opt.Break == OldSnapshot && older != nil {
		l.snapshot.tree = older.tree
	}
	s.revision, s.saved = l.revision, s.leader.Number()
}
