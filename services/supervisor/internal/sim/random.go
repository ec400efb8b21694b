package sim

import "time"

// stream is a source of randomness of its own for each agent, supervisor and
// runner, so that leaving out one fault changes little else: that is what
// makes shrinking work.
type stream uint64

func streamOf(seed uint64, name string) stream {
	h := seed*0x9E3779B97F4A7C15 + 0xCBF29CE484222325
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001B3
	}
	return stream(h)
}

func (s *stream) next() uint64 {
	*s += 0x9E3779B97F4A7C15
	x := uint64(*s)
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// below gives 0 to n-1.
func (s *stream) below(n int) int { return int(s.next() % uint64(n)) }

// chance is true in so many of a hundred cases.
func (s *stream) chance(percent int) bool { return s.below(100) < percent }

// between gives at least a and less than b.
func (s *stream) between(a, b time.Duration) time.Duration {
	return a + time.Duration(s.next()%uint64(b-a))
}

func pick[T any](s *stream, from ...T) T { return from[s.below(len(from))] }
