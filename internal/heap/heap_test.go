package heap

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// job is due at a time; jobs that are due at the same time come in order.
type job struct{ at, order int }

func (a job) Before(b job) bool { return compare(a, b) < 0 }

func compare(a, b job) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order)) }

// TestHeap pushes and pops at random and compares with a sorted list.
func TestHeap(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	var h Heap[job]
	var want []job
	for order := range 20_000 {
		if draw.IntN(5) > 1 || len(want) == 0 {
			j := job{draw.IntN(50), order}
			h.Push(j)
			at, _ := slices.BinarySearchFunc(want, j, compare)
			want = slices.Insert(want, at, j)
			continue
		}
		if h[0] != want[0] {
			t.Fatalf("first is %v, want %v", h[0], want[0])
		}
		if got := h.Pop(); got != want[0] {
			t.Fatalf("popped %v, want %v", got, want[0])
		}
		want = want[1:]
	}
	for _, j := range want {
		if got := h.Pop(); got != j {
			t.Fatalf("popped %v, want %v", got, j)
		}
	}
	if len(h) != 0 {
		t.Errorf("%d values are left", len(h))
	}
}

// TestPopKeepsNothing: what was popped can be collected.
func TestPopKeepsNothing(t *testing.T) {
	t.Parallel()
	h := Heap[job]{}
	h.Push(job{1, 1})
	h.Push(job{2, 2})
	h.Pop()
	if left := h[:2]; left[1] != (job{}) {
		t.Errorf("%v is still there", left[1])
	}
}
