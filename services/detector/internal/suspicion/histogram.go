package suspicion

import (
	"encoding/binary"
	"math/bits"
)

// histogram is a sparse table of tallies, by context and bin, in a block of
// bytes: for each context the set of its bins that are not empty, as 64 bits,
// then the tallies of those bins, by context and within it by bin. Most agents
// fill few of the 252 bins.
type histogram []byte

// header is the size of the bin sets.
const header = 8 * contexts

// blockSizes are those of histograms; the last holds a full one.
var blockSizes = []int{header + 8, header + 16, header + 24, header + 32, header + 48, header + 64, header + 96, header + contexts*bins + 4}

// bins gives the set of a context's bins that are not empty.
func (h histogram) bins(context int) uint64 { return binary.LittleEndian.Uint64(h[8*context:]) }

func (h histogram) setBins(context int, set uint64) {
	binary.LittleEndian.PutUint64(h[8*context:], set)
}

// start is where a context's tallies begin.
func (h histogram) start(context int) int {
	at := header
	for c := range context {
		at += bits.OnesCount64(h.bins(c))
	}
	return at
}

// place is where the tally of a bin is, or would be put.
func (h histogram) place(context, bin int) (at int, exists bool) {
	set := h.bins(context)
	return h.start(context) + bits.OnesCount64(set&(1<<bin-1)), set>>bin&1 != 0
}

// size is how many bytes are used.
func (h histogram) size() int { return h.start(contexts) }

// insert makes a tally of 1 at a place that belongs to the bin; there must be
// room for it.
func (h histogram) insert(context, bin, at int) {
	copy(h[at+1:], h[at:h.size()])
	h[at] = 1
	h.setBins(context, h.bins(context)|1<<bin)
}

// halve halves all tallies and drops those that become zero.
func (h histogram) halve() {
	from, to := header, header
	for c := range contexts {
		kept := uint64(0)
		for set := h.bins(c); set != 0; set &= set - 1 {
			t := tally(h[from])
			from++
			if t.halve(); t > 0 {
				kept |= set & -set
				h[to] = byte(t)
				to++
			}
		}
		h.setBins(c, kept)
	}
}

// falling walks through the bins from the highest down.
type falling struct {
	h       histogram
	context int // the one of here
	left    [contexts]uint64
	at      [contexts]int
	// all and here are how many gaps were at least as late as the bin last
	// given, in all contexts and in the one.
	all, here uint32
}

func (h histogram) falling(context int) falling {
	f := falling{h: h, context: context}
	at := header
	for c := range contexts {
		f.left[c] = h.bins(c)
		at += bits.OnesCount64(f.left[c])
		f.at[c] = at
	}
	return f
}

// peek is the highest bin not given yet that is not empty, -1 when none is.
func (f *falling) peek() int {
	return 63 - bits.LeadingZeros64(f.left[0]|f.left[1]|f.left[2]|f.left[3])
}

// take counts the tallies of that bin.
func (f *falling) take(bin int) {
	for c := range f.left {
		if f.left[c]>>bin&1 == 0 {
			continue
		}
		f.left[c] &^= 1 << bin
		f.at[c]--
		n := tally(f.h[f.at[c]]).value()
		f.all += n
		if c == f.context {
			f.here += n
		}
	}
}
