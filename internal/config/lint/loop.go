package lint

import (
	"math"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// row names delays that were added up before.
type row struct {
	policy config.RestartPolicy
	n      int
	reset  bool
	luck   luck
	least  time.Duration
}

// luck is where in its range the jitter of every delay falls, as
// [backoff.Delays.WaitAt] takes it.
type luck float64

const (
	shortest luck = -1
	middling luck = 0
)

// span is a sum of delays, and the last of them.
type span struct{ sum, last time.Duration }

// forever is more than any time that matters, far from overflow.
const forever = 100 * 365 * 24 * time.Hour

// delays adds up a child's first n delays in a row. Reset: each is the first,
// since the child has run for long enough before each failure.
func (c *checker) delays(p config.RestartPolicy, n int, reset bool, l luck) span {
	return c.waits(p, n, reset, l, 0)
}

// waits adds up a child's first n delays in a row, none of which is over before
// the least time.
func (c *checker) waits(p config.RestartPolicy, n int, reset bool, l luck, least time.Duration) span {
	key := row{p, n, reset, l, least}
	if s, ok := c.sums[key]; ok {
		return s
	}
	var s span
	d := p.Delays()
	if reset {
		s.last = max(least, d.WaitAt(0, float64(l)))
		s.sum = times(n, s.last)
	} else {
		for i := range n {
			s.last = max(least, d.WaitAt(i, float64(l)))
			s.sum = min(forever, s.sum+s.last)
		}
	}
	c.sums[key] = s
	return s
}

func capped(ns float64) time.Duration { return time.Duration(min(ns, float64(forever))) }

// fate is what comes of a child that fails whenever it has come up.
type fate int

const (
	// gaveUp: the last supervisor of the path ended, and nothing above it
	// restarts it.
	gaveUp fate = iota
	// outOfReach: the failures come too slowly for the limit of the last.
	outOfReach
	// goesOn: the last continues to restart for ever, as its escalation says.
	goesOn
	// vanished: the last ended, and its parent leaves it down.
	vanished
	// setApart: the last leaves its child down for a while, over and over.
	setApart
)

// loop is an agent that crashes as soon as it has come up, and what its
// supervisors make of it, one after the other up to where it ends.
type loop struct {
	agent *config.Agent
	// path are the supervisors concerned, the agent's own first.
	path []*sup
	fate fate
	// failures of the agent until the last of path gives up once, starts of
	// all agents below it in that time, and how long that takes.
	failures, starts float64
	took             time.Duration
	// least is took with the shortest delays that the jitter allows. Doubt is
	// set when it depends on the jitter whether a limit on the path is exceeded.
	least time.Duration
	doubt bool
	// run is how long the last one's child, or the agent, ran before it failed,
	// which is without the time that it took to stop what was below it.
	run time.Duration
	// span is, when out of reach, the time that the failures of the last one's
	// child take which would exceed its limit.
	span time.Duration
	slow
	// resets says for each of path whether each delay of its child is the first.
	resets []bool
}

// crash plays an agent in a crash loop up the tree, while all others stop and
// start at once.
func (c *checker) crash(s *sup, k kid) loop { return c.crashSlowly(s, k, slow{}) }

// crashSlowly plays it while others take their time.
func (c *checker) crashSlowly(s *sup, k kid, how slow) loop {
	child := k
	child.count = 1
	l := loop{agent: k.agent, failures: 1, starts: 1, took: how.life, least: how.life, run: how.life, slow: how}
	for {
		l.path = append(l.path, s)
		if !c.limitOf(&l, s, child) {
			l.fate = outOfReach
			return l
		}
		switch {
		case s.Strategy.Escalates() && s.Restart != config.Temporary:
		case s.Strategy.Escalates():
			l.fate = vanished
			return l
		case s.Escalation == config.EscalationIgnore || s.Escalation == config.EscalationRestart:
			l.fate = goesOn
			return l
		case s.isolates():
			l.fate = setApart
			return l
		case s.Escalation == config.EscalationTerminate || s.parent == nil:
			l.fate = gaveUp
			return l
		case s.Restart != config.Permanent:
			l.fate = vanished
			return l
		}
		stop := s.ending(child, how.stops)
		l.took, l.least = min(forever, l.took+stop), min(forever, l.least+stop)
		child, s = kid{sup: s, count: 1}, s.parent
	}
}

// limitOf adds one level: a child of s that fails again and again, each time
// after l.took. It is false if that never exceeds the limit of s, however short
// the jitter makes the child's delays.
func (c *checker) limitOf(l *loop, s *sup, child kid) bool {
	n := s.limit()
	reset := child.sup != nil && child.sup.Policy.ResetAfter > 0 && l.run >= child.sup.Policy.ResetAfter
	if at := len(l.resets); at < len(l.as) {
		reset = l.as[at]
	}
	l.resets = append(l.resets, reset)
	l.span = capped(float64(times(n, l.took)) + float64(c.between(s, child, n, reset, middling, l.stops)))
	least := capped(float64(times(n, l.least)) + float64(c.between(s, child, n, reset, shortest, l.stops)))
	if s.Escalation == config.EscalationIgnore && !s.Strategy.Escalates() {
		return true
	}
	// A child that runs for a whole window has a clean slate where it counts alone.
	if n > 0 && (least > s.Policy.TimeWindow || s.isolates() && l.run >= s.Policy.TimeWindow) {
		return false
	}
	var siblings, along float64
	if !s.isolates() { // which stops and starts nobody else
		siblings, along = s.restartedWith(child)
	}
	l.doubt = l.doubt || l.span > s.Policy.TimeWindow && n > 0
	own := l.starts
	l.starts = own + siblings + float64(n)*(own+along)
	l.failures *= float64(n + 1)
	l.took = capped(float64(l.span) + float64(l.took))
	l.least = capped(float64(least) + float64(l.least))
	l.run = l.took
	return true
}

// restartedWith returns the other agents that start with their supervisor, and those
// that restart with a child.
func (s *sup) restartedWith(child kid) (siblings, along float64) {
	failed := int64(slices.IndexFunc(s.kids, func(k kid) bool { return k.sup == child.sup && k.agent == child.agent }))
	for i, k := range s.kids {
		if int64(i) == failed {
			siblings += float64(k.agents() - child.agents())
			if s.group() {
				along += float64(k.agents() - child.agents())
			}
			continue
		}
		siblings += float64(k.agents())
		if k.restart() != config.Temporary && s.Strategy.Takes(failed, int64(i)) {
			along += float64(k.agents())
		}
	}
	return siblings, along
}

// quickest is the crash loop of an agent below s that ends s soonest: what makes
// s fail towards its parent at the highest pace. False: nothing does.
func (c *checker) quickest(s *sup) (loop, bool) {
	best, found := loop{took: math.MaxInt64}, false
	for _, k := range s.kids {
		l, ok := c.below(s, k)
		if ok && l.took < best.took {
			best, found = l, true
		}
	}
	return best, found
}

// below plays a child of s, the quickest way it fails, up to s alone. It is
// false when that does not end s.
func (c *checker) below(s *sup, k kid) (l loop, ok bool) {
	if l, ok = c.failing(s, k); !ok {
		return l, false
	}
	l.path = append(l.path, s)
	return l, c.limitOf(&l, s, k) && (s.Strategy.Escalates() || s.Escalation != config.EscalationIgnore && !s.isolates())
}

// failing is how a child of s fails as often as it can in a way that counts.
func (c *checker) failing(s *sup, k kid) (loop, bool) {
	switch {
	case k.agent != nil:
		return loop{agent: k.agent, failures: 1, starts: 1}, k.agent.Restart != config.Temporary
	case k.sup.counts():
		return c.quickest(k.sup)
	}
	return loop{}, false
}

// counts reports whether a supervisor that exceeds its limit costs its parent a
// restart.
func (s *sup) counts() bool {
	if s.Strategy.Escalates() {
		return s.Restart != config.Temporary
	}
	return s.Restart == config.Permanent && s.Escalation == config.EscalationEscalate
}
