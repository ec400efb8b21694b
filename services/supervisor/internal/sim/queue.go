package sim

import "github.com/mistersmith/mistersmith/services/supervisor/internal/tree"

// queue is what is yet to happen, the earliest first; what is due at the same
// instant happens in the order in which it was planned.
type queue []planned

type planned struct {
	at  tree.Instant
	seq uint64
	do  func()
}

func (p planned) before(q planned) bool {
	return p.at < q.at || p.at == q.at && p.seq < q.seq
}

func (h *queue) push(p planned) {
	*h = append(*h, p)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *queue) pop() planned {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], planned{}
	s = s[:last]
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= last {
			break
		}
		if kid+1 < last && s[kid+1].before(s[kid]) {
			kid++
		}
		if !s[kid].before(s[i]) {
			break
		}
		s[i], s[kid] = s[kid], s[i]
		i = kid
	}
	*h = s
	return top
}
