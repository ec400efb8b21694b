// Package connection knows on which NATS connections agents beat, as far as the
// server's advisories tell, and which of them were lost.
//
// A connection that an agent beats on is named after its heartbeats, so a lost
// one is evidence about that agent: a process that is killed takes its
// connections along at once, long before its silence says anything. It is no
// proof: a connection may be cut while the process lives. So a loss counts only
// when no other connection came within a grace.
//
// It is pure, and bounded: beyond the limit further connections are not
// remembered.
package connection

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/heap"
)

// Instant is a point of the detector's own time.
type Instant = time.Duration

// Conn is a connection.
type Conn struct {
	Name   string
	Server string
	ID     uint64
	Host   string
	Since  time.Time
}

// Loss is a connection that was lost and did not come back in time.
type Loss struct {
	Agent       string
	Incarnation uint64
	// At is when it was lost.
	At Instant
}

// Book is the connections known. It is not safe for concurrent use.
type Book struct {
	limit int
	open  map[string][]open
	lost  map[string]*pending
	due   heap.Heap[*pending]
}

// mostOpen bounds the connections remembered of one agent.
const mostOpen = 4

type open struct {
	conn        Conn
	incarnation uint64
}

type pending struct {
	loss Loss
	due  Instant
}

// New makes an empty book for so many agents.
func New(limit int) *Book {
	return &Book{limit: limit, open: map[string][]open{}, lost: map[string]*pending{}}
}

// Opened takes note of a connection. Whatever was lost before is found again.
func (b *Book) Opened(agent string, incarnation uint64, c Conn) {
	if p := b.lost[agent]; p != nil && p.loss.Incarnation <= incarnation {
		delete(b.lost, agent)
	}
	known := b.open[agent]
	if known == nil && len(b.open) >= b.limit {
		return
	}
	if len(known) >= mostOpen {
		known = slices.Delete(known, 0, 1)
	}
	b.open[agent] = append(known, open{c, incarnation})
}

// Closed takes note that a connection was closed; it counts as lost when no
// other is there within the grace.
func (b *Book) Closed(now Instant, agent string, incarnation uint64, server string, id uint64, grace time.Duration) {
	left := slices.DeleteFunc(b.open[agent], func(o open) bool { return o.conn.Server == server && o.conn.ID == id })
	if len(left) == 0 {
		delete(b.open, agent)
	} else {
		b.open[agent] = left
	}
	if slices.ContainsFunc(left, func(o open) bool { return o.incarnation >= incarnation }) {
		return
	}
	if len(b.lost) >= b.limit {
		return
	}
	p := &pending{Loss{agent, incarnation, now}, now + grace}
	b.lost[agent] = p
	b.due.Push(p)
}

// Due gives the losses whose grace is over.
func (b *Book) Due(now Instant) []Loss {
	var out []Loss
	for len(b.due) > 0 && b.due[0].due <= now {
		p := b.due.Pop()
		if b.lost[p.loss.Agent] == p {
			delete(b.lost, p.loss.Agent)
			out = append(out, p.loss)
		}
	}
	return out
}

// Of lists the open connections of an agent that are known.
func (b *Book) Of(agent string) []Conn {
	var out []Conn
	for _, o := range b.open[agent] {
		out = append(out, o.conn)
	}
	return out
}

// Reset forgets all: the detector was cut off, and what it knew may be wrong.
func (b *Book) Reset() {
	clear(b.open)
	clear(b.lost)
	b.due = nil
}

// Before orders pending losses by their instants.
func (p *pending) Before(o *pending) bool { return p.due < o.due }
