package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

type mode int

// A supervisor is down, stands by, reads the log, catches up with what
// happened, and at last leads.
const (
	down mode = iota
	standby
	opening
	catching
	leading
)

// supervisor is a process of the service: it stands by, and keeps the tree as
// package keeper does. What belongs to an earlier life of it finds nobody.
type supervisor struct {
	w    *world
	name string
	r    stream
	life uint64
	mode mode
	// paused processes find in their backlog what happened meanwhile.
	paused  bool
	resume  uint64
	backlog []func()
	skew    time.Duration
	cut     bool
	// rejoined is set until it has taken note of having been cut off.
	rejoined bool
	// reconnected is set until it has compared the runners again: the log may
	// have lost what they believe to be told.
	reconnected bool
	armed       *Fault
	ids         int
	// seen is the revision of the lease last seen, since when it is the same.
	seen  uint64
	since tree.Instant
	// leased is until when this life has the lease, and session its name there.
	leased  tree.Instant
	session string
	// file is what its process has read, standing how it comes to offer that.
	file     *file
	standing tree.Standing

	keeper
}

// keeper is what is forgotten with each life.
type keeper struct {
	// leader is the product's loop, tree its tree.
	leader                *leader.Leader
	tree                  *tree.Tree
	last, revision, saved uint64
	// lastID is the id of the tree's last message; it is in doubt after the
	// connection was lost.
	lastID string
	doubts bool
	// read is how far it has read the log, evidence the last that it read there before
	// the connection was lost.
	read     uint64
	evidence message
	opened   tree.Instant
	// inbox holds what has come, submitted what the leader has of it.
	inbox, submitted []arrival
	// busy is set from a step until its effects are handed over.
	busy     bool
	attempt  uint64
	timer    uint64
	lanes    leader.Lanes[*sent]
	watching map[string]bool
	// apart are the agents that a stored decision left to others.
	apart   map[string]bool
	known   string // the runners that take starts, as last decided upon
	visited map[string]*visit
	// boots are those of the runners' hosts, as far as known.
	boots map[string]int
	// freed is when each agent's last order was done.
	freed map[string]mark
	// waiting is set when a broken build waits for its effects.
	waiting bool
	// lacks is what the last snapshot lacks, keeps how much the log keeps, as far as
	// known. While copying is set a snapshot is continued.
	lacks   leader.Unsaved
	keeps   leader.Retention
	copying bool
	// unlooked is set when it was too busy to look at the log in time.
	unlooked bool
	// asked holds who waits for the tree's answer, by token.
	asked map[string]func(tree.Effect)
}

// arrival is an input and where it came from.
type arrival struct {
	tree.Input
	seq  uint64
	seen string
	// posted is when it came, held what the supervisor had waited until then.
	posted tree.Instant
	held   time.Duration
}

func newSupervisor(w *world, i int) *supervisor {
	name := fmt.Sprintf("supervisor-%d", i)
	return &supervisor{w: w, name: name, r: streamOf(w.Seed, name)}
}

// own ties something to the present life, and lets it wait out a pause.
func (s *supervisor) own(do func()) func() { return s.owner()(do) }

// owner is own for what is made later: an answer belongs to the life that asked.
func (s *supervisor) owner() func(do func()) func() {
	life := s.life
	return func(do func()) func() {
		var owned func()
		owned = func() {
			switch {
			case s.life != life:
			case s.paused:
				s.backlog = append(s.backlog, owned)
			default:
				do()
			}
		}
		return owned
	}
}

// once is owner for the outcomes of a request, of which only the first counts.
func (s *supervisor) once() func(do func()) func() {
	open, own := true, s.owner()
	return func(do func()) func() {
		return own(func() {
			if open {
				open = false
				do()
			}
		})
	}
}

func (s *supervisor) after(d time.Duration, do func()) { s.w.after(d, s.own(do)) }

// send lets a message travel from or to the supervisor.
func (s *supervisor) send(r *stream, do func()) {
	if s.cut {
		return
	}
	s.w.send(r, func() {
		if !s.cut {
			do()
		}
	})
}

// begin starts the process, which reads its file.
func (s *supervisor) begin() {
	s.standing, s.file = tree.StartsUp, s.w.config
	s.standBy()
}

// standBy begins a life that waits for the lease.
func (s *supervisor) standBy() {
	s.life++
	s.w.check.reborn(s)
	s.mode, s.seen, s.leased, s.keeper = standby, 0, 0, keeper{}
	s.session = s.name + "." + strconv.FormatUint(s.life, 10)
	s.w.tell(s.name, "stands by")
	s.after(s.r.between(time.Millisecond, pollEvery), s.poll)
}

// crash ends the process; another begins later.
func (s *supervisor) crash(rest time.Duration) {
	if s.mode == down {
		return
	}
	s.w.tell(s.name, "is killed")
	s.life++
	s.w.check.reborn(s)
	s.mode, s.keeper, s.paused, s.backlog, s.armed = down, keeper{}, false, nil, nil
	life := s.life
	s.w.after(rest, func() {
		if s.life == life {
			s.begin()
		}
	})
}

// pause stops the process for a while.
func (s *supervisor) pause(d time.Duration) {
	if s.mode == down || s.paused {
		return
	}
	s.w.tell(s.name, "stands still")
	s.paused = true
	s.w.check.hold(s)
	s.resume++
	resume := s.resume
	s.w.after(d, func() {
		if s.resume == resume {
			s.goOn()
		}
	})
}

// goOn ends a pause.
func (s *supervisor) goOn() {
	if !s.paused {
		return
	}
	s.w.tell(s.name, "goes on with what it knew")
	s.paused = false
	s.w.check.release(s)
	backlog := s.backlog
	s.backlog = nil
	for _, do := range backlog {
		do()
	}
}

// reach lets a crash or pause that is planned for a point strike there.
func (s *supervisor) reach(p Point, rest func()) {
	f := s.armed
	if f == nil || f.Point != p {
		rest()
		return
	}
	s.armed = nil
	if f.Kind == CrashSupervisor {
		s.crash(f.For)
		return
	}
	s.pause(f.For)
	s.backlog = append(s.backlog, s.own(rest))
}

// wall is the supervisor's clock.
func (s *supervisor) wall() tree.Instant { return s.w.now.Add(s.skew) }

// open reads the tree and takes its place as the one who decides.
func (s *supervisor) open() {
	s.w.check.reborn(s)
	s.mode, s.keeper = opening, keeper{visited: map[string]*visit{}, freed: map[string]mark{}, watching: map[string]bool{}, apart: map[string]bool{}, boots: map[string]int{}, opened: s.w.now}
	s.after(s.r.between(time.Millisecond, 20*time.Millisecond), func() {
		if s.w.cut || s.cut {
			s.open()
			return
		}
		if !s.load() {
			s.crash(forGood)
			return
		}
		s.after(s.r.between(time.Millisecond, 20*time.Millisecond), s.takeOver)
	})
}

// load reads the tree, if what a broken build made of it can be read.
func (s *supervisor) load() bool {
	l := s.w.log
	st := l.load()
	s.w.check.loaded(s, &st)
	t, err := tree.Load(tree.Options{}, st.tree)
	if err != nil {
		s.w.broken(Replay, "%s cannot load the tree: %v", s.name, err)
		return false
	}
	cursor := st.cursor
	if st.number == 0 {
		cursor = l.last() // a new tree has no past
	}
	s.leader = leader.New(leader.Options{MaxChanged: s.w.MaxChanged, Announced: announceEvery + checkEvery}, leader.State{Tree: t, Number: st.number, Cursor: cursor}, s.opening(t))
	_, s.lastID = l.lastMessage()
	s.tree, s.last, s.revision, s.saved, s.read = t, st.sequence, l.revision, l.saved(), cursor
	if s.keeps = l.state(); st.number > s.saved {
		s.lacks.Missed(s.wall()) // among it may be orders
	}
	if s.w.telling() {
		s.w.say(s.name, "has read the tree up to decision %d, evidence up to %d", st.number, cursor)
	}
	return true
}

// takeOver takes the place as the one who decides, with a decision that changes
// nothing.
func (s *supervisor) takeOver() {
	s.busy = true
	s.decide(s.idle)
}

// superseded is the end of a keeper: somebody else decides. Whoever holds the
// lease and has not led yet was overtaken by a last decision of its predecessor,
// and reads again.
func (s *supervisor) superseded() {
	if s.mode < leading && s.w.now < s.leased {
		s.w.tell(s.name, "is overtaken by a last decision")
		s.life++
		s.w.check.reborn(s)
		s.after(renewEvery, s.renew)
		s.open()
		return
	}
	s.w.tell(s.name, "is superseded")
	s.release()
	s.standing = tree.TakesOver
	s.standBy()
}

const checkEvery = time.Second

// checkUp looks for a rival and at the runners.
func (s *supervisor) checkUp() {
	s.after(checkEvery, s.checkUp)
	if s.busy {
		s.unlooked = true
		return
	}
	s.busy = true
	s.w.check.hold(s)
	s.lastMessage(func(seq uint64, id string) {
		s.w.check.release(s)
		end := s.w.log.last()
		forgotten := seq == 0 && s.w.log.forgotten >= s.last
		lost := s.doubts && (!forgotten && (seq != s.last || id != s.lastID) || !s.w.log.has(s.evidence))
		if lost || seq == 0 && s.w.log.forgotten < s.last || seq == 0 && s.w.lease.holder != s.session || seq > s.last || end < s.last || end < s.leader.Needs() {
			s.superseded() // or the log has lost its tail
			return
		}
		s.doubts = false
		s.leader.Begins(s.w.log.forgotten + 1)
		s.lookAtLog()
		if s.mode < leading {
			s.idle()
			return
		}
		if s.w.opt.Break != NoLoss {
			s.lookForLost()
			s.lookForReboots()
		}
		available, names := s.visits()
		if names != s.known {
			s.known = names
			s.post(arrival{Input: tree.Input{Kind: tree.Runners, Runners: available}})
		}
		s.idle()
	})
}

// lastMessage reads the tree's last message, until it is known.
func (s *supervisor) lastMessage(then func(seq uint64, id string)) {
	s.attempt++
	attempt, own := s.attempt, s.owner()
	s.send(&s.r, func() {
		if s.w.cut {
			return
		}
		seq, id := s.w.log.lastMessage()
		s.send(&s.r, own(func() {
			if attempt == s.attempt {
				s.attempt++
				then(seq, id)
			}
		}))
	})
	s.after(logTimeout, func() {
		if attempt == s.attempt {
			s.lastMessage(then)
		}
	})
}
