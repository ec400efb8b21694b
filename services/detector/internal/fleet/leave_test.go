package fleet

import (
	"testing"
	"time"
)

// startedOn is a start by a runner of an agent that may take 3 s to end.
func startedOn(runner string, incarnation uint64) Start {
	return Start{
		Agent: "a", Incarnation: incarnation, Shutdown: 3 * time.Second,
		About: About{Interval: time.Second, Runner: runner},
	}
}

func says(status Status) Beat {
	b := Beat{Agent: "a", Incarnation: 1, About: About{Interval: time.Second, Status: status}}
	return b
}

// leaver is a world with an agent of runner r that beats.
func leaver(t *testing.T) *world {
	w := newWorld(t, Config{})
	w.take(w.f.Started(w.now, startedOn("r", 1)))
	for range 12 {
		w.beat(runnerBeat("r"))
		w.beat(says(""))
		w.run(time.Second)
	}
	w.found = nil
	return w
}

// runnerBeat is a runner's own heartbeat.
func runnerBeat(name string) Beat {
	return Beat{Agent: name, About: About{Type: TypeRunner, Interval: time.Second}}
}

// saying lets the agent say so, and its runner live, for n seconds.
func (w *world) saying(status Status, n int) {
	for range n {
		w.beat(runnerBeat("r"))
		w.beat(says(status))
		w.run(time.Second)
	}
}

// An agent that says that it stops has its shutdown timeout, whether it beats on
// or not, and whether its runner answers or not.
func TestStoppingHasABound(t *testing.T) {
	for _, c := range []struct {
		name    string
		beats   bool
		answers bool
	}{{"beats", true, true}, {"silent", false, true}, {"beats, no answer", true, false}, {"silent, no answer", false, false}} {
		for _, status := range []Status{Stopping, Stopped} {
			t.Run(c.name+" "+string(status), func(t *testing.T) {
				w := leaver(t)
				w.saying(status, 1)
				w.expect("a unknown")
				for range 5 {
					w.beat(runnerBeat("r"))
					if c.beats {
						w.beat(says(status))
					}
					w.run(time.Second)
				}
				w.expect("probe a")
				if c.answers {
					w.take(w.f.AskedRunner(w.now, "a", 1, RunnerRuns))
				} else {
					w.saying(status, 2)
				}
				w.expect("failed a/1 stopping_timeout shutdown_timeout", "a unhealthy")
				if e := w.last(Failed).Evidence; e.Stopping < 5*time.Second || e.MayStop != 3*time.Second {
					t.Errorf("%+v", e)
				}
				w.saying(status, 30)
				w.expect()
				w.saying("", 2)
				w.expect("recovered a/1", "a healthy")
			})
		}
	}
}

// Nothing is said of one that ends, or works again.
func TestStoppingThatComesToAnEnd(t *testing.T) {
	w := leaver(t)
	w.saying(Stopping, 3)
	w.saying("", 1)
	w.expect("a unknown", "a healthy")
	w.saying(Stopping, 4)
	w.take(w.f.Ended(w.now, "a", 1))
	w.run(time.Minute)
	w.take(w.f.Started(w.now, startedOn("r", 2)))
	w.beat(Beat{Agent: "a", Incarnation: 2, About: About{Interval: time.Second}})
	w.found = nil
	w.run(900 * time.Millisecond)
	w.expect()
}

// An ordered stop is the runner's to see to, in the time of the order.
func TestStoppingByOrder(t *testing.T) {
	w := leaver(t)
	asked := 0
	for range 60 {
		w.saying(Stopping, 1)
		for _, line := range w.found {
			if line == "probe a" {
				asked++
				w.take(w.f.AskedRunner(w.now, "a", 1, RunnerStops))
			}
		}
		w.found = nil
	}
	if v, _ := w.f.Agent(w.now, "a"); v.Failed || asked < 10 || v.Evidence.Stopping < 59*time.Second {
		t.Errorf("asked %d times, %+v", asked, v)
	}
	w.saying(Stopping, 4)
	w.take(w.f.AskedRunner(w.now, "a", 1, RunnerRuns)) // the order is over, the agent lives
	if v, _ := w.f.Agent(w.now, "a"); !v.Failed || v.Reason != StoppingTimeout {
		t.Errorf("%+v", v)
	}
}

// While its runner is away its end cannot be reported. The verdict waits, though
// not for ever.
func TestStoppingWhileTheRunnerIsAway(t *testing.T) {
	w := leaver(t)
	w.beat(says(Stopping))
	w.run(time.Minute)
	if v, _ := w.f.Agent(w.now, "a"); v.Failed {
		t.Errorf("%+v", v)
	}
	w.run(70 * time.Second)
	if v, _ := w.f.Agent(w.now, "a"); !v.Failed || v.Reason != StoppingTimeout {
		t.Errorf("%+v", v)
	}
}

// The start of an agent may be told later than that it stops.
func TestStoppingBeforeTheStartIsTold(t *testing.T) {
	w := newWorld(t, Config{})
	w.saying(Stopping, 2)
	w.take(w.f.Started(w.now, startedOn("r", 1)))
	w.saying(Stopping, 4)
	if v, _ := w.f.Agent(w.now, "a"); v.Evidence.MayStop != 3*time.Second || w.found[len(w.found)-1] != "probe a" {
		t.Errorf("%+v\n%q", v, w.found)
	}
}

// Who has no runner is found only while it is heard to live on.
func TestStoppingWithoutARunner(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(beatOf("a"), 12)
	w.found = nil
	b := beatOf("a")
	b.About.Status = Stopping
	w.live(b, 31)
	w.expect("a unknown")
	w.live(b, 2)
	w.expect("failed a/0 stopping_timeout shutdown_timeout", "a unhealthy")
}

// A detector that starts knows from the log that an agent was stopping, or hears
// that it is.
func TestStoppingIsRemembered(t *testing.T) {
	for _, beats := range []bool{true, false} {
		w := newWorld(t, Config{})
		s := startedOn("r", 1)
		s.Age = time.Hour
		w.take(w.f.Started(w.now, s))
		w.take(w.f.Left(w.now, "a", 1, time.Minute))
		w.take(w.f.Resume(w.now, 5*time.Second))
		for range 14 {
			w.beat(runnerBeat("r"))
			if beats {
				w.beat(says(Stopping))
			}
			w.run(time.Second)
		}
		w.expect("created r/0", "r healthy", "probe r", "probe a", "failed a/1 stopping_timeout shutdown_timeout", "a unhealthy")
		if e := w.last(Failed).Evidence; e.Stopping < time.Minute {
			t.Errorf("%+v", e)
		}
	}
}
