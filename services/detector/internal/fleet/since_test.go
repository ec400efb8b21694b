package fleet

import (
	"testing"
	"time"
)

// A detector does not know of an agent that was started before it whether it has
// beaten since, unless an earlier one heard it.
func TestStartedBeforeTheDetector(t *testing.T) {
	w := newWorld(t, Config{})
	about := About{Interval: time.Second}
	w.take(w.f.Started(w.now, Start{Agent: "heard", Incarnation: 1, About: about, Age: 10 * time.Second}))
	w.take(w.f.Started(w.now, Start{Agent: "heard", Incarnation: 1, Age: 9 * time.Second, Discovered: true}))
	w.take(w.f.Started(w.now, Start{Agent: "unknown", Incarnation: 1, About: about, Age: 10 * time.Second}))
	w.take(w.f.Resume(w.now, 5*time.Second))
	w.take(w.f.Started(w.now, Start{Agent: "new", Incarnation: 1, About: about}))
	w.run(10 * time.Second)
	w.expect("heard degraded", "probe heard", "failed heard/1 heartbeat_timeout missed_beats", "heard unhealthy")
	e := w.last(Failed).Evidence
	if e.Since != SinceListening || e.Elapsed < 8*time.Second || e.Elapsed > 8*time.Second+3*tick {
		t.Errorf("%+v", e)
	}
	w.run(16 * time.Second)
	w.expect("failed unknown/1 heartbeat_timeout start_deadline", "unknown unhealthy")
	if e := w.last(Failed).Evidence; e.Since != SinceListening || e.Elapsed < 20*time.Second || e.Elapsed > 26*time.Second {
		t.Errorf("%+v", e)
	}
	w.run(10 * time.Second)
	w.expect("failed new/1 no_first_heartbeat start_deadline", "new unhealthy")
	if e := w.last(Failed).Evidence; e.Since != SinceStart || e.Elapsed < 30*time.Second {
		t.Errorf("%+v", e)
	}
}

// The time since a start is the whole time, also when a verdict was taken back
// in between; and of one that an operator has monitored since the order.
func TestSinceWhenAnAgentIsAwaited(t *testing.T) {
	w := newWorld(t, Config{})
	w.take(w.f.Started(w.now, Start{Agent: "a", Incarnation: 1, Deadline: 3 * time.Second}))
	w.run(4 * time.Second)
	w.f.Retract(w.now, "a", 1, Unknown)
	w.found = nil
	w.run(4 * time.Second)
	w.expect("failed a/1 no_first_heartbeat start_deadline", "a unhealthy")
	if e := w.last(Failed).Evidence; e.Since != SinceStart || e.Elapsed < 7*time.Second {
		t.Errorf("%+v", e)
	}
	w.take(w.f.Monitor(w.now, "m", Monitoring{StartDeadline: 2 * time.Second}))
	w.run(3 * time.Second)
	if e := w.last(Failed).Evidence; e.Since != SinceOrder || e.Elapsed < 2*time.Second || e.Elapsed > 3*time.Second {
		t.Errorf("%+v", e)
	}
}
