package keeper

import (
	"context"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const (
	// snapshotEvery is how often a snapshot is stored in quiet times: the log
	// forgets what is old.
	snapshotEvery = 10 * time.Minute
	// snapshotShare keeps large trees from being stored all the time: before
	// the next snapshot, one change for every so many nodes is stored.
	snapshotShare = 8
	// copiedAtOnce bounds how long the loop copies nodes before it looks at
	// what has come meanwhile: some 20 µs.
	copiedAtOnce = 64
)

// saving is the making of a snapshot. The loop copies the tree bit by bit
// between other things; packing and storing the copy goes on beside it.
type saving struct {
	sync.WaitGroup
	// began is when the last one was begun, changes how many changes have been
	// stored since.
	began   time.Time
	changes int
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

// snapshotIfDue begins a snapshot when there is much that the last one lacks.
// It takes note of what a decision changed.
func (k *Keeper) snapshotIfDue(changes []tree.Change) {
	s := &k.saving
	s.changes += len(changes)
	if k.journal.Unsaved() >= k.opt.SnapshotEvery && s.changes >= k.tree.Len()/snapshotShare {
		k.beginSnapshot(time.Now())
	}
}

// snapshotIfOld begins a snapshot when the last one is old and lacks anything.
func (k *Keeper) snapshotIfOld(now time.Time) {
	if now.Sub(k.saving.began) > snapshotEvery && k.journal.Unsaved() > 0 {
		k.beginSnapshot(now)
	}
}

func (k *Keeper) beginSnapshot(now time.Time) {
	if s := &k.saving; s.idle() {
		always := make(chan struct{})
		close(always)
		s.began, s.changes, s.copying = now, 0, always
		k.leader.BeginSnapshot()
	}
}

// copySome copies some nodes; when that was the last, the copy is stored.
func (k *Keeper) copySome(ctx context.Context) {
	s := &k.saving
	copied, done := k.leader.CopySome(copiedAtOnce)
	if !done {
		return
	}
	s.under = k.journal.Saving(copied, k.leader.Cursor())
	s.copying = nil
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
