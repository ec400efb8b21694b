package sim

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
)

// Kept: the log and the stored snapshot say together all that was decided, though the
// log forgets what is old.
const Kept Invariant = "kept"

// retention is how much the log keeps; zero keeps all.
type retention struct {
	messages int
	age      time.Duration
}

// othersEvery is how often others write to the log that forgets, and others how many
// messages.
const (
	othersEvery = 500 * time.Millisecond
	others      = 5
)

// shorten gives some scenarios a log that forgets its oldest messages, after 40 s or
// so, while others write to it, and that is read long after. Snapshots are then made
// by the product's own rule, and none is lost otherwise. It draws from a stream of its
// own.
func (s *Scenario) shorten() {
	r := streamOf(s.Seed, "retention")
	if !r.chance(3) || s.forgets() {
		return
	}
	s.Keeps = pick(&r, retention{messages: 400}, retention{age: 40 * time.Second})
	s.SnapshotEvery = 1000
	for i := range s.Faults {
		if s.Faults[i].Kind == LoseSnapshot {
			s.Faults[i].Kind = AgentExits
		}
	}
	// A supervisor that is paused for that time misses what is decided and forgotten.
	quiet := r.between(40*time.Second, 70*time.Second)
	for i := range s.Supervisors - 1 { // one is left to read and to store
		if r.chance(50) {
			s.Faults = append(s.Faults, Fault{At: max(0, s.Calm-r.between(0, 5*time.Second)), Kind: PauseSupervisor, Of: i, Point: pick(&r, Anywhere, Anywhere, BeforeAppend), For: quiet - r.between(0, 3*time.Second)})
		}
	}
	// Later, somebody reads it.
	s.Calm += quiet
	for i := range s.Supervisors {
		s.Faults = append(s.Faults, Fault{At: s.Calm - time.Second, Kind: CrashSupervisor, Of: i, For: r.between(10*time.Millisecond, 3*time.Second)})
	}
}

// forgets reports whether the log loses what it acknowledged.
func (s *Scenario) forgets() bool {
	for _, f := range s.Faults {
		if f.Kind == RollBackLog {
			return true
		}
	}
	return false
}

// others write to the log as well, until the run ends.
func (w *world) othersWrite() {
	if !w.cut && !w.full {
		for range others {
			w.log.messages = append(w.log.messages, message{seq: w.log.last() + 1, at: w.now})
		}
		w.log.expire()
	}
	w.after(othersEvery, w.othersWrite)
}

// expire forgets the messages that are older than the log keeps.
func (l *log) expire() {
	keeps := l.w.Keeps
	if keeps == (retention{}) {
		return
	}
	for l.forgotten < l.last() && (keeps.messages > 0 && l.last()-l.forgotten > uint64(keeps.messages) || keeps.age > 0 && l.messages[l.forgotten].at.Add(keeps.age) < l.w.now) {
		l.forgotten++
		l.w.stats.Forgotten++
	}
}

// lastMessage is the place and id of the tree's last message; 0 where the log has
// none, or none any more.
func (l *log) lastMessage() (seq uint64, id string) {
	if l.lastOfTree == 0 || l.lastOfTree <= l.forgotten {
		return 0, ""
	}
	return l.lastOfTree, l.messages[l.lastOfTree-1].id
}

// evidenceUntil is the place of the last evidence; 0 where the log has none, or none
// any more.
func (l *log) evidenceUntil() uint64 {
	if l.lastEvidence <= l.forgotten {
		return 0
	}
	return l.lastEvidence
}

// follows reports whether the log says that nobody has decided since a place, or it has
// forgotten that and the lease says so.
func (s *supervisor) follows(last uint64) bool {
	seq, _ := s.w.log.lastMessage()
	return seq > 0 && seq == last || seq == 0 && last <= s.w.log.forgotten && s.w.lease.holder == s.session
}

// saved is the decision that the stored snapshot holds.
func (l *log) saved() uint64 {
	if l.snapshot == nil {
		return 0
	}
	return l.snapshot.number
}

// state is what the log says of itself.
func (l *log) state() leader.Retention {
	keeps := l.w.Keeps
	return leader.Retention{
		MaxAge: keeps.age, MaxMsgs: int64(keeps.messages), Msgs: int64(l.last() - l.forgotten), FirstSeq: l.forgotten + 1, LastSeq: l.last(),
	}
}

// lacking notes what a stored decision changed that the last snapshot lacks.
func (s *supervisor) lacking(b *leader.Batch) {
	if s.w.Keeps != (retention{}) {
		s.lacks.Note(b, s.last)
	}
}

// snapshotDue reports whether it is time for a snapshot.
func (s *supervisor) snapshotDue() bool {
	if s.w.Keeps == (retention{}) {
		return s.leader.Number()-s.saved >= uint64(s.w.SnapshotEvery)
	}
	lacks := s.lacks
	lacks.Decisions, lacks.Nodes = s.leader.Number()-s.saved, s.tree.Len()
	return lacks.SnapshotDue(s.wall(), uint64(s.w.SnapshotEvery), s.keeps)
}

// lookAtLog learns how much the log keeps and makes a snapshot if it is time for one.
func (s *supervisor) lookAtLog() {
	if s.w.Keeps == (retention{}) || s.w.cut || s.cut {
		return
	}
	s.keeps, s.unlooked = s.w.log.state(), false
	s.snapshot()
	s.snapshotOn()
}

// snapshotOn continues a snapshot between two decisions.
func (s *supervisor) snapshotOn() {
	if s.w.Keeps == (retention{}) || s.copying || !s.leader.Copying() {
		return
	}
	s.copying = true
	s.after(time.Millisecond, func() {
		if s.copying = false; !s.busy {
			s.snapshot()
		}
		s.snapshotOn()
	})
}

// foldable checks that a decision that is read follows what is known.
func (w *world) foldable(known uint64, d *decision) {
	if d.part > 0 && d.number > known {
		w.broken(Kept, "the log has forgotten how decision %d began, and no snapshot has it", d.number)
	}
	if d.number > known+1 {
		w.broken(Kept, "the log has forgotten decisions %d to %d, and no snapshot has them", known+1, d.number-1)
	}
}

// lost checks that what was read last is the last that was decided.
func (w *world) lost(st *stored) {
	if last := w.log.truth.number; st.number < last {
		w.broken(Kept, "the log has forgotten decisions %d to %d, and no snapshot has them", st.number+1, last)
	}
}
