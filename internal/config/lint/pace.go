package lint

import (
	"sort"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/internal/config"
)

// pace is how often a child can fail, however it behaves.
type pace struct {
	// delays are the child's own: its supervisor waits for them before it
	// restarts the child.
	delays backoff.Delays
	// up is the least time from the child's start to its failure.
	up time.Duration
	// calm is how long after its start it must fail for its next delay to be
	// the first again; 0: that never happens.
	calm time.Duration
}

// agentPace is the pace of an agent: it may fail as soon as it is started.
func agentPace(a *config.Agent) pace {
	p := pace{delays: a.Policy.Delays()}
	if p.delays.Reset > 0 {
		p.calm = p.delays.Reset + a.Stabilisation // the run is counted from its verification
	}
	return p
}

// failures counts the failures of one child, ready to fail, that can fall into
// a window, no further than most.
func (p pace) failures(window time.Duration, most int) int {
	sums := p.sums(most, window)
	return sort.Search(most, func(n int) bool { return n > 0 && p.least(sums, n) > window })
}

// sums are the shortest delays added up: of none, the first, the first two and
// so on, up to n of them, or until they are longer than most.
func (p pace) sums(n int, most time.Duration) []time.Duration {
	sums := []time.Duration{0}
	for i := range n {
		sum := sums[i] + p.delays.WaitAt(i, -1)
		sums = append(sums, sum)
		if sum > most {
			break
		}
	}
	return sums
}

// least is the least time from one failure to the n-th after it, with the n
// delays between them. A child that fails as soon as it can waits for ever
// longer. One that stays calm before it fails begins again with the shortest
// delay, which may be quicker. Since delays never shrink, rows of equal length
// are quickest.
func (p pace) least(sums []time.Duration, n int) time.Duration {
	best := forever
	for rows := 1; rows <= n; rows++ {
		between := time.Duration(0)
		if rows > 1 {
			if p.calm <= 0 {
				break
			}
			if between = times(rows-1, max(p.calm, p.up)); between >= best {
				break
			}
		}
		long, length := n%rows, n/rows
		if length >= len(sums) || long > 0 && length+1 >= len(sums) {
			continue
		}
		sum := between + times(n-(rows-1), p.up) + times(rows-long, sums[length])
		if long > 0 {
			sum += times(long, sums[length+1])
		}
		best = min(best, sum)
	}
	return best
}

// times multiplies without overflow.
func times(n int, d time.Duration) time.Duration { return capped(float64(n) * float64(d)) }

// counted is children of one pace.
type counted struct {
	pace
	count int
}

// paces are those of the children of s whose failures it counts.
func (c *checker) paces(s *sup) []counted {
	var out []counted
	known := map[pace]int{}
	for _, k := range s.kids {
		one := counted{count: k.count}
		switch {
		case k.restart() == config.Temporary && k.agent != nil:
			continue
		case k.agent != nil:
			one.pace = agentPace(k.agent)
		default:
			up, fails := c.soonest(k.sup)
			if !fails {
				continue
			}
			d := k.sup.Policy.Delays()
			one.pace = pace{delays: d, up: up, calm: d.Reset}
		}
		if i, found := known[one.pace]; found {
			out[i].count += one.count
			continue
		}
		known[one.pace] = len(out)
		out = append(out, one)
	}
	return out
}

// possible counts the failures that can fall into a window and that s counts
// together, no further than one more than its limit: those of all its children,
// or of the quickest one where each has a limit to itself.
func (c *checker) possible(s *sup, window time.Duration) int {
	if !s.isolates() {
		return together(c.paces(s), s.limit(), window, forever)
	}
	most := 0
	for _, p := range c.paces(s) {
		most = max(most, p.failures(window, s.limit()+1))
	}
	return most
}

// limit is how many failures of its children s bears before it fails itself.
func (s *sup) limit() int {
	if s.Strategy.Escalates() {
		return 0
	}
	return s.Policy.MaxRestarts
}

// together counts failures that fall into a window and into the time since the
// start of the supervisor, no further than one more than the limit.
func together(paces []counted, limit int, window, since time.Duration) int {
	n := 0
	for _, p := range paces {
		if since >= p.up && n <= limit {
			n += min(limit+1, p.count) * p.failures(min(window, since-p.up), limit+1)
		}
	}
	return min(n, limit+1)
}

// soonest is the least time from the start of a supervisor to its failure, which
// its parent counts. It reports false if it has no such failures.
func (c *checker) soonest(s *sup) (time.Duration, bool) {
	if at, known := c.fails[s]; known {
		return at, at < forever
	}
	at := forever
	switch limit, window := s.limit(), s.Policy.TimeWindow; {
	case s.AutoShutdown != config.AutoShutdownNever && s.Restart == config.Permanent:
		at = 0 // its significant children may end at once
	case !s.counts():
	default:
		paces := c.paces(s)
		most := window
		for _, p := range paces {
			most = max(most, min(forever, window+p.up))
		}
		if together(paces, limit, window, most) > limit {
			at = time.Duration(sort.Search(int(most), func(ns int) bool {
				return together(paces, limit, window, time.Duration(ns)) > limit
			}))
		}
	}
	c.fails[s] = at
	return at, at < forever
}
