package sim

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// As in package lease.
const (
	leaseTTL   = 1500 * time.Millisecond
	renewEvery = 300 * time.Millisecond
	pollEvery  = 200 * time.Millisecond
)

// lease is the key that says who tries to decide. It is not what keeps two from
// deciding.
type lease struct {
	holder   string
	revision uint64
	released bool
}

// patience is how long a lease is respected that does not change. Nothing rests on
// that, so in every third run, while there are faults, it is shorter than it takes
// to renew it: supervisors take over from others that live and decide.
func (w *world) patience() time.Duration {
	if w.Seed%3 == 0 && !w.calm {
		return pollEvery
	}
	return leaseTTL
}

// poll is standing by: it looks at the lease, and takes it when nobody has it or
// it was not renewed for long enough.
func (s *supervisor) poll() {
	if s.mode != standby {
		return
	}
	own := s.owner()
	s.bucket(func(l *lease) {
		now := *l
		s.send(&s.r, own(func() { s.look(now) }))
	})
	s.after(pollEvery, s.poll)
}

// bucket does something with the lease, if the request for it arrives.
func (s *supervisor) bucket(do func(l *lease)) {
	s.send(&s.r, func() {
		if !s.w.cut && !s.w.full {
			do(&s.w.lease)
		}
	})
}

func (s *supervisor) look(l lease) {
	if s.mode != standby {
		return
	}
	if l.revision != s.seen {
		s.seen, s.since = l.revision, s.w.now
	}
	if l.revision > 0 && !l.released && l.holder != s.session && s.w.now < s.since.Add(s.w.patience()) {
		if s.standing == tree.StartsUp {
			s.join()
		}
		return
	}
	s.write(l.revision, func(ok bool) {
		if ok && s.mode == standby {
			s.after(renewEvery, s.renew)
			s.open()
		}
	})
}

// write is a compare-and-set of the lease to this supervisor's.
func (s *supervisor) write(revision uint64, then func(ok bool)) {
	own, began, session := s.owner(), s.w.now, s.session
	s.bucket(func(l *lease) {
		ok := l.revision == revision
		if ok {
			*l = lease{holder: session, revision: revision + 1}
		}
		s.send(&s.r, own(func() {
			if ok {
				s.seen, s.leased = max(s.seen, revision+1), began.Add(leaseTTL)
			}
			then(ok)
		}))
	})
}

// renew keeps the lease, until it is found that it is another's.
func (s *supervisor) renew() {
	if s.mode < opening {
		return
	}
	s.after(renewEvery, s.renew)
	s.write(s.seen, func(ok bool) {
		if ok || s.mode < opening {
			return
		}
		own := s.owner()
		s.bucket(func(l *lease) {
			now := *l
			s.send(&s.r, own(func() { s.reread(now) }))
		})
	})
}

// reread deals with a refusal: an earlier renewal may have been stored and its
// answer lost.
func (s *supervisor) reread(l lease) {
	switch {
	case s.mode < opening:
	case l.holder == s.session:
		s.seen = max(s.seen, l.revision)
	case l.revision > s.seen:
		s.leased = 0
		s.superseded()
	}
}

// release gives the lease back.
func (s *supervisor) release() {
	session := s.session
	s.bucket(func(l *lease) {
		if l.holder == session {
			l.released = true
			l.revision++
		}
	})
}
