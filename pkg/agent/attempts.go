package agent

// rememberedAttempts is how many accepted attempts an agent remembers at least,
// to know one that is dispatched again.
const rememberedAttempts = 4096

type attempt struct {
	task   string
	number int
}

// attempts remembers the latest attempts, up to a limit.
type attempts struct {
	limit int
	known map[attempt]struct{}
	ring  []attempt
	next  int
}

func newAttempts(limit int) attempts {
	return attempts{limit: limit, known: make(map[attempt]struct{})}
}

func (s *attempts) has(task string, number int) bool {
	_, ok := s.known[attempt{task, number}]
	return ok
}

// add remembers an attempt and forgets the oldest one over the limit, which
// must be above the agent's capacity, so that none in flight is forgotten.
func (s *attempts) add(task string, number int) {
	a := attempt{task, number}
	if len(s.ring) < s.limit {
		s.ring = append(s.ring, a)
	} else {
		delete(s.known, s.ring[s.next])
		s.ring[s.next] = a
		s.next = (s.next + 1) % s.limit
	}
	s.known[a] = struct{}{}
}
