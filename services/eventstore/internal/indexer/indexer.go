// Package indexer keeps an index up with the event stream.
//
// It follows the stream from where the index is, and applies what comes in
// batches. Whenever it begins to follow, from time to time, and when somebody
// finds the index at odds with the stream, it checks that the index is of this
// stream: one that was made anew, that ends before the index does, or that has
// another event where the index saw one, makes it start afresh. So does a server
// that lost its last messages in a crash and gave their sequences to others. What
// is no event is handed to a Rejecter and passed over.
package indexer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/index"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/intake"
)

// MisdatedBy is how much an event's own time may differ from the time it was
// stored before the index remembers the difference. A search by time looks this
// much further on both sides.
const MisdatedBy = 2 * time.Second

const (
	batchSize  = 512
	checkEvery = 5 * time.Second
	// retryFirst and retryMost space attempts to follow the stream.
	retryFirst, retryMost = 100 * time.Millisecond, 5 * time.Second
	// patience is how long somebody waits for the index before it is checked: the
	// server may lose the word that the stream, and what follows it, is gone.
	patience = 500 * time.Millisecond
)

// ErrBehind tells that the index did not reach a sequence in time.
var ErrBehind = errors.New("the index is behind the stream")

// Rejecter takes note of messages that are no events.
type Rejecter interface {
	Reject(ctx context.Context, stream time.Time, r eventlog.Record, why *intake.Rejection)
}

// Observer is told what the indexer does, for metrics.
type Observer interface {
	// Stored is called for each event that was indexed.
	Stored(t contracts.EventType)
	// Duplicates is called with how many events had been stored before.
	Duplicates(n int)
	// At tells where the index is and where the stream ends.
	At(reached, last uint64)
	// Rebuilt is called when the index starts afresh.
	Rebuilt()
}

// Opener opens the index, which the indexer closes. It is called again, with
// discard, when the index proves corrupt: then nothing of it may be kept.
type Opener func(discard bool) (index.Index, error)

// Indexer is made by New and works while Run runs.
type Indexer struct {
	log      *eventlog.Log
	create   func(context.Context) error
	open     Opener
	rejecter Rejecter
	observer Observer
	slog     *slog.Logger
	doubt    chan struct{} // asks for a check now

	mu      sync.Mutex
	index   index.Index
	corrupt bool          // as a user of it found
	stale   bool          // until the index has been compared with the stream
	changed chan struct{} // closed at the next change of the position
	users   sync.WaitGroup
}

// New makes an indexer of an event stream. When the stream is found to be gone
// it calls create, which makes it anew.
func New(log *eventlog.Log, create func(context.Context) error, open Opener, r Rejecter, o Observer, logger *slog.Logger) (*Indexer, error) {
	ix, err := open(false)
	if err != nil {
		return nil, err
	}
	return &Indexer{
		log: log, create: create, open: open, rejecter: r, observer: o, slog: logger,
		doubt: make(chan struct{}, 1), index: ix, stale: true, changed: make(chan struct{}),
	}, nil
}

// Position is how far the index is.
func (x *Indexer) Position() index.Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.index.Position()
}

// Use calls f with the index, which stays open meanwhile; f must not call the
// indexer. An index found corrupt is replaced.
func (x *Indexer) Use(f func(index.Index) error) error {
	x.mu.Lock()
	ix := x.index
	x.users.Add(1)
	x.mu.Unlock()
	err := f(ix)
	x.users.Done()
	if errors.Is(err, index.ErrCorrupt) {
		x.mu.Lock()
		if x.index == ix {
			x.corrupt, x.stale = true, true
		}
		x.mu.Unlock()
		x.Doubt()
	}
	return err
}

func (x *Indexer) isCorrupt() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.corrupt
}

// Confirm compares the index with the stream, and reports whether it is of this
// stream. If it is not, Wait waits until it is.
func (x *Indexer) Confirm(ctx context.Context) (bool, error) {
	at := x.Position()
	state, err := x.log.State(ctx)
	if err != nil {
		return false, err
	}
	odd, err := x.odds(ctx, at, state)
	if err != nil || odd == "" {
		return odd == "", err
	}
	x.mu.Lock()
	if x.index.Position().Stream.Equal(at.Stream) {
		x.stale = true
	}
	x.mu.Unlock()
	x.Doubt()
	return false, nil
}

// Doubt has the index compared with the stream soon.
func (x *Indexer) Doubt() {
	select {
	case x.doubt <- struct{}{}:
	default:
	}
}

// Wait waits until the index has reached what the stream holds, or until ctx
// ends, which is ErrBehind.
func (x *Indexer) Wait(ctx context.Context, s eventlog.State) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		x.mu.Lock()
		at, stale, changed := x.index.Position(), x.stale, x.changed
		x.mu.Unlock()
		if !stale && at.Stream.Equal(s.Created) && at.Reached >= s.Last {
			return nil
		}
		if !at.Stream.Equal(s.Created) {
			x.Doubt()
		}
		select {
		case <-changed:
		case <-late.C:
			x.Doubt()
		case <-ctx.Done():
			return fmt.Errorf("%w: it has reached sequence %d of %d; try again", ErrBehind, at.Reached, s.Last)
		}
	}
}

// Run follows the stream until ctx ends, and then closes the index.
func (x *Indexer) Run(ctx context.Context) error {
	wait := retryFirst
	connected, stop := x.log.Connected()
	defer stop()
	for ctx.Err() == nil {
		begin := time.Now()
		err := x.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, index.ErrCorrupt) {
			if err := x.reopen(); err != nil {
				return err
			}
		}
		if time.Since(begin) > 2*retryMost {
			wait = retryFirst
		}
		x.interrupted(ctx, err, wait)
		select {
		case <-ctx.Done():
		case _, open := <-connected:
			if !open {
				connected = nil
			}
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users.Wait()
	return x.index.Close()
}

// interrupted reports why following ended, and makes the stream anew if it is
// gone.
func (x *Indexer) interrupted(ctx context.Context, err error, wait time.Duration) {
	level := slog.LevelWarn
	if errors.Is(err, eventlog.ErrDisconnected) { // the connection reports that itself
		level = slog.LevelDebug
	}
	x.slog.Log(ctx, level, "indexing interrupted", "error", err, "again_in", wait)
	if !errors.Is(err, eventlog.ErrNoStream) {
		return
	}
	x.slog.Error("the event stream is gone, with all events; it is made anew")
	if err := x.create(ctx); err != nil {
		x.slog.Warn("the event stream cannot be made", "error", err)
	}
}

// reopen replaces a corrupt index by an empty one.
func (x *Indexer) reopen() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users.Wait() // nobody comes in: that takes the lock
	x.slog.Error("the event index is corrupt and is built anew")
	x.stale, x.corrupt = true, false
	if err := x.index.Close(); err != nil {
		x.slog.Warn("closing the corrupt event index", "error", err)
	}
	ix, err := x.open(true)
	if err != nil {
		return err
	}
	x.index = ix
	return nil
}

// advance applies a batch.
func (x *Indexer) advance(entries []index.Entry, reached uint64) error {
	duplicates, err := x.index.Apply(entries, reached)
	if err != nil {
		return err
	}
	if duplicates > 0 {
		x.observer.Duplicates(duplicates)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.announce()
	return nil
}

// setStale says whether the index is known to be of this stream.
func (x *Indexer) setStale(stale bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stale = stale
	x.announce()
}

// announce wakes those who wait for a change. The lock is held.
func (x *Indexer) announce() {
	close(x.changed)
	x.changed = make(chan struct{})
}
