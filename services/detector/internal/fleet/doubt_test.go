package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestOwnStallIsNobodysSilence(t *testing.T) {
	w := newWorld(t, Config{})
	for range 30 {
		for i := range 50 {
			w.beat(beatOf(fmt.Sprint("a", i)))
		}
		w.run(time.Second)
	}
	w.found = nil
	w.now += time.Minute // nothing runs
	w.take(w.f.Tick(w.now))
	w.run(tick)
	w.expect("stalled")
	for range 10 {
		for i := range 49 {
			w.beat(beatOf(fmt.Sprint("a", i)))
		}
		w.run(time.Second)
	}
	w.expect("a49 degraded", "probe a49", "failed a49/0 heartbeat_timeout phi", "a49 unhealthy")
	if e := w.last(Failed).Evidence; e.Elapsed < time.Minute {
		t.Errorf("the evidence hides that the last heartbeat was %s ago", e.Elapsed)
	}
	if s := w.f.Stats(); s.Stalls != 1 || s.Stalled < 59*time.Second {
		t.Errorf("%+v", s)
	}
}

// Heartbeats that waited while the detector stood still come before its tick.
func TestStallSeenByAHeartbeatFirst(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(beatOf("a"), 30)
	w.live(beatOf("b"), 30)
	w.live(beatOf("a"), 2)
	w.found = nil
	w.now += 30 * time.Second
	w.beat(beatOf("a"))
	w.run(tick)
	for _, line := range w.found {
		if strings.HasPrefix(line, "failed a") {
			t.Error(line)
		}
	}
}

func TestReconnectGrace(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(beatOf("a"), 30)
	w.live(beatOf("dead"), 1)
	w.beat(beatOf("a"))
	w.found = nil
	w.take(w.f.Suspend(w.now))
	w.run(10 * time.Minute)
	w.take(w.f.Resume(w.now, 5*time.Second))
	w.run(5 * time.Second)
	w.expect()
	w.live(beatOf("a"), 4)
	w.expect("dead degraded", "probe dead", "failed dead/0 heartbeat_timeout missed_beats", "dead unhealthy")
}

func TestProbes(t *testing.T) {
	silent := func(answered bool) *world {
		w := newWorld(t, Config{MissedBeats: 10})
		w.live(beatOf("a"), 3)
		if answered {
			w.take(w.f.Probed(w.now, w.now, "a", 0, Alive))
		}
		w.run(5 * time.Second)
		w.found = nil
		if v, _ := w.f.Agent(w.now, "a"); v.Band != Degraded {
			t.Fatalf("%+v", v)
		}
		return w
	}
	t.Run("nobody of one who answered before", func(t *testing.T) {
		w := silent(true)
		w.take(w.f.Probed(w.now, w.now-tick, "a", 0, Nobody))
		w.expect("failed a/0 health_check_failed probe", "a unhealthy")
	})
	t.Run("nobody of one who never answered", func(t *testing.T) {
		w := silent(false)
		w.take(w.f.Probed(w.now, w.now-tick, "a", 0, Nobody))
		w.expect()
	})
	t.Run("nobody, but it has beaten since", func(t *testing.T) {
		w := silent(true)
		sent := w.now
		w.run(time.Second)
		w.beat(beatOf("a"))
		w.found = nil
		w.take(w.f.Probed(w.now, sent, "a", 0, Nobody))
		w.expect()
	})
	t.Run("nobody, right after a reconnect", func(t *testing.T) {
		w := silent(true)
		w.take(w.f.Resume(w.now, time.Minute))
		w.take(w.f.Probed(w.now, w.now-tick, "a", 0, Nobody))
		w.expect()
	})
	t.Run("of another incarnation", func(t *testing.T) {
		w := silent(true)
		w.take(w.f.Probed(w.now, w.now-tick, "a", 1, Nobody))
		w.expect()
	})
	t.Run("an answer clears, but not for ever", func(t *testing.T) {
		w := silent(false)
		for range maxCleared {
			w.take(w.f.Probed(w.now, w.now-tick, "a", 0, Alive))
			w.expect("a healthy")
			w.run(5 * time.Second)
			w.expect("a degraded", "probe a")
		}
		w.take(w.f.Probed(w.now, w.now-tick, "a", 0, Alive))
		w.run(6 * time.Second)
		w.expect("failed a/0 heartbeat_timeout missed_beats", "a unhealthy")
	})
}
