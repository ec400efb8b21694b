package strategy

import "testing"

func TestStrategies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		strategy                 Strategy
		single, escalates, group bool
		// with are the places of four whose children restart when the second
		// fails.
		with [5]bool
	}{
		{OneForOne, true, false, false, [5]bool{2: true}},
		{OneForAll, false, false, true, [5]bool{1: true, 2: true, 3: true, 4: true}},
		{RestForOne, false, false, true, [5]bool{2: true, 3: true, 4: true}},
		{Escalate, false, true, false, [5]bool{}},
	} {
		s := c.strategy
		if !s.Known() || s.Single() != c.single || s.Escalates() != c.escalates || s.Group() != c.group {
			t.Errorf("%s: single %v, escalates %v, group %v", s, s.Single(), s.Escalates(), s.Group())
		}
		for place := int64(1); place <= 4; place++ {
			if got := s.Takes(2, place); got != c.with[place] {
				t.Errorf("%s: the child in place %d restarts with the second: %v", s, place, got)
			}
		}
	}
	for _, s := range []Strategy{"", "one-for-one", "unknown"} {
		if s.Known() || s.Single() || s.Escalates() || s.Group() {
			t.Errorf("%q is taken for a strategy", s)
		}
	}
	if len(Strategies()) != 4 {
		t.Errorf("%d strategies, and four are tested", len(Strategies()))
	}
}
