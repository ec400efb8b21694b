// Package heap keeps values in the order in which they are due. Unlike
// container/heap it is typed: it neither boxes values nor asks for five methods.
package heap

// Ordered is a value that knows whether it comes before another.
type Ordered[T any] interface {
	Before(other T) bool
}

// Heap is a binary heap; the value at index 0 comes before all others. The zero
// value is empty and ready.
type Heap[T Ordered[T]] []T

// Push adds a value.
func (h *Heap[T]) Push(v T) {
	*h = append(*h, v)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].Before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

// Pop removes and returns the first value. The heap must not be empty.
func (h *Heap[T]) Pop() T {
	s := *h
	first, last := s[0], len(s)-1
	var none T
	s[0], s[last] = s[last], none
	s = s[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && s[child+1].Before(s[child]) {
			child++
		}
		if !s[child].Before(s[i]) {
			break
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	*h = s
	return first
}
