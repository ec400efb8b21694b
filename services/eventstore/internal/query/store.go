package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/index"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/indexer"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/intake"
)

// Errors of a Store.
var (
	// ErrUnknown tells that no stored event has that id.
	ErrUnknown = errors.New("unknown event")
	// ErrTooLarge tells that an event alone exceeds what may be given at once.
	ErrTooLarge = errors.New("too large for one message")
)

// Options bound what one question may cost. Zero values take the defaults.
type Options struct {
	// IndexWait is how long a question waits for the index to reach the end
	// that the stream had when it came; default 5 s.
	IndexWait time.Duration
	// MaxScan is how many messages one page may look through; default 100,000.
	MaxScan int
	// MaxScanTime is how long it may look; default 10 s.
	MaxScanTime time.Duration
	// MaxListed bounds the sequences that the index may give at once; default
	// 100,000.
	MaxListed int
}

func (o Options) withDefaults() Options {
	if o.IndexWait == 0 {
		o.IndexWait = 5 * time.Second
	}
	if o.MaxScan == 0 {
		o.MaxScan = 100_000
	}
	if o.MaxScanTime == 0 {
		o.MaxScanTime = 10 * time.Second
	}
	if o.MaxListed == 0 {
		o.MaxListed = 100_000
	}
	return o
}

// Store answers questions from the stream and its index. It is safe for use by
// many goroutines.
type Store struct {
	log     *eventlog.Log
	indexer *indexer.Indexer
	opts    Options
}

// New gives a Store over a stream and the indexer that follows it.
func New(log *eventlog.Log, ix *indexer.Indexer, o Options) *Store {
	return &Store{log: log, indexer: ix, opts: o.withDefaults()}
}

// Stored is an event together with the message that holds it.
type Stored struct {
	Record eventlog.Record
	Event  contracts.Event
}

// Contract gives the event as replies carry it.
func (s Stored) Contract() contracts.StoredEvent {
	return contracts.StoredEvent{Sequence: s.Record.Sequence, Event: s.Event}
}

// encodedSize is what the event takes in a reply.
func encodedSize(s Stored) int {
	raw, err := json.Marshal(s.Contract())
	if err != nil {
		return len(s.Record.Data)
	}
	return len(raw) + 1
}

// rawSize is what the event takes as it is stored.
func rawSize(s Stored) int { return len(s.Record.Data) }

// Get gives the event of an id. An event stored before the call is found, even
// if the index has yet to come to it.
func (s *Store) Get(ctx context.Context, id string) (Stored, error) {
	found, err := s.find(ctx, id)
	if !unsure(err) {
		return found, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.IndexWait)
	defer cancel()
	for {
		state, err := s.log.State(ctx)
		if err != nil {
			return Stored{}, err
		}
		if err := s.indexer.Wait(ctx, state); err != nil {
			return Stored{}, err
		}
		found, err := s.find(ctx, id)
		if errors.Is(err, index.ErrCorrupt) {
			continue
		}
		if !unsure(err) {
			return found, err
		}
		if sure, e := s.indexer.Confirm(ctx); e != nil {
			return Stored{}, e
		} else if sure {
			return Stored{}, fmt.Errorf("%w: no stored event has the id %.80q; it never came, or has aged", ErrUnknown, id)
		}
	}
}

// unsure tells whether an error of find may only mean that the index is behind
// or of another stream.
func unsure(err error) bool {
	return errors.Is(err, index.ErrUnknown) || errors.Is(err, errElsewhere) || errors.Is(err, index.ErrCorrupt)
}

// errElsewhere tells that the stream has no or another event where the index
// says that it should be.
var errElsewhere = errors.New("the index points elsewhere")

func (s *Store) find(ctx context.Context, id string) (Stored, error) {
	var seq uint64
	err := s.indexer.Use(func(ix index.Index) (err error) {
		seq, err = ix.Sequence(id)
		return err
	})
	if err != nil {
		return Stored{}, err
	}
	r, err := s.log.Get(ctx, seq)
	if errors.Is(err, eventlog.ErrGone) {
		s.indexer.Doubt()
		return Stored{}, errElsewhere
	}
	if err != nil {
		return Stored{}, err
	}
	e, err := intake.Decode(r.Subject, r.Data)
	if err != nil || e.ID != id {
		s.indexer.Doubt()
		return Stored{}, errElsewhere
	}
	return Stored{r, e}, nil
}

// indexed asks the index, once it has reached the state, for which it has a
// bounded time. It may ask again, so f must set its results anew.
func (s *Store) indexed(ctx context.Context, state eventlog.State, f func(index.Index) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.IndexWait)
	defer cancel()
	for {
		if err := s.indexer.Wait(ctx, state); err != nil {
			return err
		}
		if err := s.indexer.Use(f); !errors.Is(err, index.ErrCorrupt) {
			return err
		}
	}
}

// duplicate tells whether the same event is stored before, in what the stream
// still holds.
func (s *Store) duplicate(first uint64, e Stored) bool {
	var seq uint64
	err := s.indexer.Use(func(ix index.Index) (err error) {
		seq, err = ix.Sequence(e.Event.ID)
		return err
	})
	return err == nil && seq >= first && seq < e.Record.Sequence
}

// Fits reports ErrTooLarge when a reply with the event would exceed a size.
func (s *Store) Fits(e Stored, limit int) error {
	if size := encodedSize(e); size > limit {
		return tooLarge(e, size, limit)
	}
	return nil
}
