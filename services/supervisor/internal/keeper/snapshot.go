package keeper

import (
	"context"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
)

// copiedAtOnce bounds how long the loop copies nodes before it looks at what has
// come meanwhile: some 20 µs.
const copiedAtOnce = 64

// saving is the making of a snapshot. The loop copies the tree bit by bit
// between other things; packing and storing the copy goes on beside it.
type saving struct {
	sync.WaitGroup
	// lacks is what the last one, stored or being stored, lacks; its counts of
	// decisions and nodes are filled in when they are needed.
	lacks leader.Unsaved
	// log is how much the log keeps, as far as known.
	log leader.Retention
	// copying can always be received from while there is something to copy.
	copying <-chan struct{}
	// under is what is being stored; the result comes on stored.
	under  *journal.Saving
	stored chan error
	// swept is set once what predecessors left half done has been removed.
	swept bool
}

// idle reports whether no snapshot is being made.
func (s *saving) idle() bool { return s.copying == nil && s.under == nil }

// lacking notes what a decision changed that the last snapshot lacks.
func (k *Keeper) lacking(b *leader.Batch) {
	if b.MustStore() {
		k.saving.lacks.Note(b, k.journal.Sequence())
		k.snapshotIfDue()
	}
}

// snapshotIfDue begins a snapshot when it is time for one.
func (k *Keeper) snapshotIfDue() {
	s := &k.saving
	lacks := s.lacks
	lacks.Decisions, lacks.Nodes = k.journal.Unsaved(), k.tree.Len()
	if !s.idle() || !lacks.SnapshotDue(k.now(), k.opt.SnapshotEvery, s.log) {
		return
	}
	always := make(chan struct{})
	close(always)
	s.copying = always
	k.leader.BeginSnapshot()
}

// lookAtLog learns how much the log keeps and begins a snapshot if it is time for
// one.
func (k *Keeper) lookAtLog(ctx context.Context) {
	if k.journal.Unsaved() == 0 && k.saving.log != (leader.Retention{}) {
		return
	}
	if log, err := k.journal.Retention(ctx); err == nil {
		k.saving.log = log
	}
	k.snapshotIfDue()
}

// copySome copies some nodes; when that was the last, the copy is stored.
func (k *Keeper) copySome(ctx context.Context) {
	s := &k.saving
	copied, done := k.leader.CopySome(copiedAtOnce)
	if !done {
		return
	}
	s.under = k.journal.Saving(copied, k.leader.Cursor())
	s.copying, s.lacks = nil, leader.Unsaved{}
	under, sweep := s.under, !s.swept
	s.swept = true
	s.Go(func() {
		err := under.Store(ctx)
		s.stored <- err
		if err != nil || !sweep {
			return
		}
		if err := under.Sweep(ctx); err != nil {
			k.env.Log.Debug("not removed", "tree", k.opt.Tree, "error", err)
		}
	})
}

func (k *Keeper) snapshotStored(err error) {
	if err != nil {
		k.env.Log.Warn("snapshot not stored", "tree", k.opt.Tree, "error", err)
		k.saving.lacks.Missed(k.now())
	} else {
		k.journal.Saved(k.saving.under)
	}
	k.saving.under = nil
}

// lastSnapshotWithin bounds how long a keeper's end may be held up by a bucket
// that does not answer: whoever is next reads more of the log then.
const lastSnapshotWithin = 5 * time.Second

// leave stores a last snapshot, so that a successor need not fold; not of what is
// not in the log.
func (k *Keeper) leave(ctx context.Context) error {
	s := &k.saving
	k.leader.DropSnapshot()
	s.copying = nil
	if s.under != nil && <-s.stored == nil {
		k.journal.Saved(s.under)
	}
	if k.journal.Unsaved() > 0 && k.leader.Settled() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSnapshotWithin)
		defer cancel()
		if err := k.journal.Save(last, k.tree.Snapshot(), k.leader.Cursor()); err != nil {
			k.env.Log.Warn("no last snapshot", "tree", k.opt.Tree, "error", err)
		}
	}
	return ctx.Err()
}
