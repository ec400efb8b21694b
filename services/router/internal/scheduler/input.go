package scheduler

import "time"

// Input is something that happened.
type Input interface {
	apply(s *Scheduler, now time.Time)
}
