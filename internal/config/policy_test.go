package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDefaultPolicies(t *testing.T) {
	f := Default()
	f.RestartPolicies = map[string]RestartPolicy{"coder": {MaxRestarts: 7}}
	given := &Node{Policy: RestartPolicy{MaxRestarts: 9}, PolicyName: "mine", policyGiven: true}
	for _, c := range []struct {
		name       string
		typ        string
		supervisor bool
		parent     *Node
		max        int
		policy     string
	}{
		{"worker", "worker", false, nil, 3, ""},
		{"supervisor", "supervisor", true, nil, 5, ""},
		{"by type", "coder", false, given, 7, "coder"},
		{"the parent's", "worker", false, given, 9, "mine"},
		{"a parent that names none", "worker", false, &Node{}, 3, ""},
		{"supervisors do not share their parent's", "supervisor", true, given, 5, ""},
	} {
		if p, name := f.PolicyFor(c.typ, c.supervisor, c.parent); p.MaxRestarts != c.max || name != c.policy {
			t.Errorf("%s: got %d of %q", c.name, p.MaxRestarts, name)
		}
	}
	f.RestartPolicies["default"] = RestartPolicy{MaxRestarts: 11}
	for _, supervisor := range []bool{true, false} {
		if p, name := f.PolicyFor("x", supervisor, nil); p.MaxRestarts != 11 || name != "default" {
			t.Errorf("the file's default is not used: %d of %q", p.MaxRestarts, name)
		}
	}
}

func TestShortestDelays(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		backoff Backoff
		want    []time.Duration
	}{
		{Backoff{Type: Fixed}, []time.Duration{100 * ms, 100 * ms, 100 * ms}},
		{Backoff{Type: Linear, Increment: 50 * ms, MaxDelay: 180 * ms}, []time.Duration{100 * ms, 150 * ms, 180 * ms, 180 * ms}},
		{Backoff{Type: Exponential, Base: 2, MaxDelay: time.Second}, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second}},
		{Backoff{Type: Exponential, Base: 2, MaxDelay: time.Second, Jitter: 0.5}, []time.Duration{50 * ms, 100 * ms}},
		{Backoff{Type: Fibonacci, MaxDelay: time.Second}, []time.Duration{100 * ms, 100 * ms, 200 * ms, 300 * ms, 500 * ms, 800 * ms, time.Second}},
	} {
		p := RestartPolicy{Delay: 100 * ms, Backoff: c.backoff}
		for i, want := range c.want {
			if got := p.Wait(i+1, -1); got != want {
				t.Errorf("%+v: delay %d is %v, not %v", c.backoff, i+1, got, want)
			}
		}
	}
}

// The reachability check agrees with a child that fails whenever that is worst,
// played out: at once, or when it has just run for so long that its backoff is
// forgotten.
func TestReachableAgreesWithPlay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := RestartPolicy{
			MaxRestarts: rapid.IntRange(0, 12).Draw(t, "max"),
			TimeWindow:  time.Duration(rapid.IntRange(1, 60_000).Draw(t, "window")) * time.Millisecond,
			Delay:       time.Duration(rapid.IntRange(0, 5000).Draw(t, "delay")) * time.Millisecond,
			ResetAfter:  time.Duration(rapid.SampledFrom([]int{0, 0, 1, 100, 2000, 9000}).Draw(t, "reset")) * time.Millisecond,
			Backoff: Backoff{
				Type:      rapid.SampledFrom(backoffTypes).Draw(t, "type"),
				Increment: time.Duration(rapid.IntRange(0, 2000).Draw(t, "increment")) * time.Millisecond,
				Base:      rapid.Float64Range(1, 4).Draw(t, "base"),
				MaxDelay:  time.Duration(rapid.IntRange(5000, 60_000).Draw(t, "cap")) * time.Millisecond,
			},
		}
		// worst is the least time that n more failures take after the k-th in a row.
		var worst func(n, k int) time.Duration
		worst = func(n, k int) time.Duration {
			if n == 0 {
				return 0
			}
			least := p.Wait(k, -1) + worst(n-1, k+1)
			if p.ResetAfter > 0 && n > 1 {
				least = min(least, p.Wait(k, -1)+p.ResetAfter+worst(n-1, 1))
			}
			return least
		}
		reachable := p.RestartsIn(p.TimeWindow, p.MaxRestarts+1) > p.MaxRestarts
		least := worst(p.MaxRestarts, 1)
		if played := least <= p.TimeWindow; reachable != played {
			t.Fatalf("said %v, played %v: %v for %d in %v", reachable, played, least, p.MaxRestarts, p.TimeWindow)
		}
		if said := p.Quickest(p.MaxRestarts); said < least || said >= least+time.Millisecond {
			t.Fatalf("said %v, played %v", said, least)
		}
		if !reachable {
			p.TimeWindow = p.Quickest(p.MaxRestarts)
			if p.RestartsIn(p.TimeWindow, p.MaxRestarts+1) <= p.MaxRestarts {
				t.Fatalf("the window that would do, %v, does not", p.TimeWindow)
			}
		}
	})
}

func TestTimeoutsNearestWins(t *testing.T) {
	f, err := Load("testdata/good/requirements.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		service, op string
		want        time.Duration
	}{
		{"database_service", "query", 2 * time.Second},
		{"database_service", "other", 10 * time.Second},
		{"agent_service", "query", 30 * time.Second}, // another service's operation
		{"query", "query", time.Minute},              // an operation's name is no service's
		{"", "", time.Minute},
	} {
		if got := f.Timeouts.For(c.service, c.op); got != c.want {
			t.Errorf("%s::%s: %v, not %v", c.service, c.op, got, c.want)
		}
	}
}
