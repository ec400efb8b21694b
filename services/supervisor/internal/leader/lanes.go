package leader

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Lanes holds the orders that are under way: those of one agent are carried out
// one after the other, those of different agents side by side. Each is repeated
// until it is done or given up. T is what its carrier keeps with an order. The
// zero value is ready; it is not safe for concurrent use.
type Lanes[T any] struct{ lanes map[string]*lane[T] }

type lane[T any] struct {
	queue   []*Task[T]
	current *Task[T]
}

// Task is an order under way.
type Task[T any] struct {
	Order
	Carrier T

	wait      time.Duration
	overtaken bool
	given     bool
}

// Overtaken reports whether a later order for the same agent has come.
func (t *Task[T]) Overtaken() bool { return t.overtaken }

// Given reports whether the order was given up.
func (t *Task[T]) Given() bool { return t.given }

// Waits between the attempts at an order.
const (
	firstWait = 50 * time.Millisecond
	mostWait  = time.Second
)

// Add queues an order and returns it. A start gives up what is under way about older
// incarnations: it is only decided when their end is known, and the answer to a
// stop may never come, with the runner that owed it. It also returns the order that
// is being carried out for the agent, if
// any.
func (l *Lanes[T]) Add(o Order, carrier T) (*Task[T], *Task[T]) {
	if l.lanes == nil {
		l.lanes = map[string]*lane[T]{}
	}
	if o.Kind == tree.DoStart && o.Incarnation > 0 {
		l.Forget(o.Node, o.Incarnation-1)
	}
	key := laneOf(o.Node)
	n := l.lanes[key]
	if n == nil {
		n = &lane[T]{}
		l.lanes[key] = n
	}
	t := &Task[T]{Order: o, Carrier: carrier, wait: firstWait}
	for _, before := range append(slices.Clone(n.queue), n.current) {
		if before != nil && before.repeats(o) {
			return before, n.current
		}
		if before != nil && before.Node == o.Node {
			before.overtaken = true
		}
	}
	n.queue = append(n.queue, t)
	return t, n.current
}

// repeats reports whether an order is the task's own, given once more.
func (t *Task[T]) repeats(o Order) bool {
	return !t.given && !t.overtaken && t.Kind == o.Kind && t.Node == o.Node && t.Incarnation == o.Incarnation && t.Runner == o.Runner && t.Kill == o.Kill
}

// laneOf names the lane of an agent's orders.
func laneOf(agent string) string { return agent }

// Next begins the agent's next order, unless one is being carried out. It
// returns nil when there is none.
func (l *Lanes[T]) Next(agent string) *Task[T] {
	n := l.lanes[laneOf(agent)]
	if n == nil || n.current != nil {
		return nil
	}
	if len(n.queue) == 0 {
		delete(l.lanes, laneOf(agent))
		return nil
	}
	n.current, n.queue = n.queue[0], n.queue[1:]
	return n.current
}

// Tried ends an attempt. It reports whether to try again, after a wait; if not,
// the agent's next order may begin.
func (l *Lanes[T]) Tried(t *Task[T], done bool) (wait time.Duration, again bool) {
	if !done && !t.given && (t.Kind != tree.DoStart || !t.overtaken) {
		wait, t.wait = t.wait, min(2*t.wait, mostWait)
		return wait, true
	}
	if n := l.lanes[laneOf(t.Node)]; n != nil && n.current == t {
		n.current = nil
	}
	return 0, false
}

// Forget gives up every order about an agent's incarnations up to one, done or
// not: what they were for is settled. It returns the one that is being carried
// out, if that is given up; it ends with [Lanes.Tried].
func (l *Lanes[T]) Forget(agent string, incarnation uint64) *Task[T] {
	n := l.lanes[laneOf(agent)]
	if n == nil {
		return nil
	}
	n.queue = slices.DeleteFunc(n.queue, func(t *Task[T]) bool {
		if t.Node == agent && t.Incarnation <= incarnation {
			t.given = true
		}
		return t.given
	})
	if c := n.current; c != nil && c.Node == agent && c.Incarnation <= incarnation {
		c.given = true
		return c
	}
	return nil
}

// Pending is the number of agents with orders under way.
func (l *Lanes[T]) Pending() int { return len(l.lanes) }
