package health

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Streak judges an agent by its checks. They count from the first one that it passed,
// or from the end of its start deadline: until then it may not work yet.
type Streak struct {
	Failures int           // in a row, at which the agent is judged
	Grace    time.Duration // of the agent's life

	well   bool
	failed int
}

// Checked takes the result of a check into account that was made when the agent had
// run for some time. First is true for the first check that it passed. A verdict says
// what is wrong.
func (s *Streak) Checked(age time.Duration, result error) (first bool, verdict string) {
	switch {
	case result == nil:
		first, s.well, s.failed = !s.well, true, 0
		return first, ""
	case !s.well && age < s.Grace:
		return false, ""
	}
	if s.failed++; s.failed < s.Failures {
		return false, ""
	}
	times := "once"
	if s.failed > 1 {
		times = fmt.Sprintf("%d times in a row", s.failed)
	}
	return false, fmt.Sprintf("its health check failed %s: %v", times, result)
}

// Bounds are the limits of a spec that need no check, and what is known against them.
type Bounds struct {
	Spec contracts.HealthSpec

	printed int64         // how much it has, at the last look
	silent  time.Duration // the age at which it had printed that first
}

// Seen is what a look at an agent shows: how long it has run, a number that changes
// whenever it prints, and how many bytes its processes have resident.
type Seen struct {
	Age      time.Duration
	Printed  int64
	Resident int64
}

// Pace is the time between two looks; 0 where there is nothing to look for.
func (b *Bounds) Pace() time.Duration {
	pace := time.Duration(0)
	for _, bound := range []time.Duration{b.Spec.OutputWithin.D(), b.Spec.MaxRuntime.D()} {
		if bound > 0 && (pace == 0 || bound/4 < pace) {
			pace = bound / 4
		}
	}
	if pace == 0 && b.Spec.MaxMemory > 0 {
		return time.Second
	}
	return min(pace, time.Second)
}

// Judge says which bound an agent has passed, or an empty reason.
func (b *Bounds) Judge(s Seen) (reason contracts.FailureReason, verdict string) {
	if s.Printed != b.printed {
		b.printed, b.silent = s.Printed, s.Age
	}
	switch spec := b.Spec; {
	case spec.OutputWithin > 0 && s.Age-b.silent >= spec.OutputWithin.D():
		return contracts.ReasonOutputSilent, fmt.Sprintf("it printed nothing for %s; output_within is %s", (s.Age - b.silent).Round(time.Second), spec.OutputWithin)
	case spec.MaxRuntime > 0 && s.Age >= spec.MaxRuntime.D():
		return contracts.ReasonMaxRuntime, fmt.Sprintf("it has run for %s; max_runtime is %s", s.Age.Round(time.Second), spec.MaxRuntime)
	case spec.MaxMemory > 0 && s.Resident > spec.MaxMemory:
		return contracts.ReasonMaxMemory, fmt.Sprintf("its processes have %d MiB resident; max_memory is %d MiB", s.Resident>>20, spec.MaxMemory>>20)
	}
	return "", ""
}
