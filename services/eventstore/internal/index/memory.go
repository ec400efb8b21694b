package index

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory is an Index in memory: the double for tests, and the model that the
// other one is compared with. Its zero value is empty and ready.
type Memory struct {
	mu       sync.RWMutex
	position Position
	entries  []Entry // ascending by sequence
	byID     map[string]uint64
}

var _ Index = (*Memory)(nil)

// Position implements Index.
func (m *Memory) Position() Position {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.position
}

// Apply implements Index.
func (m *Memory) Apply(entries []Entry, reached uint64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := check(m.position.Reached, entries, reached); err != nil {
		return 0, err
	}
	if m.byID == nil {
		m.byID = make(map[string]uint64)
	}
	duplicates := 0
	for _, e := range entries {
		if _, known := m.byID[e.ID]; known {
			duplicates++
			continue
		}
		m.byID[e.ID] = e.Sequence
		m.entries = append(m.entries, e)
		m.position.Anchor = Anchor{Sequence: e.Sequence, ID: e.ID}
	}
	m.position.Reached = reached
	return duplicates, nil
}

// Reset implements Index.
func (m *Memory) Reset(stream time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.position, m.entries, m.byID = Position{Stream: stream}, nil, nil
	return nil
}

// Prune implements Index.
func (m *Memory) Prune(before uint64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.entries[:0:0]
	for _, e := range m.entries {
		if e.Sequence >= before {
			kept = append(kept, e)
			continue
		}
		delete(m.byID, e.ID)
	}
	removed := len(m.entries) - len(kept)
	m.entries = kept
	return removed, nil
}

// Sequence implements Index.
func (m *Memory) Sequence(id string) (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	seq, known := m.byID[id]
	if !known {
		return 0, fmt.Errorf("event %s: %w", id, ErrUnknown)
	}
	return seq, nil
}

// Correlated implements Index.
func (m *Memory) Correlated(id string, after uint64, limit int) ([]uint64, error) {
	return m.list(limit, func(e Entry) bool { return id != "" && e.Correlation == id && e.Sequence > after }), nil
}

// Caused implements Index.
func (m *Memory) Caused(id string, after uint64, limit int) ([]uint64, error) {
	return m.list(limit, func(e Entry) bool { return id != "" && e.Causation == id && e.Sequence > after }), nil
}

// Misdated implements Index.
func (m *Memory) Misdated(from, to time.Time, limit int) ([]uint64, error) {
	found := m.list(limit+1, func(e Entry) bool {
		return !e.Misdated.IsZero() && (from.IsZero() || !e.Misdated.Before(from)) && (to.IsZero() || e.Misdated.Before(to))
	})
	if len(found) > limit {
		return nil, tooManyMisdated(limit)
	}
	return found, nil
}

// Close implements Index.
func (m *Memory) Close() error { return nil }

func (m *Memory) list(limit int, match func(Entry) bool) []uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []uint64
	for _, e := range m.entries {
		if len(out) >= limit {
			break
		}
		if match(e) {
			out = append(out, e.Sequence)
		}
	}
	return slices.Clip(out)
}

// check refuses a batch that does not continue at reached.
func check(reached uint64, entries []Entry, next uint64) error {
	last := reached
	for _, e := range entries {
		if e.Sequence <= last {
			return fmt.Errorf("%w: event %s at sequence %d comes after %d", ErrOrder, e.ID, e.Sequence, last)
		}
		if e.ID == "" {
			return fmt.Errorf("%w: the event at sequence %d has no id", ErrOrder, e.Sequence)
		}
		if len(e.ID) > MaxKeyBytes || len(e.Correlation) > MaxKeyBytes || len(e.Causation) > MaxKeyBytes {
			return fmt.Errorf("%w: the event at sequence %d has an id of more than %d bytes", ErrOrder, e.Sequence, MaxKeyBytes)
		}
		last = e.Sequence
	}
	if next < last {
		return fmt.Errorf("%w: reached %d is below sequence %d", ErrOrder, next, last)
	}
	return nil
}

func tooManyMisdated(limit int) error {
	return fmt.Errorf("%w: more than %d events of that time range were stored long before or after it; ask for a shorter range", ErrTooMany, limit)
}
