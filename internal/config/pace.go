package config

import (
	"math"
	"sort"
	"time"
)

// Wait is the delay before the n-th restart in a row, n counting from 1. Luck
// is where in its range the jitter falls: -1 for the shortest delay, 0 for the
// middle, 1 for the longest.
func (p RestartPolicy) Wait(n int, luck float64) time.Duration {
	d, b := float64(p.Delay), p.Backoff
	switch {
	case b.Type == Linear:
		d += float64(b.Increment) * float64(n-1)
	case d == 0: // stays nothing however it is multiplied
	case b.Type == Exponential:
		d *= math.Pow(b.Base, float64(n-1))
	case b.Type == Fibonacci:
		last, next := 1.0, 1.0
		for i := 1; i < n && last < math.MaxFloat64/4; i++ {
			last, next = next, last+next
		}
		d *= last
	}
	if b.Jitter > 0 {
		d *= 1 + b.Jitter*luck
	}
	limit := float64(longest)
	if b.Type != Fixed {
		limit = float64(b.MaxDelay)
	}
	return time.Duration(max(0, min(d, limit)))
}

// RestartsIn counts the restarts of one child that can fall into a window,
// whenever it fails, counting no further than most.
func (p RestartPolicy) RestartsIn(window time.Duration, most int) int {
	sums := p.sums(most, window)
	return sort.Search(most, func(n int) bool { return n > 0 && p.span(sums, n) > window })
}

// Quickest is the least time in which a child can be restarted n times more
// after a first restart, in whole milliseconds.
func (p RestartPolicy) Quickest(n int) time.Duration {
	return (p.span(p.sums(n, longest), n) + time.Millisecond - 1).Truncate(time.Millisecond)
}

// sums are the shortest delays added up: of none, the first, the first two and
// so on, up to n of them, or until they are longer than most.
func (p RestartPolicy) sums(n int, most time.Duration) []time.Duration {
	sums := []time.Duration{0}
	for i := 1; i <= n; i++ {
		sum := sums[i-1] + p.Wait(i, -1)
		sums = append(sums, sum)
		if sum > most {
			break
		}
	}
	return sums
}

// span is the least time that n delays and what must lie between them take. A
// child that fails at once each time waits for ever longer. One that has run
// for ResetAfter before it fails begins anew with the shortest delay; that may
// be quicker. Since delays never shrink, rows of equal length are quickest.
func (p RestartPolicy) span(sums []time.Duration, n int) time.Duration {
	best := 2 * longest
	for rows := 1; rows <= n; rows++ {
		if rows > 1 && (p.ResetAfter <= 0 || time.Duration(rows-1) > best/p.ResetAfter) {
			break
		}
		long, length := n%rows, n/rows
		if length >= len(sums) || long > 0 && length+1 >= len(sums) {
			continue
		}
		sum := time.Duration(rows-1)*p.ResetAfter + times(rows-long, sums[length])
		if long > 0 {
			sum += times(long, sums[length+1])
		}
		best = min(best, sum)
	}
	if n == 0 {
		return 0
	}
	return best
}

// times multiplies without overflow.
func times(n int, d time.Duration) time.Duration {
	if d > 0 && time.Duration(n) > longest/d {
		return longest
	}
	return time.Duration(n) * d
}
