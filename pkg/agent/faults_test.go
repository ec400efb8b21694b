package agent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mistersmith/mistersmith/pkg/agent"
)

// outcome says what one call did.
func outcome(f *agent.Faults) (kind string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	defer func() {
		if err, ok := recover().(error); ok && errors.Is(err, agent.ErrInjected) {
			kind = "panic"
		}
	}()
	begin := time.Now()
	err := f.Inject(ctx)
	switch took := time.Since(begin); {
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(err, agent.ErrInjected):
		return "timeout"
	case errors.Is(err, agent.ErrExhausted):
		return "resource_exhaustion"
	case errors.Is(err, agent.ErrInjected):
		return "error"
	case err == nil && took == time.Minute:
		return "hang"
	case err == nil && took == 0:
		return ""
	}
	return fmt.Sprint("unexpected: ", err)
}

func TestFaultsAreRepeatableAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sequence := func(seed uint64) (string, *agent.Faults) {
			f, err := agent.NewFaults(agent.FaultPlan{Rate: 0.5, Seed: seed, Hang: time.Minute, Bytes: 1 << 10})
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for range 200 {
				all = append(all, outcome(f))
			}
			return strings.Join(all, " "), f
		}
		first, f := sequence(1)
		again, _ := sequence(1)
		other, _ := sequence(2)
		if first != again {
			t.Error("the same seed gave another sequence")
		}
		if first == other {
			t.Error("another seed gave the same sequence")
		}
		if f.Calls() != 200 {
			t.Errorf("%d calls", f.Calls())
		}
		total := 0
		for _, k := range agent.FaultKinds() {
			seen := 0
			for _, s := range strings.Split(first, " ") {
				if s == string(k) {
					seen++
				}
			}
			if seen == 0 || f.Counts()[k] != uint64(seen) {
				t.Errorf("%s: counted %d, seen %d", k, f.Counts()[k], seen)
			}
			total += seen
		}
		if total < 70 || total > 130 {
			t.Errorf("%d faults in 200 calls at rate 0.5", total)
		}
	})
}

func TestFaultRates(t *testing.T) {
	var none *agent.Faults
	if err := none.Inject(t.Context()); err != nil || none.Calls() != 0 || len(none.Counts()) != 0 {
		t.Error("a nil injector must do nothing")
	}
	never, err := agent.NewFaults(agent.FaultPlan{})
	if err != nil {
		t.Fatal(err)
	}
	always, err := agent.NewFaults(agent.FaultPlan{Rate: 1, Kinds: []agent.FaultKind{agent.FaultError}})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := never.Inject(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := always.Inject(t.Context()); !errors.Is(err, agent.ErrInjected) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestFaultWrap(t *testing.T) {
	f, err := agent.NewFaults(agent.FaultPlan{Rate: 1, Kinds: []agent.FaultKind{agent.FaultError}})
	if err != nil {
		t.Fatal(err)
	}
	handle := func(context.Context, *agent.Task) (any, error) { return "done", nil }
	if _, err := f.Wrap(handle)(t.Context(), nil); !errors.Is(err, agent.ErrInjected) {
		t.Errorf("got %v", err)
	}
	var none *agent.Faults
	if v, err := none.Wrap(handle)(t.Context(), nil); v != "done" || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestFaultTimeoutWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := agent.NewFaults(agent.FaultPlan{Rate: 1, Kinds: []agent.FaultKind{agent.FaultTimeout}, Timeout: 7 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := f.Inject(context.Background()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 7*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

func TestFaultPlanValidate(t *testing.T) {
	_, err := agent.NewFaults(agent.FaultPlan{Rate: 1.5, Kinds: []agent.FaultKind{"meteor"}, Hang: -1, Bytes: -1})
	for _, s := range []string{"Rate: 1.5", "meteor", "Hang", "Bytes"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v: does not mention %s", err, s)
		}
	}
}
