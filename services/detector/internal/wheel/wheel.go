// Package wheel keeps one deadline for each of very many entries.
//
// It is a hierarchical timing wheel (Varghese and Lauck, 1987): setting,
// moving and clearing a deadline cost the same however many there are, and
// time advances without looking at entries that are not due. Nothing runs by
// itself: whoever owns the wheel calls Advance.
//
// An entry is a small number, such as an index into the owner's own slice; the
// wheel's memory is proportional to the largest one used.
package wheel

import (
	"math/bits"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/slab"
)

const (
	slotBits = 8
	slots    = 1 << slotBits
	levels   = 6
	none     = ^uint32(0)
)

// Wheel is a set of deadlines. It is not safe for concurrent use.
type Wheel struct {
	tick  time.Duration
	now   uint64 // ticks advanced so far; every entry's due tick is above it
	heads [levels][slots]uint32
	// used has a bit for every slot that holds entries.
	used  [levels][slots / 64]uint64
	nodes slab.Array[node]
	size  int
}

// node links an entry into its slot's list.
type node struct {
	due        uint64
	next, prev uint32
	slot       uint16 // level*slots + slot, +1; 0 when not in the wheel
}

// New makes a wheel whose deadlines are rounded up to whole ticks.
func New(tick time.Duration) *Wheel {
	w := &Wheel{tick: max(tick, 1)}
	for l := range w.heads {
		for s := range w.heads[l] {
			w.heads[l][s] = none
		}
	}
	return w
}

// Len is the number of deadlines set.
func (w *Wheel) Len() int { return w.size }

// Set gives an entry its deadline, in place of any it had. A deadline that has
// passed is due at the next tick. The wheel reaches 2^48 ticks, which is 8,900
// years of milliseconds; what would lie beyond fires at its end.
func (w *Wheel) Set(entry uint32, at time.Duration) {
	w.nodes.Grow(entry)
	w.Clear(entry)
	due := uint64(max(at, 0)) / uint64(w.tick)
	if time.Duration(due)*w.tick < at {
		due++
	}
	w.nodes.At(entry).due = min(max(due, w.now+1), w.now|(1<<(slotBits*levels)-1))
	w.link(entry)
	w.size++
}

// Clear removes an entry's deadline, if it has one.
func (w *Wheel) Clear(entry uint32) {
	if w.Has(entry) {
		w.unlink(entry)
		w.size--
	}
}

// Has reports whether an entry has a deadline.
func (w *Wheel) Has(entry uint32) bool {
	return w.nodes.Len() > int(entry) && w.nodes.At(entry).slot != 0
}

// Due is an entry's deadline, rounded up to a tick.
func (w *Wheel) Due(entry uint32) (at time.Duration, ok bool) {
	if !w.Has(entry) {
		return 0, false
	}
	return time.Duration(w.nodes.At(entry).due) * w.tick, true
}

// Advance moves time to now and calls fire for every entry whose deadline is
// reached, in the order of their ticks. The entry has no deadline any more when
// fire is called; fire may set and clear deadlines.
func (w *Wheel) Advance(now time.Duration, fire func(entry uint32)) {
	if now < 0 {
		return
	}
	to := uint64(now) / uint64(w.tick)
	for w.now < to {
		if w.size == 0 {
			w.now = to
			return
		}
		w.now = min(w.skip(), to-1) + 1
		w.cascade()
		w.fire(fire)
	}
}

// skip gives the last tick before which nothing can happen: neither an entry
// due nor a slot of a higher level to be spread out. Within one turn of a
// level, all that is on it comes before anything on the level above.
func (w *Wheel) skip() uint64 {
	for l := range levels {
		shift := slotBits * l
		at := w.now >> shift
		if s := nextUsed(&w.used[l], int(at&(slots-1))+1); s < slots {
			return (at&^(slots-1)|uint64(s))<<shift - 1
		}
	}
	return w.now // not reached while there are entries
}

// nextUsed is the first used slot from the given one on, or slots.
func nextUsed(used *[slots / 64]uint64, from int) int {
	for from < slots {
		if word := used[from/64] >> (from % 64); word != 0 {
			return from + bits.TrailingZeros64(word)
		}
		from = (from/64 + 1) * 64
	}
	return slots
}

// cascade spreads the slots of higher levels whose time has come.
func (w *Wheel) cascade() {
	for l := 1; l < levels && w.now&(1<<(slotBits*l)-1) == 0; l++ {
		s := w.now >> (slotBits * l) & (slots - 1)
		for e := w.heads[l][s]; e != none; e = w.heads[l][s] {
			w.unlink(e)
			w.link(e)
		}
	}
}

func (w *Wheel) fire(fire func(uint32)) {
	s := w.now & (slots - 1)
	for e := w.heads[0][s]; e != none; e = w.heads[0][s] {
		w.unlink(e)
		w.size--
		fire(e)
	}
}

// link puts an entry into the slot of its due tick: the lowest level at which
// that tick lies in the same turn of the next higher level as now.
func (w *Wheel) link(e uint32) {
	n := w.nodes.At(e)
	level := 0
	for n.due>>(slotBits*(level+1)) != w.now>>(slotBits*(level+1)) {
		level++
	}
	s := n.due >> (slotBits * level) & (slots - 1)
	head := &w.heads[level][s]
	n.next, n.prev, n.slot = *head, none, uint16(level*slots)+uint16(s)+1
	if *head != none {
		w.nodes.At(*head).prev = e
	}
	*head = e
	w.used[level][s/64] |= 1 << (s % 64)
}

func (w *Wheel) unlink(e uint32) {
	n := w.nodes.At(e)
	level, s := int(n.slot-1)/slots, int(n.slot-1)%slots
	if n.prev == none {
		w.heads[level][s] = n.next
	} else {
		w.nodes.At(n.prev).next = n.next
	}
	if n.next != none {
		w.nodes.At(n.next).prev = n.prev
	}
	if w.heads[level][s] == none {
		w.used[level][s/64] &^= 1 << (s % 64)
	}
	n.slot = 0
}
