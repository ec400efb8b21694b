// Package slab keeps very many small things in memory, addressed by numbers
// instead of pointers.
//
// An [Array] grows without moving what it holds; [Blocks] are byte blocks of a
// few sizes that are used again when freed. Neither holds pointers (an Array as
// long as its elements do not), so that the garbage collector finds nothing to
// look through, however much they hold, and neither ever copies itself to grow,
// so that no second copy of everything exists at any time.
//
// What is allocated is never given back to the runtime: a fleet that was large
// once may be so again.
package slab

import (
	"encoding/binary"
	"fmt"
)

const (
	pageBits = 10
	pageLen  = 1 << pageBits
)

// Array is a growing list of elements that stay where they are. The zero value
// is empty.
type Array[T any] struct{ pages []*[pageLen]T }

// At gives the element of a number below Len.
func (a *Array[T]) At(i uint32) *T { return &a.pages[i>>pageBits][i&(pageLen-1)] }

// Len is how many elements there are room for.
func (a *Array[T]) Len() int { return len(a.pages) * pageLen }

// Grow makes room for the element of that number; new elements are zero.
func (a *Array[T]) Grow(i uint32) {
	for a.Len() <= int(i) {
		a.pages = append(a.pages, new([pageLen]T))
	}
}

// Ref names a block; 0 is none.
type Ref uint32

const classBits = 3

// Blocks hands out byte blocks.
type Blocks struct{ classes []class }

// class holds the blocks of one size. A free block begins with the number of
// the next free one, so that freeing takes no memory.
type class struct {
	size  int
	pages [][]byte // of pageLen blocks each
	used  uint32   // numbers handed out so far; number 0 is never
	free  uint32   // the first free one, 0 when there is none
}

// NewBlocks makes blocks of at most eight sizes of at least 4 bytes, in rising
// order.
func NewBlocks(sizes ...int) *Blocks {
	b := &Blocks{}
	for _, size := range sizes {
		b.classes = append(b.classes, class{size: size, used: 1})
	}
	return b
}

// Alloc gives a block of at least so many bytes, with old contents. It panics
// when that is more than the largest size.
func (b *Blocks) Alloc(size int) Ref {
	for i := range b.classes {
		if c := &b.classes[i]; c.size >= size {
			return Ref(c.take()<<classBits | uint32(i))
		}
	}
	panic(fmt.Sprintf("slab: no block has %d bytes", size))
}

func (c *class) take() uint32 {
	if n := c.free; n != 0 {
		c.free = binary.LittleEndian.Uint32(c.block(n))
		return n
	}
	n := c.used
	c.used++
	if int(n>>pageBits) == len(c.pages) {
		c.pages = append(c.pages, make([]byte, c.size*pageLen))
	}
	return n
}

func (c *class) block(n uint32) []byte {
	at := int(n&(pageLen-1)) * c.size
	return c.pages[n>>pageBits][at : at+c.size : at+c.size]
}

// Bytes gives a block's whole memory, which is valid until Free.
func (b *Blocks) Bytes(r Ref) []byte {
	return b.classes[r&(1<<classBits-1)].block(uint32(r) >> classBits)
}

// Free gives a block back; none is fine.
func (b *Blocks) Free(r Ref) {
	if r == 0 {
		return
	}
	c, n := &b.classes[r&(1<<classBits-1)], uint32(r)>>classBits
	binary.LittleEndian.PutUint32(c.block(n), c.free)
	c.free = n
}

// Fit gives a block of at least so many bytes that begins with the contents of
// r: r itself when it is large enough, else another, and r is freed.
func (b *Blocks) Fit(r Ref, size int) Ref {
	if r == 0 {
		return b.Alloc(size)
	}
	if b.classes[r&(1<<classBits-1)].size >= size {
		return r
	}
	larger := b.Alloc(size)
	copy(b.Bytes(larger), b.Bytes(r))
	b.Free(r)
	return larger
}
