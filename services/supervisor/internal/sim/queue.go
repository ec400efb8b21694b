package sim

import (
	"github.com/mistersmith/mistersmith/internal/heap"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// queue is what is yet to happen, the earliest first; what is due at the same
// instant happens in the order in which it was planned.
type queue = heap.Heap[planned]

type planned struct {
	at  tree.Instant
	seq uint64
	do  func()
}

// Before reports whether one thing happens before another.
func (p planned) Before(q planned) bool {
	return p.at < q.at || p.at == q.at && p.seq < q.seq
}
