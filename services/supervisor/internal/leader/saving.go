package leader

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Retention is how much a log keeps, and what it holds now. Bounds of 0 or less
// are none.
type Retention struct {
	MaxAge            time.Duration
	MaxBytes, MaxMsgs int64
	Bytes, Msgs       int64
	FirstSeq, LastSeq uint64
}

// Unsaved is what the last snapshot of a tree lacks.
type Unsaved struct {
	// Decisions is how many decisions it lacks, Changes how many changes of
	// nodes.
	Decisions uint64
	Changes   int
	// First is the place in the log of the first of them, Since when it was made.
	First uint64
	Since tree.Instant
	// Ordered is when an operator's order or a configuration was decided that it
	// lacks, 0 if none.
	Ordered tree.Instant
	// Nodes is the size of the tree.
	Nodes int
}

// Note adds what a decision changed whose last message is at a place in the log.
func (u *Unsaved) Note(b *Batch, sequence uint64) {
	if !b.MustStore() {
		return
	}
	if u.Since == 0 {
		u.Since, u.First = b.At, sequence
	}
	u.Changes += len(b.Changes)
	if u.Ordered == 0 && b.Ordered() {
		u.Ordered = b.At
	}
}

// Missed makes a snapshot that could not be stored due again, as after an order.
func (u *Unsaved) Missed(now tree.Instant) {
	u.Ordered = now
	if u.Since == 0 {
		u.Since = now
	}
}

const (
	// smallTree is how many nodes a tree has at most that is stored often.
	smallTree = 8000
	// saveSmall and saveLarge are how long what changed is in the log only.
	saveSmall, saveLarge = time.Minute, 10 * time.Minute
	// saveShare keeps large trees from being stored all the time: before the next
	// snapshot, one change for every so many nodes is decided.
	saveShare = 8
	// collectOrders is how long orders are collected before they are stored;
	// collectPerNode is added for each node, as larger trees take longer to store.
	collectOrders  = time.Second
	collectPerNode = 100 * time.Microsecond
	// A log that keeps less than one of these is short.
	shortAge   = time.Hour
	shortBytes = 64 << 20
	shortMsgs  = 100_000
	// full is the share of its bounds from which on a log may forget.
	full = 0.8
)

// SnapshotDue reports whether a snapshot is to be made now, when every is after
// how many decisions one is. What operators ordered is stored soon, at once if the
// log is short, so that it outlasts whatever the log forgets; and everything is
// stored before the log forgets it.
func (u Unsaved) SnapshotDue(now tree.Instant, every uint64, log Retention) bool {
	if u.Decisions == 0 {
		return false
	}
	age := time.Duration(now - u.Since)
	switch {
	case u.Ordered > 0 && (log.short() || time.Duration(now-u.Ordered) >= collectOrders+time.Duration(u.Nodes)*collectPerNode):
		return true
	case u.Decisions >= every && u.Changes >= u.Nodes/saveShare:
		return true
	case age >= saveLarge, u.Nodes <= smallTree && age >= saveSmall:
		return true
	}
	return log.forgets(u.First, age)
}

// short reports whether a log keeps so little that a burst of events or an outage
// may make it forget what was just stored.
func (r Retention) short() bool {
	return r.MaxAge > 0 && r.MaxAge < shortAge || r.MaxBytes > 0 && r.MaxBytes < shortBytes || r.MaxMsgs > 0 && r.MaxMsgs < shortMsgs
}

// forgets reports whether the log is about to forget a message, or has forgotten
// it: half of its time is over, or the log is full and it is in the older half.
func (r Retention) forgets(seq uint64, age time.Duration) bool {
	if r.MaxAge > 0 && age >= r.MaxAge/2 {
		return true
	}
	isFull := r.MaxBytes > 0 && float64(r.Bytes) >= full*float64(r.MaxBytes) || r.MaxMsgs > 0 && float64(r.Msgs) >= full*float64(r.MaxMsgs)
	return isFull && seq <= r.FirstSeq+(r.LastSeq-r.FirstSeq)/2
}
