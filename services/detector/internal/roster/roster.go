// Package roster numbers names: a name is given the lowest effort to find its
// number, and a number its name, for millions of names.
//
// It is a hash table with open addressing and linear probing (Knuth, The Art
// of Computer Programming, vol. 3, 6.4, algorithms L and R). A slot holds the
// number, where the name is, and 32 bits of its hash, so that a search touches
// one cache line of the table and, nearly always, only the right name. There
// are no pointers in it for the garbage collector to follow.
//
// The hash is seeded anew for every roster: nobody can choose names that
// collide. Numbers do not depend on it, so the same calls give the same numbers.
package roster

import (
	"hash/maphash"

	"github.com/mistersmith/mistersmith/services/detector/internal/slab"
)

// MaxName is the longest name there can be, in bytes.
const MaxName = 255

// Roster is a set of names with numbers. It is not safe for concurrent use.
type Roster struct {
	seed  maphash.Seed
	slots []slot // a power of two of them, at most three quarters used
	names slab.Array[slab.Ref]
	texts *slab.Blocks
	free  []uint32 // numbers to be used again
	next  uint32   // the first number never used
	size  int
}

// slot is a place of the table, empty without a text. The lower bits of the
// hash say where it would best be.
type slot struct {
	hash, number uint32
	text         slab.Ref
}

// New makes an empty roster.
func New() *Roster {
	return &Roster{seed: maphash.MakeSeed(), slots: make([]slot, 64), texts: slab.NewBlocks(8, 16, 24, 32, 40, 48, 72, MaxName+1)}
}

// Len is how many names there are.
func (r *Roster) Len() int { return r.size }

// Numbers is one more than the highest number ever given.
func (r *Roster) Numbers() uint32 { return r.next }

// Find gives the number of a name.
func (r *Roster) Find(name string) (number uint32, known bool) {
	at, known := r.search(r.hash(name), name)
	if !known {
		return 0, false
	}
	return r.slots[at].number, true
}

func (r *Roster) hash(name string) uint32 { return uint32(maphash.String(r.seed, name)) }

// search gives the slot of a name, or the empty one where it would be.
func (r *Roster) search(hash uint32, name string) (at uint32, known bool) {
	mask := uint32(len(r.slots) - 1)
	for at = hash & mask; ; at = (at + 1) & mask {
		s := &r.slots[at]
		if s.text == 0 {
			return at, false
		}
		if s.hash == hash && string(r.bytes(s.text)) == name {
			return at, true
		}
	}
}

// Guess gives the number of a name, or rarely of another, or none: it does not
// look at names. It is for those who want to know early what they will need.
func (r *Roster) Guess(name string) (number uint32, ok bool) {
	hash, mask := r.hash(name), uint32(len(r.slots)-1)
	for at := hash & mask; r.slots[at].text != 0; at = (at + 1) & mask {
		if r.slots[at].hash == hash {
			return r.slots[at].number, true
		}
	}
	return 0, false
}

func (r *Roster) bytes(text slab.Ref) []byte {
	b := r.texts.Bytes(text)
	return b[1 : 1+int(b[0])]
}

// Add gives a new name a number: the one freed last, or the next. The name must
// be unknown and at most MaxName bytes long.
func (r *Roster) Add(name string) uint32 {
	if 4*(r.size+1) > 3*len(r.slots) {
		r.grow()
	}
	number := r.next
	if n := len(r.free); n > 0 {
		number, r.free = r.free[n-1], r.free[:n-1]
	} else {
		r.next++
		r.names.Grow(number)
	}
	text := r.texts.Alloc(1 + len(name))
	b := r.texts.Bytes(text)
	b[0] = byte(len(name))
	copy(b[1:], name)
	*r.names.At(number) = text
	hash := r.hash(name)
	at, _ := r.search(hash, name)
	r.slots[at] = slot{hash, number, text}
	r.size++
	return number
}

func (r *Roster) grow() {
	old := r.slots
	r.slots = make([]slot, 2*len(old))
	mask := uint32(len(r.slots) - 1)
	for _, s := range old {
		if s.text == 0 {
			continue
		}
		at := s.hash & mask
		for r.slots[at].text != 0 {
			at = (at + 1) & mask
		}
		r.slots[at] = s
	}
}

// Remove forgets a number and its name.
func (r *Roster) Remove(number uint32) {
	name := r.Name(number)
	hole, known := r.search(r.hash(name), name)
	if !known {
		return
	}
	r.close(hole)
	r.texts.Free(*r.names.At(number))
	*r.names.At(number) = 0
	r.free = append(r.free, number)
	r.size--
}

// close empties a slot and moves those behind it that would otherwise not be
// found any more (algorithm R).
func (r *Roster) close(hole uint32) {
	mask := uint32(len(r.slots) - 1)
	for at := (hole + 1) & mask; r.slots[at].text != 0; at = (at + 1) & mask {
		if best := r.slots[at].hash & mask; (at-best)&mask >= (at-hole)&mask {
			r.slots[hole] = r.slots[at]
			hole = at
		}
	}
	r.slots[hole] = slot{}
}

// Name gives the name of a number, empty when it has none.
func (r *Roster) Name(number uint32) string { return string(r.View(number)) }

// View is Name without making a string: valid until the name is removed, nil
// when there is none.
func (r *Roster) View(number uint32) []byte {
	if number >= r.next || *r.names.At(number) == 0 {
		return nil
	}
	return r.bytes(*r.names.At(number))
}
