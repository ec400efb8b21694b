package lint

import (
	"fmt"
	"sort"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// limitOutOfReach looks for supervisors whose children together never exceed
// the limit, and for agents that alone can crash for ever because some supervisor
// above them never exceeds its limit.
func (c *checker) limitOutOfReach() {
	never := map[*sup]bool{}
	for _, s := range c.limited() {
		never[s] = c.neverExceeded(s)
	}
	stuck := map[*sup][]loop{}
	for _, s := range c.sups {
		for _, k := range s.kids {
			if k.agent == nil || k.restart() == config.Temporary {
				continue
			}
			if l := c.crash(s, k); l.fate == outOfReach {
				last := l.path[len(l.path)-1]
				stuck[last] = append(stuck[last], l)
			}
		}
	}
	for _, s := range c.sups {
		loops := stuck[s]
		if len(loops) == 0 || never[s] || len(loops[0].path) == 1 && s.crowded() {
			continue
		}
		names := make([]string, len(loops))
		for i, l := range loops {
			names[i] = l.agent.Name
		}
		l, n := loops[0], s.Policy.MaxRestarts
		k := l.last()
		slow := fmt.Sprintf("by its restart delays %d crashes take %s", n+1, dur(l.span))
		if k.sup != nil {
			slow = fmt.Sprintf("%q gives up %s after it came up and is restarted after a delay, so that %d times take %s", k.name(), dur(l.took), n+1, dur(l.span))
		}
		c.warn(c.limit(s), c.reach(s, k, l), "the limit of %q is %s, and %q alone does not exceed it: if %q crashes whenever it has come up, %s; it is restarted for ever, %s%s",
			s.Name, limitWords(s.Policy), k.name(), l.agent.Name, slow, c.pace(l), others(names))
	}
}

// neverExceeded reports a supervisor whose children never exceed the limit, and
// whether it is one.
func (c *checker) neverExceeded(s *sup) bool {
	n := c.possible(s, s.Policy.TimeWindow)
	if n == 0 || n > s.limit() {
		return false
	}
	var names []string
	for _, k := range s.kids {
		if k.restart() != config.Temporary {
			names = append(names, k.name())
		}
	}
	window := sort.Search(int(forever), func(ns int) bool { return c.possible(s, time.Duration(ns)) > s.limit() })
	advice := fmt.Sprintf("widen time_window to at least %s", up(time.Duration(window)))
	if n > 1 {
		advice += fmt.Sprintf(", or lower max_restarts to %d at most", n-1)
	}
	who := "its children fail"
	if s.isolates() {
		who = "each of its children fails"
	}
	c.warn(c.limit(s), advice+", or shorten the delays of "+list(names), "the limit of %q, %s, can never be exceeded: at their restart delays %s at most %s in that time, so whatever keeps failing is restarted for ever",
		s.Name, limitWords(s.Policy), who, many(n, "time"))
	return true
}

// last is the child of the last supervisor of a loop.
func (l loop) last() kid {
	if n := len(l.path); n > 1 {
		return kid{sup: l.path[n-2], count: 1}
	}
	return kid{agent: l.agent, count: 1}
}

// others words that a finding is about more than its first child.
func others(names []string) string {
	if len(names) < 2 {
		return ""
	}
	return " (the same holds for " + list(names[1:]) + ")"
}

// cycle is the time from one failure of the last supervisor's child to the next
// in the long run, when nothing ends them.
func (c *checker) cycle(l loop) time.Duration {
	k := l.last()
	d := c.delays(k.policy(), 1000, k.sup != nil && k.sup.Policy.ResetAfter > 0 && l.run >= k.sup.Policy.ResetAfter, middling)
	last := l.path[len(l.path)-1]
	return l.took + max(d.last, last.stopsWith(l.last(), l.stops, false))
}

// pace words how often an agent is restarted in the long run, when nothing ends
// that.
func (c *checker) pace(l loop) string {
	each := c.cycle(l)
	if each <= 0 {
		return "without a pause"
	}
	if l.failures == 1 {
		return fmt.Sprintf("every %s in the end", dur(each))
	}
	return fmt.Sprintf("%s times every %s in the end", num(l.failures), dur(each))
}

// reach says how to bring a limit within reach of a child.
func (c *checker) reach(s *sup, k kid, l loop) string {
	advice := fmt.Sprintf("widen time_window to at least %s", up(l.span))
	fits := func(n int) bool {
		try := *s.Node
		try.Policy.MaxRestarts = n
		again := l
		return c.limitOf(&again, &sup{Node: &try, parent: s.parent}, k) && !again.doubt
	}
	// The largest limit that is within reach.
	if n := sort.Search(s.Policy.MaxRestarts, func(n int) bool { return !fits(n) }) - 1; n > 0 {
		advice += fmt.Sprintf(", or lower max_restarts to %d at most", n)
	}
	return advice + ", or shorten the delays"
}
