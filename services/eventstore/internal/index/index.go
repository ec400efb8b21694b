// Package index tells at which stream sequences an event can be found: by its
// id, by its correlation id, by its causation id.
//
// An index is a disposable projection of the event stream. It never holds an
// event, only where events are, together with the sequence it has reached; both
// change in one atomic step, so an index that survived a crash is behind the
// stream at worst, never wrong about what it has reached. Whoever doubts one
// resets it and applies the stream again.
package index

import (
	"errors"
	"time"
)

// Errors of an Index.
var (
	// ErrUnknown tells that no event of that id has been applied.
	ErrUnknown = errors.New("unknown to the index")
	// ErrCorrupt tells that the index cannot be trusted; rebuild it.
	ErrCorrupt = errors.New("the index is corrupt")
	// ErrOrder tells that a batch does not continue where the index is.
	ErrOrder = errors.New("batch out of order")
)

// MaxKeyBytes bounds every id an Entry may hold; longer ones are refused.
const MaxKeyBytes = 255

// Entry is what the index keeps of one event.
type Entry struct {
	// Sequence is the event's place in the stream.
	Sequence uint64
	// ID is the event's id; required.
	ID string
	// Correlation and Causation are the ids it names, or empty.
	Correlation string
	Causation   string
	// Misdated is the event's own time where that differs so much from the time
	// it was stored that a search by stored time would miss it; zero otherwise.
	Misdated time.Time
}

// Anchor is an event that was applied. Comparing it with the stream tells
// whether the stream is still the one that was indexed: a server that lost its
// last messages gives their sequences to others.
type Anchor struct {
	Sequence uint64 `json:"sequence"`
	ID       string `json:"id"`
}

// Position is how far an index is, and in which stream.
type Position struct {
	// Stream is the creation time of the stream; zero when never reset.
	Stream time.Time `json:"stream"`
	// Reached is the last stream sequence that has been seen, indexed or not.
	Reached uint64 `json:"reached"`
	// Anchor is the last event applied; zero when there is none.
	Anchor Anchor `json:"anchor"`
}

// Index finds events. Implementations are safe for use by many goroutines, of
// which at most one at a time may change it.
type Index interface {
	// Position says how far the index is.
	Position() Position
	// Apply adds entries, in ascending order, and moves Reached, all or
	// nothing. An id that is known at a lower sequence keeps that one and the
	// entry is left out; duplicates tells how many were. Entries at or below
	// the present Reached are ErrOrder.
	Apply(entries []Entry, reached uint64) (duplicates int, err error)
	// Reset forgets everything and names the stream to be indexed from now.
	Reset(stream time.Time) error
	// Prune forgets entries below a sequence; they have left the stream.
	Prune(before uint64) (removed int, err error)

	// Sequence is where the event of an id is, or ErrUnknown.
	Sequence(id string) (uint64, error)
	// Correlated lists the sequences of a correlation id's events above after,
	// ascending, at most limit of them.
	Correlated(id string, after uint64, limit int) ([]uint64, error)
	// Caused lists the sequences of the events that name id as their cause.
	Caused(id string, after uint64, limit int) ([]uint64, error)
	// Misdated lists the sequences of misdated events whose own time is within
	// [from, to), ascending by sequence; zero bounds are open. More than limit
	// of them is ErrTooMany.
	Misdated(from, to time.Time, limit int) ([]uint64, error)

	// Close releases the index; what was applied is kept where it can be.
	Close() error
}

// ErrTooMany tells that a question has more answers than may be asked for.
var ErrTooMany = errors.New("too many")
