package fleet

import (
	"testing"
	"time"
)

// TestReporting: what agents say of themselves is counted and found as long as it
// holds: until they say something else, begin a new life, end or are not heard any
// longer.
func TestReporting(t *testing.T) {
	f, err := New(Config{Tick: time.Second, ForgetAfter: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	now := Instant(0)
	says := func(agent string, incarnation uint64, status Status) {
		now += time.Second
		f.Beat(now, Beat{Agent: agent, Incarnation: incarnation, About: About{Type: "degraded", Status: status}})
	}
	expect := func(names ...string) {
		t.Helper()
		got := f.Names(Filter{Status: "degraded"}, 10)
		if len(got) != len(names) || f.Reporting("degraded") != len(names) {
			t.Fatalf("%v, counted %d, want %v", got, f.Reporting("degraded"), names)
		}
		for i := range names {
			if got[i] != names[i] {
				t.Fatalf("%v, want %v", got, names)
			}
		}
	}
	says("a", 1, "degraded")
	says("b", 1, "degraded")
	says("c", 1, "running")
	says("d", 0, "degraded")
	says("d", 0, "degraded")
	expect("a", "b", "d")
	says("a", 1, "running")
	expect("b", "d")
	f.Started(now, Start{Agent: "b", Incarnation: 2})
	expect("d")
	says("b", 2, "degraded")
	expect("b", "d")
	f.Ended(now, "b", 2)
	expect("d")
	f.Unmonitor(now, "d")
	says("d", 0, "degraded")
	expect()
	f.Monitor(now, "d", Monitoring{})
	says("d", 0, "degraded")
	expect("d")
	for range 300 { // it falls silent, and is forgotten
		now += time.Second
		f.Tick(now)
	}
	expect()
	if f.Len() > 0 || len(f.statuses) > 0 {
		t.Errorf("%d agents, statuses %v", f.Len(), f.statuses)
	}
}
