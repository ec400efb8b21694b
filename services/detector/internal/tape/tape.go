// Package tape remembers what the detector heard last: the inputs of its core,
// in order, so that they can be looked at and replayed under other settings.
//
// A Tape is a ring of fixed size for the whole fleet, so remembering costs the
// same few megabytes whatever the fleet's size; in a small one it reaches back
// for hours, in a large one for seconds. Whoever wants more reads it again and
// again: entries are numbered, so that nothing is taken twice and what was
// missed is known.
//
// It is pure: no clock, no locks.
package tape

import (
	"slices"
	"time"
)

// Kind is what happened.
type Kind uint8

// The kinds of entries.
const (
	// Beat: a heartbeat came.
	Beat Kind = iota + 1
	// Started: somebody announced a start.
	Started
	// Ended: an end was proven.
	Ended
	// Suspended: the detector could not hear.
	Suspended
	// Resumed: it can again; For is the grace.
	Resumed
	// Continued: it can again, and missed nothing.
	Continued
	// Stalled: the detector itself stood still, for For until At.
	Stalled
)

// Entry is one input of the core.
type Entry struct {
	At          time.Duration // of the detector's clock
	Kind        Kind
	Leaving     bool   // the heartbeat is a farewell
	Agent       string // empty where the entry is about the detector
	Type        string
	Instance    string
	Incarnation uint64
	Seq         uint64
	// Interval is the declared one, or a start's deadline is For.
	Interval time.Duration
	For      time.Duration
}

// DefaultSize is how many entries a Tape keeps.
const DefaultSize = 1 << 16

// Tape is a ring of entries. The zero value keeps DefaultSize. It is not safe
// for concurrent use.
type Tape struct {
	size  int
	ring  []Entry
	count uint64 // entries ever added; the last one's number
}

// New makes a tape of so many entries.
func New(size int) *Tape { return &Tape{size: size} }

// Add appends an entry, in place of the oldest when the tape is full.
func (t *Tape) Add(e Entry) {
	if t.size <= 0 {
		t.size = DefaultSize
	}
	if len(t.ring) < t.size {
		t.ring = append(t.ring, e)
	} else {
		t.ring[t.count%uint64(t.size)] = e
	}
	t.count++
}

// Len is how many entries are kept.
func (t *Tape) Len() int { return len(t.ring) }

// Page is what Read gives.
type Page struct {
	Entries []Entry
	// Numbers are those of the entries, from 1.
	Numbers []uint64
	// Next is the number from which to read on.
	Next uint64
	// Lost is how many entries after the one asked for were overwritten.
	Lost uint64
}

// Read gives at most limit entries after a number, those about the given agents
// and about the detector itself; no agents mean all. From 0 it begins with the
// oldest there is.
func (t *Tape) Read(after uint64, agents []string, limit int) Page {
	oldest := t.count - uint64(len(t.ring))
	p := Page{Next: after}
	if after > t.count { // of another tape
		after, p.Next = 0, 0
	}
	if after < oldest {
		if after > 0 {
			p.Lost = oldest - after
		}
		p.Next = oldest
	}
	for p.Next < t.count && len(p.Entries) < limit {
		e := t.ring[p.Next%uint64(len(t.ring))]
		p.Next++
		if e.Agent == "" || len(agents) == 0 || slices.Contains(agents, e.Agent) {
			p.Entries, p.Numbers = append(p.Entries, e), append(p.Numbers, p.Next)
		}
	}
	return p
}

// Gaps are the last at most limit intervals between heartbeats of one life of
// an agent, oldest first. Those across a time in which the detector could not
// hear are left out.
func (t *Tape) Gaps(agent string, limit int) []time.Duration {
	var gaps []time.Duration
	var later Entry
	deaf := false
	for n := len(t.ring); n > 0 && len(gaps) < limit; n-- {
		e := t.ring[(t.count-uint64(len(t.ring)-n)-1)%uint64(len(t.ring))]
		if e.Agent == "" {
			deaf = true
		}
		if e.Agent != agent || e.Kind != Beat {
			continue
		}
		if later.Agent != "" && !deaf && later.Incarnation == e.Incarnation && later.Instance == e.Instance {
			gaps = append(gaps, later.At-e.At)
		}
		later, deaf = e, false
	}
	slices.Reverse(gaps)
	return gaps
}
