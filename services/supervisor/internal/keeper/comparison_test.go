package keeper

import (
	"errors"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestOneVisitAtATime: a visit that is under way is not begun again, a later one
// ends it, and one that was asked for meanwhile follows.
func TestOneVisitAtATime(t *testing.T) {
	t.Parallel()
	var v visits
	now := time.Unix(1e9, 0)
	begin := func(visit uint64, anew bool) (*comparison, func() error) {
		ctx, c := v.begin(t.Context(), "r1", visit, anew, now)
		return c, ctx.Err
	}
	first, ended := begin(1, false)
	if again, _ := begin(1, false); first == nil || again != nil {
		t.Fatal("the same visit began twice")
	}
	later, laterEnded := begin(2, false)
	if later == nil || ended() == nil || laterEnded() != nil {
		t.Fatal("a later visit must take the place of the first one")
	}
	if v.over(first, now) || len(v.of) != 1 {
		t.Error("the end of the first one must not be that of the later one")
	}
	begin(2, true)
	now = now.Add(time.Second)
	if !v.over(later, now) || later.began != now || v.over(later, now) || len(v.of) != 0 || laterEnded() == nil {
		t.Error("the visit that was asked for meanwhile must follow, once")
	}
	gone, goneEnded := begin(3, true)
	v.part("r1")
	if goneEnded() == nil || v.over(gone, now) || len(v.of) != 0 {
		t.Error("a runner that has gone is not visited")
	}
}

// TestOverdueIsTold with ever longer waits in between, and not of a runner that
// takes starts and only ends agents.
func TestOverdueIsTold(t *testing.T) {
	t.Parallel()
	var v visits
	now := time.Unix(1e9, 0)
	_, c := v.begin(t.Context(), "r1", 1, false, now)
	v.progress(c, 500, errors.New("no answer"))
	var told []time.Duration
	for s := range 600 {
		for runner, view := range v.overdue(now.Add(time.Duration(s) * time.Second)) {
			if runner != "r1" || view.Entries != 500 || view.Problem != "no answer" || !view.Overdue || view.Stage != contracts.ComparisonReading {
				t.Errorf("%s: %+v", runner, view)
			}
			told = append(told, time.Duration(s)*time.Second)
		}
	}
	if len(told) != 5 || told[0] != overdueAfter || told[4] != 8*time.Minute {
		t.Errorf("told after %v, want 30s, 1m, 2m, 4m, 8m", told)
	}
	now = now.Add(time.Hour)
	if v.age(now) != time.Hour {
		t.Errorf("the oldest is %s old", v.age(now))
	}
	v.enter(c, contracts.ComparisonStopping, now)
	if len(v.overdue(now)) != 0 || v.age(now) != 0 || v.views(now)["r1"].Overdue {
		t.Error("a runner that takes starts is not overdue")
	}
	if v.enter(c, contracts.ComparisonReading, now); v.age(now) != 0 || len(v.overdue(now.Add(overdueAfter))) != 1 {
		t.Error("a list that is read again must begin another comparison")
	}
}
