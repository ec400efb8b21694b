package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestUndeclaredIntervalIsLearned(t *testing.T) {
	for _, every := range []time.Duration{200 * time.Millisecond, 30 * time.Second} {
		w := newWorld(t, Config{})
		for range 30 {
			w.beat(Beat{Agent: "a"})
			w.run(every)
		}
		v, _ := w.f.Agent(w.now, "a")
		if d := v.Evidence.Interval - every; d.Abs() > every/10 {
			t.Errorf("interval %s taken for %s", every, v.Evidence.Interval)
		}
		w.found = nil
		w.run(7 * every)
		if len(w.found) == 0 || !strings.Contains(strings.Join(w.found, "\n"), "failed a/0") {
			t.Errorf("%s: not found within 7 intervals: %v", every, w.found)
		}
	}
}

func TestLongHangDoesNotBlindTheDetector(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(beatOf("a"), 3000)
	w.run(5 * time.Minute)
	w.live(beatOf("a"), 30)
	w.found = nil
	w.run(8 * time.Second)
	w.expect("a degraded", "probe a", "failed a/0 heartbeat_timeout phi", "a unhealthy")
}

// TestYoungAgentsThatLoseBeats: what little is known of an agent whose network
// loses beats would excuse a long silence.
func TestYoungAgentsThatLoseBeats(t *testing.T) {
	for lives, most := range map[int]float64{2: 3, 9: 4.5, 15: 4.5, 20: 4.5, 40: 4.5, 90: 4.5, 400: 6} {
		w := newWorld(t, Config{})
		b := beatOf("a")
		for n := range lives {
			b.Seq = uint64(n + 1)
			if lost := n == 5 || n == 11 || n == 12; !lost {
				w.beat(b)
			}
			w.run(time.Second)
		}
		w.run(30 * time.Second)
		if at := w.last(Failed).Evidence.Elapsed.Seconds(); at > most {
			t.Errorf("after %d beats found after %.2f intervals, want at most %g", lives, at, most)
		} else {
			t.Logf("after %d beats found after %.2f intervals", lives, at)
		}
	}
}

func TestSequenceGoingBackIsNotLearned(t *testing.T) {
	w := newWorld(t, Config{})
	b := beatOf("a")
	b.Seq = 100
	w.beat(b)
	for range 20 {
		w.run(time.Second)
		b.Seq--
		w.beat(b)
	}
	v, _ := w.f.Agent(w.now, "a")
	if v.Evidence.Samples != 0 || v.Band != Healthy {
		t.Errorf("%+v", v)
	}
}

func TestFloodOfIds(t *testing.T) {
	w := newWorld(t, Config{MaxAgents: 100})
	for range 20 {
		for i := range 60 {
			w.beat(beatOf(fmt.Sprint("steady", i)))
		}
		w.run(time.Second)
	}
	w.take(w.f.Started(w.now, Start{Agent: "ordered", Incarnation: 1}))
	for i := range 5000 {
		w.beat(Beat{Agent: fmt.Sprint("flood", i)})
	}
	if n := w.f.Len(); n != 101 {
		t.Errorf("%d agents known, want 101", n)
	}
	for i := range 60 {
		if _, known := w.f.Agent(w.now, fmt.Sprint("steady", i)); !known {
			t.Fatalf("steady%d was given up for a newcomer", i)
		}
	}
	if s := w.f.Stats(); s.Evicted != 4960 || len(w.f.newcomers) > 264 {
		t.Errorf("%+v, %d newcomers", s, len(w.f.newcomers))
	}
	// With steady agents only, there is room for none.
	full := newWorld(t, Config{MaxAgents: 10})
	for range 12 {
		for i := range 10 {
			full.beat(beatOf(fmt.Sprint("steady", i)))
		}
		full.run(time.Second)
	}
	full.found = nil
	full.beat(Beat{Agent: "late"})
	full.expect("full late")
}

func TestForgetsWhoLeft(t *testing.T) {
	w := newWorld(t, Config{ForgetAfter: time.Minute})
	w.beat(Beat{Agent: "a"})
	b := Beat{Agent: "b"}
	b.About.Status = Stopped
	w.beat(b)
	w.take(w.f.Ended(w.now, "c", 1))
	w.run(2 * time.Minute)
	if w.f.Len() != 0 || w.f.wheel.Len() != 0 || len(w.f.newcomers) >= 64 {
		t.Errorf("%d agents, %d deadlines, %d newcomers left", w.f.Len(), w.f.wheel.Len(), len(w.f.newcomers))
	}
	for b := range bands {
		if n := w.f.Count(b); n != 0 {
			t.Errorf("%d agents in band %d", n, b)
		}
	}
}
