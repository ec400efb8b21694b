package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Pebble is an Index on disk. It keeps no write-ahead log: a crash loses the
// last batches as a whole, together with the position that says they were
// there, and they are applied again from the stream.
type Pebble struct {
	db   *pebble.DB
	lock *pebble.Lock

	// damaged is set when the database finds damage, be it in the background.
	damaged *atomic.Bool

	mu       sync.RWMutex
	position Position
}

var _ Index = (*Pebble)(nil)

// Position implements Index.
func (p *Pebble) Position() Position {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.position
}

// Apply implements Index.
func (p *Pebble) Apply(entries []Entry, reached uint64) (duplicates int, err error) {
	next := p.Position()
	if err := check(next.Reached, entries, reached); err != nil {
		return 0, err
	}
	if p.damaged.Load() {
		return 0, fmt.Errorf("%w: a file was found damaged", ErrCorrupt)
	}
	b := p.db.NewBatch()
	defer b.Close()
	inBatch := make(map[string]bool, len(entries))
	for _, e := range entries {
		known, err := p.known(e.ID)
		if err != nil {
			return 0, err
		}
		if known || inBatch[e.ID] {
			duplicates++
			continue
		}
		inBatch[e.ID] = true
		if err := put(b, e); err != nil {
			return 0, err
		}
		next.Anchor = Anchor{Sequence: e.Sequence, ID: e.ID}
	}
	next.Reached = reached
	return duplicates, p.commit(b, next)
}

func (p *Pebble) known(id string) (bool, error) {
	_, err := p.Sequence(id)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

func put(b *pebble.Batch, e Entry) error {
	err := errors.Join(
		b.Set(idKey(e.ID), binary.BigEndian.AppendUint64(nil, e.Sequence), nil),
		b.Set(entryKey(e.Sequence), encodeEntry(e), nil),
	)
	for _, k := range listKeys(e) {
		err = errors.Join(err, b.Set(k, nil, nil))
	}
	return err
}

// listKeys are the keys of an entry that have no value.
func listKeys(e Entry) [][]byte {
	var keys [][]byte
	if e.Correlation != "" {
		keys = append(keys, listKey(kindCorrelation, e.Correlation, e.Sequence))
	}
	if e.Causation != "" {
		keys = append(keys, listKey(kindCausation, e.Causation, e.Sequence))
	}
	if !e.Misdated.IsZero() {
		keys = append(keys, misdatedKey(e.Misdated, e.Sequence))
	}
	return keys
}

// commit writes a batch together with the position it leads to.
func (p *Pebble) commit(b *pebble.Batch, next Position) error {
	raw, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("position: %w", err)
	}
	if err := errors.Join(b.Set(metaKey, raw, nil), b.Commit(pebble.NoSync)); err != nil {
		return wrap("writing", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position = next
	return nil
}

// Reset implements Index.
func (p *Pebble) Reset(stream time.Time) error {
	b := p.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(keySpaceFirst, keySpaceLast, nil); err != nil {
		return wrap("reset", err)
	}
	return p.commit(b, Position{Stream: stream})
}

// pruneBatch is how many entries are removed in one step.
const pruneBatch = 1024

// Prune implements Index.
func (p *Pebble) Prune(before uint64) (removed int, err error) {
	for {
		n, err := p.pruneSome(before)
		removed += n
		if err != nil || n < pruneBatch {
			return removed, err
		}
	}
}

func (p *Pebble) pruneSome(before uint64) (n int, err error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(0), UpperBound: entryKey(before)})
	if err != nil {
		return 0, wrap("prune", err)
	}
	defer func() { err = errors.Join(err, wrap("prune", it.Close())) }()
	b := p.db.NewBatch()
	defer b.Close()
	for ok := it.First(); ok && n < pruneBatch; ok = it.Next() {
		e, err := decodeEntry(lastSequence(it.Key()), it.Value())
		if err != nil {
			return 0, fmt.Errorf("%w: entry %d: %w", ErrCorrupt, lastSequence(it.Key()), err)
		}
		keys := append(listKeys(e), idKey(e.ID), entryKey(e.Sequence))
		for _, k := range keys {
			if err := b.Delete(k, nil); err != nil {
				return 0, wrap("prune", err)
			}
		}
		n++
	}
	return n, wrap("prune", b.Commit(pebble.NoSync))
}

// Sequence implements Index.
func (p *Pebble) Sequence(id string) (uint64, error) {
	if id == "" || len(id) > MaxKeyBytes {
		return 0, fmt.Errorf("event %.80q: %w", id, ErrUnknown)
	}
	raw, closer, err := p.db.Get(idKey(id))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, fmt.Errorf("event %s: %w", id, ErrUnknown)
	}
	if err != nil {
		return 0, wrap("event "+id, err)
	}
	defer closer.Close()
	if len(raw) != 8 {
		return 0, fmt.Errorf("%w: event %s has a sequence of %d bytes", ErrCorrupt, id, len(raw))
	}
	return binary.BigEndian.Uint64(raw), nil
}

// Correlated implements Index.
func (p *Pebble) Correlated(id string, after uint64, limit int) ([]uint64, error) {
	return p.list(kindCorrelation, id, after, limit)
}

// Caused implements Index.
func (p *Pebble) Caused(id string, after uint64, limit int) ([]uint64, error) {
	return p.list(kindCausation, id, after, limit)
}

func (p *Pebble) list(kind byte, id string, after uint64, limit int) ([]uint64, error) {
	if id == "" || len(id) > MaxKeyBytes || after == math.MaxUint64 {
		return nil, nil
	}
	return p.scan(listKey(kind, id, after+1), append(listKey(kind, id, math.MaxUint64), 0), limit)
}

// Misdated implements Index.
func (p *Pebble) Misdated(from, to time.Time, limit int) ([]uint64, error) {
	lower, upper := []byte{kindMisdated}, []byte{kindMisdated + 1}
	if !from.IsZero() {
		lower = misdatedPrefix(from)
	}
	if !to.IsZero() {
		upper = misdatedPrefix(to)
	}
	found, err := p.scan(lower, upper, limit+1)
	if err != nil {
		return nil, err
	}
	if len(found) > limit {
		return nil, tooManyMisdated(limit)
	}
	slices.Sort(found)
	return found, nil
}

// scan gives the sequences at the ends of the keys in [lower, upper).
func (p *Pebble) scan(lower, upper []byte, limit int) (found []uint64, err error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, wrap("list", err)
	}
	for ok := it.First(); ok && len(found) < limit; ok = it.Next() {
		found = append(found, lastSequence(it.Key()))
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, wrap("list", err)
	}
	return found, nil
}

// Flush writes what is in memory to disk, so that less is applied again after
// a crash.
func (p *Pebble) Flush() error { return wrap("flush", p.db.Flush()) }

// Close flushes and closes the index.
func (p *Pebble) Close() error {
	return errors.Join(p.Flush(), wrap("close", p.db.Close()), p.lock.Close())
}

// wrap marks what the database calls corruption as ErrCorrupt.
func wrap(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
	default:
		return fmt.Errorf("event index: %s: %w", what, err)
	}
}
