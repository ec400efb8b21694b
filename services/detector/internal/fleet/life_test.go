package fleet

import (
	"testing"
	"time"
)

func instance(name string) Beat {
	b := beatOf("a")
	b.Instance = name
	return b
}

// Another process is another life: what its forerunner failed to do is no
// mistake of the detector's.
func TestAnotherInstanceIsAnotherLife(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(instance("one"), 20)
	w.run(10 * time.Second)
	w.expect("created a/0", "a healthy", "probe a", "a degraded", "probe a", "failed a/0 heartbeat_timeout phi", "a unhealthy")
	w.live(instance("two"), 3)
	w.expect("created a/0", "a healthy", "probe a")
	w.live(instance("three"), 1) // replaced before anybody missed it
	w.expect("created a/0", "a healthy", "probe a")
	w.live(instance("three"), 20)
	w.run(10 * time.Second)
	w.live(instance("three"), 1) // the same one returns: that was a mistake
	w.expect("a degraded", "probe a", "failed a/0 heartbeat_timeout phi", "a unhealthy", "recovered a/0", "a healthy")
}

func TestTwoInstancesOfOneAgent(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(instance("one"), 20)
	w.live(instance("two"), 1)
	w.found = nil
	for range 5 {
		w.beat(instance("two"))
		w.run(500 * time.Millisecond)
		w.beat(instance("one"))
		w.run(500 * time.Millisecond)
	}
	w.expect("conflict a two one")
	// When the newer one falls silent, the older one takes its place again.
	for range 8 {
		w.beat(instance("one"))
		w.run(time.Second)
	}
	if v, _ := w.f.Agent(w.now, "a"); v.Band != Healthy || w.f.Stats().Stale == 0 {
		t.Errorf("%+v", v)
	}
	w.found = nil
	w.live(instance("one"), 2)
	w.expect()
}

// What an earlier detector saw: failed, then created again by another process.
func TestAnotherLifeIsRemembered(t *testing.T) {
	w := newWorld(t, Config{})
	w.take(w.f.Verdict(w.now, "a", 0, HeartbeatTimeout, time.Minute))
	w.take(w.f.Started(w.now, Start{Agent: "a", Age: time.Second, Discovered: true, Again: true}))
	w.found = nil
	w.live(instance("two"), 2)
	w.expect("a healthy")
}

func TestForgottenAgentsLeaveNoLife(t *testing.T) {
	w := newWorld(t, Config{ForgetAfter: time.Minute})
	w.live(instance("one"), 2)
	w.run(3 * time.Minute)
	if w.f.Len() != 0 || len(w.f.lives) != 0 {
		t.Errorf("%d agents, %d lives", w.f.Len(), len(w.f.lives))
	}
}
