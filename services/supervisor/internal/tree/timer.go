package tree

// timers is a heap of waits, the earliest first. A wait that was cancelled
// stays until its time and is then ignored.
type timers []timer

type timer struct {
	due Instant
	n   *node
}

func (h *timers) push(due Instant, n *node) {
	*h = append(*h, timer{due, n})
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s.less(i, up) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *timers) pop() timer {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], timer{}
	s = s[:last]
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= last {
			break
		}
		if kid+1 < last && s.less(kid+1, kid) {
			kid++
		}
		if !s.less(kid, i) {
			break
		}
		s[i], s[kid] = s[kid], s[i]
		i = kid
	}
	*h = s
	return top
}

// less breaks ties by name, so that the order does not depend on history.
func (h timers) less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].n.spec.ID < h[j].n.spec.ID
}
