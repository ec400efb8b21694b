package health

import (
	"errors"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestStreak(t *testing.T) {
	bad := errors.New("503")
	s := Streak{Failures: 2, Grace: 10 * time.Second}
	for i, step := range []struct {
		age     time.Duration
		result  error
		first   bool
		verdict string
	}{
		{age: 1, result: bad},
		{age: 2, result: bad},
		{age: 3, result: bad}, // it may not be up yet
		{age: 4, first: true},
		{age: 5, result: bad},
		{age: 6},
		{age: 7, result: bad}, // never twice in a row
		{age: 8, result: bad, verdict: "its health check failed 2 times in a row: 503"},
		{age: 9, result: bad, verdict: "its health check failed 3 times in a row: 503"},
	} {
		first, verdict := s.Checked(step.age*time.Second, step.result)
		if first != step.first || verdict != step.verdict {
			t.Errorf("step %d: %t, %q", i, first, verdict)
		}
	}
	never := Streak{Failures: 1, Grace: 10 * time.Second}
	if _, verdict := never.Checked(10*time.Second, bad); verdict != "its health check failed once: 503" {
		t.Errorf("at the end of its grace: %q", verdict)
	}
}

func TestBounds(t *testing.T) {
	b := Bounds{Spec: contracts.HealthSpec{OutputWithin: contracts.Duration(5 * time.Second), MaxRuntime: contracts.Duration(time.Minute), MaxMemory: 64 << 20}}
	if b.Pace() != time.Second {
		t.Errorf("pace %s", b.Pace())
	}
	for i, step := range []struct {
		age              time.Duration
		printed, res     int64
		reason           contracts.FailureReason
		verdict, comment string
	}{
		{age: 4, printed: 1},
		{age: 8, printed: 1},
		{age: 8, printed: 2},
		{age: 12, printed: 2},
		{age: 13, printed: 2, reason: contracts.ReasonOutputSilent, verdict: "it printed nothing for 5s; output_within is 5s"},
		{age: 14, printed: 3, res: 64 << 20},
		{age: 15, printed: 4, res: 65 << 20, reason: contracts.ReasonMaxMemory, verdict: "its processes have 65 MiB resident; max_memory is 64 MiB"},
		{age: 60, printed: 5, reason: contracts.ReasonMaxRuntime, verdict: "it has run for 1m0s; max_runtime is 1m0s"},
	} {
		reason, verdict := b.Judge(Seen{Age: step.age * time.Second, Printed: step.printed, Resident: step.res})
		if reason != step.reason || verdict != step.verdict {
			t.Errorf("step %d: %s, %q", i, reason, verdict)
		}
	}
	silent := Bounds{Spec: contracts.HealthSpec{OutputWithin: contracts.Duration(5 * time.Second)}}
	// A runner that comes back has not seen what was printed before.
	if reason, _ := silent.Judge(Seen{Age: time.Hour, Printed: 7}); reason != "" {
		t.Errorf("at the first look: %s", reason)
	}
	if reason, _ := (&Bounds{Spec: silent.Spec}).Judge(Seen{Age: 5 * time.Second}); reason != contracts.ReasonOutputSilent {
		t.Errorf("one that never printed: %q", reason)
	}
}
