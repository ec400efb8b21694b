package rehearsal

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// budgeted copies specs and gives the tree another restart budget, or none.
func budgeted(specs []*tree.Spec, b *tree.Budget) []*tree.Spec {
	return changed(specs, func(s *tree.Spec) {
		if s.Parent == "" {
			s.Supervisor.Budget = b
		}
	})
}

// oneIn is an allowance of one restart in a time.
func oneIn(per time.Duration) tree.Allowance { return tree.Allowance{Restarts: 1, Per: per} }

// TestBudgetWaits lets three agents crash together once, 500 ms after their
// start, with and without a restart budget. By itself each is down for 30 ms
// until it first serves, in backoff for 100 ms, and 30 ms again. In the record,
// and up to the first difference, whatever waits for a timer waits 1 ms longer.
func TestBudgetWaits(t *testing.T) {
	t.Parallel()
	fleet := &tree.Budget{Fleet: oneIn(10 * time.Second)}
	type side struct {
		starts, waits    int
		downtime, waited contracts.Duration
		backoff          contracts.Duration
	}
	free := side{starts: 2, downtime: 161 * ms, backoff: 101 * ms}
	after := func(waited contracts.Duration) side {
		s := free
		s.waits, s.waited, s.downtime = 1, waited, s.downtime+waited
		return s
	}
	for name, c := range map[string]struct {
		recorded, rehearsed *tree.Budget
		// from is how long after its beginning the record is rehearsed.
		from time.Duration
		// want holds what becomes of a, b and c on either side.
		want [3][2]side
	}{
		"with a budget for the fleet": {nil, fleet, 0, [3][2]side{
			{free, free}, {free, after(10_000 * ms)}, {free, after(20_000 * ms)},
		}},
		"without the budget": {fleet, nil, 0, [3][2]side{
			{free, free}, {after(10_001 * ms), free}, {after(20_002 * ms), free},
		}},
		"with another budget": {fleet, &tree.Budget{Fleet: oneIn(4 * time.Second)}, 0, [3][2]side{
			{free, free}, {after(10_001 * ms), after(4000 * ms)}, {after(20_002 * ms), after(8000 * ms)},
		}},
		// They run on r1, r2 and r1 again.
		"with a budget for each runner": {nil, &tree.Budget{Runner: oneIn(10 * time.Second)}, 0, [3][2]side{
			{free, free}, {free, free}, {free, after(10_000 * ms)},
		}},
		"with another budget, while two wait": {fleet, &tree.Budget{Fleet: oneIn(4 * time.Second)}, time.Second, [3][2]side{
			{}, {{1, 1, 9632 * ms, 9602 * ms, 0}, {1, 1, 3631 * ms, 3601 * ms, 0}}, {{1, 1, 19633 * ms, 19603 * ms, 0}, {1, 1, 7631 * ms, 7601 * ms, 0}},
		}},
		// At 1 s a runs again, and two have waited since 601 ms.
		"without the budget, while two wait": {fleet, nil, time.Second, [3][2]side{
			{}, {{1, 1, 9632 * ms, 9602 * ms, 0}, {1, 1, 30 * ms, 0, 0}}, {{1, 1, 19633 * ms, 19603 * ms, 0}, {1, 1, 30 * ms, 0, 0}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			specs := forest(group("g", tree.OneForOne, 5, "a", "b", "c"))
			s := newScene(t, budgeted(specs, c.recorded), func(_ string, incarnation uint64) (time.Duration, tree.Input) {
				if incarnation == 1 {
					return 500 * time.Millisecond, tree.Input{Kind: tree.Exited, Reason: "exited with code 1"}
				}
				return 0, tree.Input{}
			})
			s.play(c.from)
			n, from := len(s.log), s.now
			if c.from == 0 {
				n = 0
			}
			s.play(30 * time.Second)
			rec := s.state(n)
			rec.From = from
			got := rehearse(t, rec, Options{Specs: budgeted(specs, c.rehearsed)})
			var sum [2]side
			for i, name := range []string{"a", "b", "c"} {
				var lives [2]contracts.RehearsalLife
				if c.want[i] != ([2]side{}) {
					a := agent(t, got, name)
					lives = [2]contracts.RehearsalLife{a.Recorded, a.Rehearsed}
				}
				for k, l := range lives {
					w := c.want[i][k]
					if have := (side{l.Starts, l.BudgetWaits, l.Downtime, l.BudgetWaited, l.Waiting - l.BudgetWaited}); have != w {
						t.Errorf("%s, side %d: got %+v, want %+v", name, k, have, w)
					}
					sum[k].waits, sum[k].waited, sum[k].backoff = sum[k].waits+w.waits, sum[k].waited+w.waited, sum[k].backoff+w.backoff
				}
			}
			for k, l := range []contracts.RehearsalTotals{got.Recorded, got.Rehearsed} {
				if l.BudgetWaits != sum[k].waits || l.BudgetWaited != sum[k].waited || l.Waiting != sum[k].waited+sum[k].backoff || l.Down != 0 {
					t.Errorf("side %d: got %+v, want %+v", k, l, sum[k])
				}
			}
			if got.First == nil {
				t.Error("nothing differs")
			}
		})
	}
}

// TestBudgetFromTheMiddle lets three agents crash together again and again, and
// begins after each decision: also when nobody waits, where a tree that is
// loaded counts from 1 what the recorded one had counted on.
func TestBudgetFromTheMiddle(t *testing.T) {
	t.Parallel()
	specs := budgeted(forest(group("g", tree.OneForOne, 100, "a", "b", "c")), &tree.Budget{Fleet: oneIn(time.Second)})
	s := newScene(t, specs, func(string, uint64) (time.Duration, tree.Input) {
		return 0, tree.Input{}
	})
	for range 5 {
		s.play(4 * time.Second)
		for _, id := range []string{"a", "b", "c"} {
			s.step(tree.Input{Kind: tree.Exited, Node: id, Incarnation: s.live[id], Reason: "exited with code 1"})
		}
	}
	waits := 0
	for n := range s.log {
		got, err := Run(s.state(n), Options{Specs: specs})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Faithful || got.First != nil || got.Recorded != got.Rehearsed {
			t.Fatalf("from decision %d: deviation %d, first %+v\nrecorded  %+v\nrehearsed %+v", n+1, got.Deviation, got.First, got.Recorded, got.Rehearsed)
		}
		waits = max(waits, got.Recorded.BudgetWaits)
	}
	if want := 4 * 2; waits != want {
		t.Errorf("%d waits for budget, want %d", waits, want)
	}
}

// TestOrderOfWhatWaits: of the numbers that order what waits, only the order is
// compared, but that is.
func TestOrderOfWhatWaits(t *testing.T) {
	t.Parallel()
	states := func(a, b, c tree.State) (out []tree.Change) {
		for i, st := range []tree.State{a, b, c} {
			out = append(out, tree.Change{ID: string(rune('a' + i)), State: &st})
		}
		return out
	}
	ticket := func(n uint64) tree.State { return tree.State{Phase: tree.Throttled, Wait: tree.Wait{Ticket: n}} }
	ended := func(n uint64) tree.State { return tree.State{Phase: tree.Ended, Wait: tree.Wait{Ticket: n}} }
	queued := func(n uint64) tree.State {
		return tree.State{Phase: tree.Running, Command: &tree.Command{Kind: tree.CmdRestart, Queued: n}}
	}
	recorded := states(ticket(57), ended(60), queued(58))
	for name, c := range map[string]struct {
		other []tree.Change
		same  bool
	}{
		"the same":                {states(ticket(57), ended(60), queued(58)), true},
		"counted from elsewhere":  {states(ticket(1), ended(3), queued(2)), true},
		"with gaps":               {states(ticket(1), ended(30), queued(20)), true},
		"in another order":        {states(ticket(2), ended(3), queued(1)), false},
		"no ticket":               {states(ticket(0), ended(3), queued(2)), false},
		"not ended":               {states(ticket(1), ended(0), queued(2)), false},
		"a command that is begun": {states(ticket(1), ended(3), queued(0)), false},
		"one change less":         {states(ticket(1), ended(3), queued(2))[:2], false},
	} {
		if got := sameChanges(recorded, c.other); got != c.same {
			t.Errorf("%s: same is %v", name, got)
		}
	}
	if n := recorded[0].State.Ticket; n != 57 {
		t.Errorf("comparing has changed the ticket to %d", n)
	}
}
