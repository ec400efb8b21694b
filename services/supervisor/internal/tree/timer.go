package tree

import "github.com/mistersmith/mistersmith/internal/heap"

// timers are waits, the earliest first. A wait that was cancelled stays until its
// time and is then ignored.
type timers = heap.Heap[timer]

type timer struct {
	due Instant
	n   *node
}

// Before breaks ties by name, so that the order does not depend on history.
func (t timer) Before(o timer) bool {
	return t.due < o.due || t.due == o.due && t.n.spec.ID < o.n.spec.ID
}
