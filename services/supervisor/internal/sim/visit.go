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
		s.visitAll()
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
			s.visit(s.w.runner(r.Name), v, firstPause)
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

func (s *supervisor) visitAll() {
	for name := range s.visited {
		s.visitAgain(name)
	}
}

// visit is a comparison of a runner with the tree; over says that the runner
// takes starts.
type visit struct {
	session session
	over    bool
}

// reading is a runner's list while it is read page by page, and what was read.
type reading struct {
	*visit
	r        *runner
	expected map[string]uint64
	held     []tree.Held
	told     uint64
	// next is where the next page begins, tries how often it was asked for.
	next, tries int
	// concluded is set once the runner may take starts.
	concluded bool
	// asked are the incarnations that the runner was told to end, and whether it has;
	// failed is set when it did not, stopping counts those under way.
	asked    map[leader.Fence]bool
	failed   bool
	stopping int
	wait     time.Duration
}

const (
	firstPause = 20 * time.Millisecond
	// pageEntries is how many records a page has: few, so that they change while
	// a list is read.
	pageEntries = 2
	pageTries   = 3
	// stopsFirst is how long a runner that must end agents takes no starts.
	stopsFirst = time.Second
)

// current reports whether no other visit has taken the place of this one.
func (s *supervisor) current(v *visit, runner string) bool { return s.visited[runner] == v }

// pause doubles up to a second.
func (l *reading) pause() time.Duration {
	l.wait = min(2*l.wait, time.Second)
	return l.wait
}

// visit asks a runner what it has until that is known and agreed.
func (s *supervisor) visit(r *runner, v *visit, wait time.Duration) {
	if s.current(v, r.name) {
		s.page(&reading{visit: v, r: r, expected: s.tree.Expected(r.name), asked: map[leader.Fence]bool{}, wait: wait})
	}
}

// page reads the next page of a runner's list. One that is not answered is asked
// for again, and after some tries the whole list.
func (s *supervisor) page(l *reading) {
	r, term := l.r, s.leader.Term()
	ask := func(answer func(func())) {
		s.send(&s.r, func() {
			if !r.reachable() {
				return
			}
			r.list(term, l.next, func(held []tree.Held, next int, told uint64) {
				s.send(&s.r, func() {
					answer(func() {
						l.held, l.told, l.next, l.tries = append(l.held, held...), max(l.told, told), next, 0
						if next > 0 {
							s.page(l)
							return
						}
						l.wait = firstPause
						s.concludeVisit(l)
					})
				})
			})
		})
	}
	s.within(startTimeout, l, ask, func() {
		if l.tries++; l.tries == pageTries {
			s.visit(r, l.visit, l.pause())
			return
		}
		s.page(l)
	})
}

// concludeVisit compares what was read with the tree.
func (s *supervisor) concludeVisit(l *reading) {
	ask := func(answer func(func())) {
		s.confirm(func() {
			answer(func() {
				l.correct()
				found := s.leader.Visit(tree.Inventory{Runner: l.r.name, Expected: l.expected, Held: l.held}, l.told, s.wall())
				if found.Outbid {
					s.visitAll()
				}
				s.compared(l, found)
			})
		})
	}
	s.within(startTimeout, l, ask, func() { s.concludeVisit(l) })
}

// within asks for something. An answer counts while the visit is current, and
// until late is called for want of one.
func (s *supervisor) within(d time.Duration, l *reading, ask func(answer func(func())), late func()) {
	once := s.once()
	current := func(do func()) func() {
		return once(func() {
			if s.current(l.visit, l.r.name) {
				do()
			}
		})
	}
	ask(func(do func()) { current(do)() })
	s.w.after(d, current(late))
}

// confirm does something unless somebody else has decided about the tree: what this
// side knows would be old.
func (s *supervisor) confirm(do func()) {
	own, last := s.owner(), s.last
	s.send(&s.r, func() {
		if !s.w.cut && s.follows(last) {
			s.send(&s.r, own(func() {
				if s.last == last {
					do()
				}
			}))
		}
	})
}

// compared acts on what a visit has found. The runner takes starts unless it is
// too early to conclude all; what it must end keeps it from that for a while only.
func (s *supervisor) compared(l *reading, found leader.Visit) {
	var batch []arrival
	for _, in := range found.Inputs {
		batch = append(batch, arrival{Input: in})
	}
	batch = append(batch, arrival{seen: l.r.name})
	if s.post(batch...); !s.current(l.visit, l.r.name) {
		return // what came of it has struck it down
	}
	for _, f := range found.Stale {
		if _, asked := l.asked[f]; !asked {
			l.asked[f] = false
			l.stopping++
			s.stopStale(l, f)
		}
	}
	if !l.concluded {
		l.concluded = true
		l.over = l.over || l.stopping == 0
		s.after(stopsFirst, func() { l.over = true })
	}
	if !found.Again {
		return
	}
	s.after(l.pause(), func() {
		if s.current(l.visit, l.r.name) {
			s.concludeVisit(l)
		}
	})
}

// correct marks what has ended by order since the list was read.
func (l *reading) correct() {
	for i, h := range l.held {
		if l.asked[leader.Fence{Agent: h.Agent, Incarnation: h.Incarnation}] {
			l.held[i].State = tree.HeldEnded
		}
	}
}

// stopStale has a runner stop what is no longer wanted. The runner is visited
// again if it did not.
func (s *supervisor) stopStale(l *reading, f leader.Fence) {
	a := s.w.agent(f.Agent)
	ask := func(reply func(answer)) { l.r.stop(a, f.Incarnation, 0, true, reply) }
	s.ask(a, l.r, stopMargin, ask, func(_ answer, ok bool) {
		l.stopping--
		if l.failed = l.failed || !ok; ok && s.current(l.visit, l.r.name) {
			l.asked[f] = true
			s.leader.Ended(l.r.name, f)
			s.wake()
		}
		l.over = l.over || l.stopping == 0 && l.concluded
		if l.stopping == 0 && l.failed {
			l.failed = false
			s.after(l.pause(), func() { s.visit(l.r, l.visit, l.wait) })
		}
	})
}

// list tells what a runner has, and fences: starts of lower terms are refused from
// then on. A page begins at a record, and names the next one if that is not the
// last.
func (r *runner) list(term uint64, from int, reply func(held []tree.Held, next int, told uint64)) {
	for _, name := range r.order {
		if rec := r.ledger[name]; rec.state == starting {
			rec.waiting = append(rec.waiting, func() { r.list(term, from, reply) })
			return
		}
	}
	told := r.told
	r.told = max(r.told, term)
	var held []tree.Held
	end := min(from+pageEntries, len(r.order))
	for _, name := range r.order[min(from, end):end] {
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
	if end == len(r.order) {
		end = 0
	}
	reply(held, end, told)
}
