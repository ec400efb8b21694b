package lint

import (
	"slices"
	"sort"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// slow is how long what is otherwise taken to be done at once takes.
type slow struct {
	// stops is how long each agent takes that is stopped because of another,
	// unless it is killed before.
	stops time.Duration
	// life is how long the agent in the crash loop takes from its restart to its
	// next failure: what starts before it, its own start, its life, and the time
	// to find it failed.
	life time.Duration
	// as are the resets of another loop, to compare with: see [loop].
	as []bool
}

// stopsWith is how long those take to stop that restart with a child: the child
// is restarted no sooner. A temporary one stops only the first time.
func (s *sup) stopsWith(child kid, each time.Duration, first bool) time.Duration {
	if each <= 0 || !s.group() {
		return 0
	}
	failed := s.index(child)
	return s.stoppingOf(each, func(k kid, at int) int {
		switch {
		case !s.Strategy.Takes(failed, int64(at)) || k.restart() == config.Temporary && !first:
			return 0
		case int64(at) == failed:
			return k.count - 1
		}
		return k.count
	})
}

// ending is how long a supervisor takes to stop that fails with a child: the
// others, but for temporary ones that stopped with the child before.
func (s *sup) ending(child kid, each time.Duration) time.Duration {
	if each <= 0 {
		return 0
	}
	failed := s.index(child)
	all := s.stoppingOf(each, func(k kid, at int) int {
		switch {
		case int64(at) == failed:
			return k.count - 1
		case s.limit() > 0 && s.group() && k.restart() == config.Temporary && s.Strategy.Takes(failed, int64(at)):
			return 0
		}
		return k.count
	})
	if own := s.ShutdownTimeout; own > 0 {
		return min(own, all)
	}
	return all
}

// stopsOnce reports whether temporary children stop with those of a loop, which
// stop with them only once.
func (l loop) stopsOnce() bool {
	child := kid{agent: l.agent, count: 1}
	for _, s := range l.path {
		if s.stopsWith(child, l.stops, true) > s.stopsWith(child, l.stops, false) {
			return true
		}
		child = kid{sup: s, count: 1}
	}
	return false
}

// index is the place of a child among the children.
func (s *sup) index(child kid) int64 {
	return int64(slices.IndexFunc(s.kids, func(k kid) bool { return k.sup == child.sup && k.agent == child.agent }))
}

// between adds up the times between n failures of a child and its restarts: its
// delays, or what those that restart with it take to stop if that is longer.
func (c *checker) between(s *sup, child kid, n int, reset bool, l luck, each time.Duration) time.Duration {
	if n == 0 {
		return 0
	}
	always := s.stopsWith(child, each, false)
	all := c.waits(child.policy(), n, reset, l, always).sum
	if once := s.stopsWith(child, each, true); once > always {
		delay := child.policy().Delays().WaitAt(0, float64(l))
		all += max(delay, once) - max(delay, always)
	}
	return min(forever, all)
}

// slowest is the longest time, to the millisecond and no longer than most, with
// which a crash loop still ends as another does.
func (c *checker) slowest(s *sup, k kid, as loop, most time.Duration, how func(time.Duration) slow) time.Duration {
	ms := sort.Search(int(most/time.Millisecond)+1, func(ms int) bool {
		try := how(time.Duration(ms) * time.Millisecond)
		try.as = as.resets
		l := c.crashSlowly(s, k, try)
		return l.fate != as.fate || len(l.path) != len(as.path)
	})
	return time.Duration(ms-1) * time.Millisecond
}
