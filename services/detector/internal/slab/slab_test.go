package slab

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// Blocks against a map: what is written stays until it is freed, whatever else
// comes and goes.
func TestBlocksKeepTheirContents(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		b := NewBlocks(4, 16, 40)
		model := map[Ref][]byte{}
		any := func() Ref { return rapid.SampledFrom(keys(model)).Draw(t, "block") }
		put := func(r Ref, size int, contents []byte) {
			if _, taken := model[r]; taken || r == 0 {
				t.Fatalf("block %d was handed out twice", r)
			}
			if got := len(b.Bytes(r)); got < size {
				t.Fatalf("a block of %d bytes, want %d", got, size)
			}
			model[r] = contents
			copy(b.Bytes(r), contents)
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			size := rapid.IntRange(1, 40).Draw(t, "size")
			step := rapid.IntRange(0, 3).Draw(t, "step")
			switch {
			case step <= 1 || len(model) == 0:
				put(b.Alloc(size), size, rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "contents"))
			case step == 2:
				r := any()
				delete(model, r)
				b.Free(r)
			default:
				r := any()
				was := model[r]
				delete(model, r)
				larger := b.Fit(r, size)
				if !bytes.HasPrefix(b.Bytes(larger), was) {
					t.Fatal("the contents did not move along")
				}
				put(larger, size, was)
			}
			for r, want := range model {
				if !bytes.HasPrefix(b.Bytes(r), want) {
					t.Fatalf("block %d holds %x, want %x", r, b.Bytes(r), want)
				}
			}
		}
	})
}

func keys(m map[Ref][]byte) (all []Ref) {
	for r := range m {
		all = append(all, r)
	}
	return all
}

func TestFreedBlocksAreUsedAgain(t *testing.T) {
	b := NewBlocks(16, 64)
	b.Free(0)
	for range 100 {
		var refs []Ref
		for range 3 * pageLen {
			refs = append(refs, b.Alloc(50))
		}
		for _, r := range refs {
			b.Free(r)
		}
	}
	if n := len(b.classes[1].pages); n != 4 {
		t.Errorf("%d pages, want 4", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("a block larger than all was given")
		}
	}()
	b.Alloc(65)
}

func TestArrayStaysWhereItIs(t *testing.T) {
	var a Array[int]
	a.Grow(0)
	first := a.At(0)
	*first = 7
	a.Grow(5 * pageLen)
	if a.At(0) != first || *a.At(0) != 7 || *a.At(5 * pageLen) != 0 || a.Len() != 6*pageLen {
		t.Errorf("%d elements, the first at %p, before at %p", a.Len(), a.At(0), first)
	}
}
