package scheduler

import "time"

type timerKind int

const (
	timerRetry    timerKind = iota // a delayed task may be placed again
	timerDeadline                  // an attempt's time is over
	timerAge                       // a waiting task may be too old
	timerCooldown                  // an agent may be asked again
	timerDefault                   // the default agent may stand in for a type
	timerForget                    // an agent that is down may be forgotten
)

// timer is never cancelled: whoever it wakes looks whether it still matters.
type timer struct {
	at      time.Time
	kind    timerKind
	id      string
	attempt int
}

// Before orders timers by their times.
func (t timer) Before(o timer) bool { return t.at.Before(o.at) }

func (s *Scheduler) arm(at time.Time, kind timerKind, id string, attempt int) {
	s.timers.Push(timer{at: at, kind: kind, id: id, attempt: attempt})
}

// Tick lets time pass.
type Tick struct{}

func (Tick) apply(s *Scheduler, now time.Time) {
	for len(s.timers) > 0 && !s.timers[0].at.After(now) {
		s.fire(s.timers.Pop(), now)
	}
}

func (s *Scheduler) fire(t timer, now time.Time) {
	switch t.kind {
	case timerRetry, timerDeadline, timerAge:
		if tk, ok := s.tasks[t.id]; ok {
			s.fireTask(t, tk, now)
		}
	case timerCooldown, timerForget:
		a, ok := s.agents[t.id]
		if !ok {
			return
		}
		if t.kind == timerForget {
			s.forget(a, now)
			return
		}
		s.update(a, now, func() { a.cooling = now.Before(a.coolUntil) })
	case timerDefault:
		// place, which follows every input, looks at the type again.
	}
}

func (s *Scheduler) fireTask(t timer, tk *task, now time.Time) {
	switch t.kind {
	case timerRetry:
		if tk.state == delayed && !now.Before(tk.notBefore) {
			s.enqueue(tk, now)
		}
	case timerDeadline:
		if tk.state == assigned && tk.attempt == t.attempt {
			s.release(tk, TimedOut, "no result within its timeout", now)
		}
	case timerAge:
		if tk.state == waiting && tk.held && tk.attempt == t.attempt {
			s.deadLetter(tk, "waited longer than the queue's maximum age", now)
		}
	}
}
