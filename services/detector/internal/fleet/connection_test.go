package fleet

import (
	"testing"
	"time"
)

func TestLostConnection(t *testing.T) {
	cut := func(do func(w *world, at Instant)) *world {
		w := newWorld(t, Config{})
		w.live(Beat{Agent: "a", Incarnation: 2, About: About{Interval: time.Second}}, 20)
		w.beat(Beat{Agent: "a", Incarnation: 2, About: About{Interval: time.Second}})
		w.run(300 * time.Millisecond)
		w.found = nil
		at := w.now
		do(w, at)
		return w
	}
	t.Run("a verdict", func(t *testing.T) {
		w := cut(func(w *world, at Instant) {
			w.run(300 * time.Millisecond)
			w.take(w.f.Disconnected(w.now, at, "a", 2))
		})
		w.expect("failed a/2 connection_lost connection", "a unhealthy")
		if e := w.last(Failed).Evidence; e.Since != SinceHeartbeat || e.Elapsed != 600*time.Millisecond {
			t.Errorf("%+v", e)
		}
		w.live(Beat{Agent: "a", Incarnation: 2, About: About{Interval: time.Second}}, 1)
		w.expect("recovered a/2", "a healthy")
	})
	for name, do := range map[string]func(w *world, at Instant){
		"heard since": func(w *world, at Instant) {
			w.run(100 * time.Millisecond)
			w.beat(Beat{Agent: "a", Incarnation: 2, About: About{Interval: time.Second}})
			w.take(w.f.Disconnected(w.now, at, "a", 2))
		},
		"of another life":   func(w *world, at Instant) { w.take(w.f.Disconnected(w.now, at, "a", 1)) },
		"of nobody known":   func(w *world, at Instant) { w.take(w.f.Disconnected(w.now, at, "b", 0)) },
		"of one that ended": func(w *world, at Instant) { w.f.Ended(w.now, "a", 2); w.take(w.f.Disconnected(w.now, at, "a", 2)) },
		"amid a grace": func(w *world, at Instant) {
			w.f.Resume(w.now, time.Minute)
			w.take(w.f.Disconnected(w.now, at, "a", 2))
		},
		"while deaf": func(w *world, at Instant) { w.f.Suspend(w.now); w.take(w.f.Disconnected(w.now, at, "a", 2)) },
	} {
		t.Run(name, func(t *testing.T) { cut(do).expect() })
	}
}

func TestCensus(t *testing.T) {
	w := newWorld(t, Config{ForgetAfter: time.Minute})
	counts := func(all, r1, r2, x, y int) {
		t.Helper()
		got := [...]int{w.f.Heard(), w.f.OnRunner("r1"), w.f.OnRunner("r2"), w.f.OfType("x"), w.f.OfType("y")}
		if want := [...]int{all, r1, r2, x, y}; got != want {
			t.Errorf("counted %v, want %v", got, want)
		}
	}
	w.f.Started(w.now, Start{Agent: "a", Incarnation: 1, About: About{Runner: "r1", Type: "x"}})
	counts(0, 0, 0, 0, 0)
	w.beat(Beat{Agent: "a", Incarnation: 1})
	w.beat(Beat{Agent: "b", Incarnation: 1, About: About{Type: "y"}})
	counts(2, 1, 0, 1, 1)
	w.f.Started(w.now, Start{Agent: "b", Incarnation: 1, About: About{Runner: "r2"}}) // the word came after the beat
	w.beat(Beat{Agent: "b", Incarnation: 1, About: About{Type: "x"}})
	counts(2, 1, 1, 2, 0)
	w.f.Started(w.now, Start{Agent: "a", Incarnation: 2, About: About{Runner: "r2", Type: "y"}})
	counts(1, 0, 1, 1, 0)
	w.beat(Beat{Agent: "a", Incarnation: 2})
	counts(2, 0, 2, 1, 1)
	w.f.Ended(w.now, "a", 2)
	counts(1, 0, 1, 1, 0)
	w.run(10 * time.Minute) // b fails and is forgotten
	counts(0, 0, 0, 0, 0)
	if len(w.f.census.runners)+len(w.f.census.kinds) > 0 {
		t.Errorf("left behind: %+v", w.f.census)
	}
}
