package sim

import (
	"math"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// session is a runner process on a boot of its host, as supervisors tell them
// apart.
type session struct{ life, boot uint64 }

func (r *runner) session() session { return session{r.life, uint64(r.boot)} }

// visits lets runners that are there again be compared with the tree, and lists
// those that take starts: those that have been, since they were last away.
func (s *supervisor) visits() (available []tree.Runner, names string) {
	if s.reconnected {
		s.reconnected = false
		for name := range s.visited {
			s.visitAgain(name)
		}
	}
	there, _ := s.w.available(s.opened)
	heard := map[string]bool{}
	for _, r := range there {
		heard[r.Name] = true
		now := s.w.runner(r.Name).session()
		v := s.visited[r.Name]
		if v == nil || v.session != now {
			v = &visit{session: now, over: v != nil && v.over && v.session.boot == now.boot}
			s.visited[r.Name] = v
			s.leader.Meet(r.Name)
			s.visit(s.w.runner(r.Name), v, 20*time.Millisecond)
		}
		if v.over {
			available, names = append(available, r), names+r.Name+" "
		}
	}
	for name := range s.visited {
		if !heard[name] {
			s.leader.Part(name)
			delete(s.visited, name)
		}
	}
	return available, names
}

// visitAgain lets a runner be compared once more: it may know more than the log.
func (s *supervisor) visitAgain(runner string) {
	if v := s.visited[runner]; v != nil {
		v.session.life = math.MaxUint64
	}
}

// visit is a comparison of a runner with the tree; over says that the runner
// takes starts.
type visit struct {
	session session
	over    bool
}

// visit asks a runner what it has until that is known and agreed.
func (s *supervisor) visit(r *runner, v *visit, wait time.Duration) {
	if s.visited[r.name] != v {
		return
	}
	again := s.own(func() { s.visit(r, v, min(2*wait, time.Second)) })
	open, own := true, s.owner()
	expected, known := s.tree.Expected(r.name), s.leader.Known()
	s.send(&s.r, func() {
		if !r.reachable() {
			return
		}
		r.list(known, func(held []tree.Held, told uint64) {
			s.send(&s.r, own(func() {
				if !open || s.visited[r.name] != v {
					return
				}
				s.confirm(func() {
					if open && s.visited[r.name] == v {
						open = false
						found := s.leader.Visit(tree.Inventory{Runner: r.name, Expected: expected, Held: held}, told, s.wall())
						if found.Leaps {
							s.leader.Leap(told)
						}
						s.compared(r, v, found, wait)
					}
				})
			}))
		})
	})
	s.w.after(startTimeout, func() {
		if open {
			open = false
			again()
		}
	})
}

// confirm does something unless somebody else has decided about the tree: what this
// side knows would be old.
func (s *supervisor) confirm(do func()) {
	own, last := s.owner(), s.last
	s.send(&s.r, func() {
		if !s.w.cut && s.w.log.follows(last) {
			s.send(&s.r, own(func() {
				if s.last == last {
					do()
				}
			}))
		}
	})
}

// compared acts on what a visit has found.
func (s *supervisor) compared(r *runner, v *visit, found leader.Visit, wait time.Duration) {
	for _, in := range found.Inputs {
		s.post(arrival{Input: in})
	}
	s.stopStale(r, found.Stale, func() {
		if s.visited[r.name] != v {
			return
		}
		if found.Again {
			s.after(wait, func() { s.visit(r, v, min(2*wait, time.Second)) })
			return
		}
		v.over = true
	})
}

// stopStale has a runner stop what is no longer wanted, one after the other.
func (s *supervisor) stopStale(r *runner, stale []leader.Fence, done func()) {
	if len(stale) == 0 {
		done()
		return
	}
	f := stale[0]
	a := s.w.agent(f.Agent)
	ask := func(reply func(answer)) { r.stop(a, f.Incarnation, 0, true, reply) }
	s.ask(a, r, stopMargin, ask, func(_ answer, ok bool) {
		if !ok {
			s.after(50*time.Millisecond, func() { s.stopStale(r, stale, done) })
			return
		}
		s.stopStale(r, stale[1:], done)
	})
}

// list tells what a runner has, and fences: starts by senders that know less than
// a decision are refused from then on.
func (r *runner) list(decision uint64, reply func(held []tree.Held, told uint64)) {
	for _, name := range r.order {
		if rec := r.ledger[name]; rec.state == starting {
			rec.waiting = append(rec.waiting, func() { r.list(decision, reply) })
			return
		}
	}
	told := r.told
	r.told = max(r.told, decision)
	var held []tree.Held
	for _, name := range r.order {
		rec := r.ledger[name]
		if rec.highest == 0 {
			continue
		}
		h := tree.Held{Agent: name, Incarnation: rec.incarnation, State: tree.HeldRunning, Ours: true}
		switch {
		case rec.state == running && rec.stopped > 0:
			h.State = tree.HeldStopping
		case rec.state == running:
		case rec.state == idle:
			h.Incarnation, h.State = rec.highest, tree.HeldEnded
		default:
			h.State = rec.end()
		}
		held = append(held, h)
	}
	reply(held, told)
}
