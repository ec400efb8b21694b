package tree

import (
	"maps"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Budget bounds the restarts of agents, whatever their supervisors allow, so
// that a cause that many share does not become a storm of restarts.
type Budget struct {
	// Fleet is for all agents together, Runner for those of each runner: a
	// restart counts for the runner that the agent ran on before.
	Fleet  Allowance `json:"fleet,omitzero"`
	Runner Allowance `json:"runner,omitzero"`
}

// Allowance is how many restarts may begin in any stretch of time of the given
// length. The zero value allows all.
type Allowance struct {
	Restarts int           `json:"restarts,omitempty"`
	Per      time.Duration `json:"per,omitempty"`
}

func (a Allowance) unlimited() bool { return a.Restarts <= 0 || a.Per <= 0 }

// Spent holds when restarts began that still count against the budget.
type Spent struct {
	Fleet   []Instant            `json:"fleet,omitempty"`
	Runners map[string][]Instant `json:"runners,omitempty"`
}

func (s *Spent) clone() *Spent {
	if s == nil {
		return nil
	}
	c := &Spent{Fleet: slices.Clone(s.Fleet)}
	if s.Runners != nil {
		c.Runners = make(map[string][]Instant, len(s.Runners))
		for r, log := range s.Runners {
			c.Runners[r] = slices.Clone(log)
		}
	}
	return c
}

// free returns the instant from which one more restart is within the allowance.
func (a Allowance) free(log []Instant) Instant {
	if a.unlimited() || len(log) < a.Restarts {
		return 0
	}
	return log[len(log)-a.Restarts].Add(a.Per)
}

// spend adds a restart to a log and forgets what counts no more.
func (a Allowance) spend(log []Instant, now Instant) []Instant {
	if a.unlimited() {
		return nil
	}
	return append(a.fresh(log, now), now)
}

// fresh cuts off what counts no more.
func (a Allowance) fresh(log []Instant, now Instant) []Instant {
	old := 0
	for old < len(log) && log[old].Add(a.Per) <= now {
		old++
	}
	return slices.Delete(log, 0, old)
}

// waiter is a place in the line for budget.
type waiter struct {
	n      *node
	ticket uint64
}

func (w waiter) waits() bool {
	return !w.n.removed && w.n.st.Phase == Throttled && w.n.st.Ticket == w.ticket
}

// budget is what bounds restarts, or nil.
func (t *Tree) budget() *Budget {
	if t.root == nil {
		return nil
	}
	b := t.root.spec.Supervisor.Budget
	if b == nil || b.Fleet.unlimited() && b.Runner.unlimited() {
		return nil
	}
	return b
}

// earliest is when the budget allows a restart of what was on a runner.
func (t *Tree) earliest(b *Budget, runner string) Instant {
	s := t.root.st.Supervisor.Spent
	if s == nil {
		return 0
	}
	at := b.Fleet.free(s.Fleet)
	if runner != "" {
		at = max(at, b.Runner.free(s.Runners[runner]))
	}
	return at
}

// throttle lets a restart begin if there is budget for it, and otherwise puts
// it last in the line.
func (t *Tree) throttle(n *node, from string) {
	t.seq++
	t.setPhase(n, Throttled, "")
	n.st.Ticket, n.st.From = t.seq, from
	t.throttled = append(t.throttled, waiter{n, n.st.Ticket})
	switch b := t.budget(); {
	case len(t.throttled) == 1 || t.refill <= t.now:
		t.release()
	case t.earliest(b, from) <= t.now:
		// Nobody before it can have what it gets.
		t.throttled = t.throttled[:len(t.throttled)-1]
		t.grant(n, b)
	default:
		t.refill = min(t.refill, t.earliest(b, from))
	}
	if n.st.Phase == Throttled {
		t.note(n, Effect{
			Kind: NoteBudget, Incarnation: n.st.Incarnation, Runner: from, Due: t.earliest(t.budget(), from),
			Reason: "the restart budget is used up; " + strconv.Itoa(len(t.throttled)) + " wait for it",
		})
	}
}

// soonest is when one of those in the line may have budget: the time for the
// next look at it, or 0 when nobody waits.
func (t *Tree) soonest() Instant {
	var at Instant
	b := t.budget()
	for _, w := range t.throttled {
		next := Instant(1)
		if b != nil {
			next = max(next, t.earliest(b, w.n.st.From))
		}
		if at == 0 || next < at {
			at = next
		}
	}
	return at
}

// refilled lets begin what waits, if its time may have come.
func (t *Tree) refilled() {
	if t.refill > 0 && t.refill <= t.now {
		t.release()
	}
}

// release lets the restarts begin that the budget allows now, in their order.
// One that waits for its runner's budget does not keep others waiting.
func (t *Tree) release() {
	b := t.budget()
	line := t.throttled
	t.throttled, t.refill = nil, 0
	for i, w := range line {
		if !w.waits() {
			continue
		}
		if b == nil {
			t.grant(w.n, nil)
			continue
		}
		at := t.earliest(b, w.n.st.From)
		if at <= t.now {
			t.grant(w.n, b)
			continue
		}
		t.throttled = append(t.throttled, w)
		if t.refill == 0 || at < t.refill {
			t.refill = at
		}
		if fleet := t.earliest(b, ""); fleet > t.now {
			// Nobody else either, before then.
			t.throttled = append(t.throttled, line[i+1:]...)
			t.refill = fleet
			return
		}
	}
}

// grant lets a restart begin and notes what it costs.
func (t *Tree) grant(n *node, b *Budget) {
	from := n.st.From
	if b != nil {
		s := t.root.st.Supervisor
		if s.Spent == nil {
			s.Spent = &Spent{}
		}
		t.expire(b, s.Spent)
		s.Spent.Fleet = b.Fleet.spend(s.Spent.Fleet, t.now)
		if log := b.Runner.spend(s.Spent.Runners[from], t.now); from != "" && log != nil {
			if s.Spent.Runners == nil {
				s.Spent.Runners = map[string][]Instant{}
			}
			s.Spent.Runners[from] = log
		}
		t.touch(t.root)
	}
	t.place(n, from)
}

// expire forgets runners whose restarts count no more.
func (t *Tree) expire(b *Budget, s *Spent) {
	maps.DeleteFunc(s.Runners, func(_ string, log []Instant) bool {
		return b.Runner.unlimited() || log[len(log)-1].Add(b.Runner.Per) <= t.now
	})
}

// Throttled returns the place in the line, from 1, of an agent that waits for budget,
// and when, at the earliest, it has its turn; 0 for one that does not wait.
func (t *Tree) Throttled(id string) (place int, earliest Instant) {
	n, b := t.nodes[id], t.budget()
	if n == nil || n.st.Phase != Throttled || b == nil {
		return 0, 0
	}
	place = sort.Search(len(t.throttled), func(i int) bool { return t.throttled[i].ticket >= n.st.Ticket })
	return place + 1, t.earliest(b, n.st.From)
}

// Waiting is the number of restarts that wait for budget.
func (t *Tree) Waiting() int {
	count := 0
	for _, w := range t.throttled {
		if w.waits() {
			count++
		}
	}
	return count
}
