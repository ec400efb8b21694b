package sim

import (
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// message is one message of the log: part of a decision, or evidence.
type message struct {
	seq      uint64
	at       tree.Instant
	id       string
	decision *decision
	evidence *tree.Input
}

// decision is what a supervisor appends, or one part of it.
type decision struct {
	supervisor string
	number     uint64
	cursor     uint64
	changes    []tree.Change
	effects    []tree.Effect
	more       bool
	// first is the id of the decision's first message, part its place.
	first string
	part  int
	// batch is the whole decision, in its first part.
	batch *leader.Batch
}

// log is the event stream with the bucket of snapshots. It accepts a decision
// only from somebody who knows the last.
type log struct {
	w        *world
	messages []message
	// lastOfTree is the sequence of the tree's last message, lastEvidence that
	// of the last evidence.
	lastOfTree, lastEvidence uint64
	ids                      map[string]uint64
	truth                    fold
	// forgotten is how many of its first messages it has forgotten.
	forgotten uint64
	snapshot  *stored
	revision  uint64
}

// stored is a snapshot as it is stored.
type stored struct {
	fold
	sequence uint64
}

// fold is what decisions add up to.
type fold struct {
	tree   tree.Snapshot
	number uint64
	cursor uint64
	parts  []*decision
}

func newLog(w *world) *log { return &log{w: w, ids: map[string]uint64{}} }

func (l *log) last() uint64 { return uint64(len(l.messages)) }

// append stores part of a decision if expected is the last of the tree; on
// refusal it gives 0.
func (l *log) append(id string, d *decision, expected uint64) uint64 {
	if seq := l.ids[id]; seq > 0 && l.w.Remembers {
		return seq
	}
	if last, _ := l.lastMessage(); expected != last && l.w.opt.Break != StaleAppends {
		l.w.stats.Refused++
		return 0
	}
	seq := l.last() + 1
	l.messages = append(l.messages, message{seq: seq, at: l.w.now, id: id, decision: d})
	l.ids[id], l.lastOfTree = seq, seq
	if whole := l.truth.take(d); whole != nil {
		l.w.stats.Decisions++
		l.w.decided(whole)
	}
	return seq
}

// publish stores evidence, once, and lets the supervisors know.
func (l *log) publish(id string, in tree.Input) {
	if l.ids[id] > 0 {
		return
	}
	seq := l.last() + 1
	in.Event, in.Chain = id, id
	l.messages = append(l.messages, message{seq: seq, at: l.w.now, id: id, evidence: &in})
	l.ids[id], l.lastEvidence = seq, seq
	if l.w.telling() {
		l.w.say("log", "stores %d: %s of %s incarnation %d (%s)", seq, in.Kind, in.Node, in.Incarnation, in.Reason)
	}
	for _, s := range l.w.supervisors {
		s.arouse()
	}
}

// take adds a part of a decision. When the decision is whole it gives all its
// parts; parts of one that is never completed count for nothing. It is the truth
// that what supervisors read is compared with, so it is not the product's.
func (f *fold) take(d *decision) []*decision {
	if len(f.parts) == 0 || d.first != f.parts[0].first || d.part != len(f.parts) {
		f.parts = nil
	}
	f.parts = append(f.parts, d)
	if d.more {
		return nil
	}
	whole := f.parts
	f.parts = nil
	f.apply(whole)
	return whole
}

func (f *fold) apply(whole []*decision) {
	for _, p := range whole {
		f.number, f.cursor = p.number, p.cursor
		for _, c := range p.changes {
			f.tree.Apply(c)
		}
	}
}

// has reports whether the log has a message that was read there, or has forgotten it.
func (l *log) has(m message) bool {
	return m.seq <= l.forgotten || m.seq <= l.last() && l.messages[m.seq-1].id == m.id
}

// load reads a tree as a supervisor does: the snapshot, and all since.
func (l *log) load() stored {
	var s stored
	if l.snapshot != nil {
		s = *l.snapshot
		s.tree = copyOf(l.snapshot.tree)
	}
	var decisions leader.Fold[*decision]
	for _, m := range l.messages[max(s.sequence, l.forgotten):] {
		if m.decision == nil {
			continue
		}
		if whole := decisions.Add(m.id, m.decision, m.decision.more); whole != nil {
			l.w.foldable(s.number, whole[0])
			s.apply(whole)
		}
	}
	l.w.lost(&s)
	s.sequence, _ = l.lastMessage()
	return s
}

// copyOf copies what Apply changes.
func copyOf(s tree.Snapshot) tree.Snapshot {
	c := tree.Snapshot{Nodes: make(map[string]*tree.Record, len(s.Nodes)), Tombstones: maps.Clone(s.Tombstones)}
	for id, r := range s.Nodes {
		record := *r
		record.Failures, record.Restarts = slices.Clone(r.Failures), slices.Clone(r.Restarts)
		c.Nodes[id] = &record
	}
	return c
}
