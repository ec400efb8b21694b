package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

func TestDiscoveredAgentThatCeases(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(Beat{Agent: "foo"}, 1) // an empty heartbeat: 5s is assumed
	w.expect("created foo/0", "foo healthy", "probe foo")
	w.run(13 * time.Second)
	w.expect("foo degraded", "probe foo")
	w.run(2 * time.Second)
	w.expect("failed foo/0 heartbeat_timeout missed_beats", "foo unhealthy")
	e := w.last(Failed).Evidence
	if e.Elapsed < 15*time.Second || e.Elapsed > 15*time.Second+2*tick || e.Phi < e.Threshold || e.Since != SinceHeartbeat {
		t.Errorf("evidence %+v", e)
	}
	w.run(time.Minute)
	w.beat(Beat{Agent: "foo"})
	w.expect("recovered foo/0", "foo healthy")
	if got := w.last(Recovered).For; got < time.Minute || got > 61*time.Second {
		t.Errorf("down for %s", got)
	}
}

func TestExpectedAgentThatNeverBeats(t *testing.T) {
	w := newWorld(t, Config{})
	w.take(w.f.Started(w.now, Start{Agent: "a", Incarnation: 3, Deadline: 10 * time.Second}))
	w.run(10*time.Second - tick)
	w.expect()
	w.run(2 * tick)
	w.expect("failed a/3 no_first_heartbeat start_deadline", "a unhealthy")
	if e := w.last(Failed).Evidence; e.Since == SinceHeartbeat || e.Elapsed < 10*time.Second {
		t.Errorf("evidence %+v", e)
	}
	w.run(time.Minute)
	w.beat(Beat{Agent: "a", Incarnation: 3})
	w.expect("recovered a/3", "a healthy", "probe a")
}

func TestExitIsTheOnlyVerdict(t *testing.T) {
	w := newWorld(t, Config{})
	w.take(w.f.Started(w.now, Start{Agent: "a", Incarnation: 1}))
	b := beatOf("a")
	b.Incarnation = 1
	w.live(b, 20)
	w.found = nil
	w.take(w.f.Ended(w.now, "a", 1))
	w.beat(b)                // a straggler
	w.beat(Beat{Agent: "a"}) // another, that tells no incarnation
	w.run(time.Minute)
	w.expect()
	w.take(w.f.Started(w.now, Start{Agent: "a", Incarnation: 2}))
	w.beat(b) // the first life again
	w.expect()
	b.Incarnation = 2
	w.live(b, 3)
	w.expect("a healthy", "probe a")
	w.take(w.f.Ended(w.now, "a", 1)) // late news
	w.run(time.Minute)
	w.expect("a degraded", "probe a", "failed a/2 heartbeat_timeout phi", "a unhealthy")
}

// The events of a start and of the first heartbeat may come in either order.
func TestBeatBeforeStart(t *testing.T) {
	w := newWorld(t, Config{})
	w.take(w.f.Ended(w.now, "a", 1))
	b := beatOf("a")
	b.Incarnation = 2
	w.beat(b)
	w.take(w.f.Started(w.now, Start{Agent: "a", Incarnation: 2, Deadline: time.Second}))
	w.live(b, 5)
	w.expect("a healthy", "probe a")
}

// Who has an incarnation is told as discovered only when nobody announces it.
func TestDiscoveredWithIncarnation(t *testing.T) {
	w := newWorld(t, Config{})
	b := beatOf("a")
	b.Incarnation = 2
	w.live(b, 5)
	w.expect("a healthy", "probe a")
	w.live(b, 2)
	w.expect("created a/2")
	b.Agent = "early"
	w.live(b, 2)
	w.take(w.f.Started(w.now, Start{Agent: "early", Incarnation: 2}))
	w.live(b, 9)
	b.Agent = "brief"
	w.beat(b)
	w.found = nil
	w.run(4 * time.Second)
	if !strings.Contains(strings.Join(w.found, " "), "created brief/2 failed brief/2") {
		t.Errorf("found %q", w.found)
	}
	for _, line := range w.found {
		if line == "created early/2" {
			t.Error(line)
		}
	}
}

// Who could not be told of is found again, until somebody announces it.
func TestUntold(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(beatOf("a"), 1)
	w.expect("created a/0", "a healthy", "probe a")
	w.f.Untold("a")
	w.f.Untold("nobody")
	w.live(beatOf("a"), 2)
	w.expect("created a/0")
	w.f.Untold("a")
	w.take(w.f.Started(w.now, Start{Agent: "a", Incarnation: 1}))
	w.f.Untold("a")
	w.live(Beat{Agent: "a", Incarnation: 1}, 9)
	for _, line := range w.found {
		if strings.HasPrefix(line, "created") {
			t.Error(line)
		}
	}
}

func TestAnnouncedEndAlarmsNobody(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(beatOf("a"), 12)
	w.found = nil
	b := beatOf("a")
	b.About.Status = Stopping
	w.live(b, 3)
	b.About.Status = Stopped
	w.beat(b)
	w.run(30 * time.Minute)
	w.expect("a unknown")
	w.live(beatOf("a"), 2)
	w.expect("a healthy")
}

func TestHungThoughBeating(t *testing.T) {
	w := newWorld(t, Config{})
	b := beatOf("a")
	b.Progress = 7
	w.live(b, 12)
	w.found = nil
	b.Busy, b.BusyUntil = true, w.now+10*time.Second
	w.live(b, 10)
	w.expect()
	w.live(b, 4)
	w.expect("failed a/0 hung progress", "a unhealthy")
	w.live(b, 5)
	w.expect()
	b.Progress++
	w.beat(b)
	w.expect("recovered a/0", "a healthy")
	w.live(b, 299) // it moved after the time it gave itself: it has time again
	w.expect()
	w.live(b, 4)
	w.expect("failed a/0 hung progress", "a unhealthy")
	b.Busy = false
	w.beat(b)
	w.expect("recovered a/0", "a healthy")
}

// An agent that says that it is stuck is judged at once, and its silence afterwards
// is neither judged again nor learned.
func TestStuck(t *testing.T) {
	w := newWorld(t, Config{})
	b := beatOf("a")
	w.live(b, 12)
	w.found = nil
	stuck := b
	stuck.About.Status, stuck.Detail = Stuck, "Work stands still"
	w.beat(stuck)
	w.expect("failed a/0 hung watchdog", "a unhealthy")
	before, _ := w.f.Agent(w.now, "a")
	w.run(time.Minute)
	w.beat(stuck) // after a reconnect, say
	w.run(10 * time.Minute)
	w.expect()
	w.live(b, 1)
	w.expect("recovered a/0", "a healthy")
	if v, _ := w.f.Agent(w.now, "a"); v.Evidence.Samples != before.Evidence.Samples {
		t.Errorf("%d samples, %d before", v.Evidence.Samples, before.Evidence.Samples)
	}
	w.live(stuck, 1)
	w.expect("failed a/0 hung watchdog", "a unhealthy")
	stuck.About.Status = Stopping
	w.live(stuck, 1)
	w.expect("recovered a/0", "a unknown")
}

// An agent that is busy for long and says so is not hung, nor is one that makes
// progress past its time.
func TestBusyIsNotHung(t *testing.T) {
	w := newWorld(t, Config{})
	b := beatOf("a")
	b.Busy, b.BusyUntil = true, time.Hour
	w.live(b, 100)
	b.BusyUntil = w.now
	for range 100 {
		b.Progress++
		w.live(b, 1)
	}
	w.expect("created a/0", "a healthy", "probe a")
}

func TestMonitorAndUnmonitor(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(beatOf("a"), 3)
	w.found = nil
	if known, found := w.f.Unmonitor(w.now, "a"); !known {
		t.Error("not known")
	} else {
		w.take(found)
	}
	w.run(time.Hour)
	w.live(beatOf("a"), 3)
	w.expect("a unknown")
	w.take(w.f.Monitor(w.now, "a", Monitoring{StartDeadline: 2 * time.Second, Threshold: 7}))
	w.live(beatOf("a"), 20)
	w.expect("a healthy", "probe a")
	if v, _ := w.f.Agent(w.now, "a"); v.Evidence.Threshold != 7 {
		t.Errorf("%+v", v)
	}
	w.take(w.f.Monitor(w.now, "new", Monitoring{StartDeadline: 2 * time.Second}))
	w.live(beatOf("a"), 3)
	w.expect("failed new/0 no_first_heartbeat start_deadline", "new unhealthy")
	if known, _ := w.f.Unmonitor(w.now, "nobody"); known {
		t.Error("nobody is known")
	}
}

// What a detector that starts anew is told by the log.
func TestRestoredKnowledge(t *testing.T) {
	w := newWorld(t, Config{})
	w.take(w.f.Resume(w.now, 5*time.Second))
	about := About{Interval: time.Second}
	w.take(w.f.Started(w.now, Start{Agent: "old", Incarnation: 4, About: about, Age: time.Hour}))
	w.take(w.f.Started(w.now, Start{Agent: "young", Incarnation: 1, About: about, Age: 10 * time.Second}))
	w.take(w.f.Started(w.now, Start{Agent: "wild", About: about, Age: time.Hour, Discovered: true}))
	w.take(w.f.Started(w.now, Start{Agent: "left", About: about, Age: time.Hour, Discovered: true}))
	w.take(w.f.Left(w.now, "left", 0, time.Hour))
	w.take(w.f.Started(w.now, Start{Agent: "exited", Incarnation: 2, About: about, Age: time.Hour}))
	w.take(w.f.Ended(w.now, "exited", 2))
	w.take(w.f.Started(w.now, Start{Agent: "failed", Incarnation: 2, About: about, Age: time.Hour}))
	w.take(w.f.Verdict(w.now, "failed", 2, HeartbeatTimeout, time.Minute))
	w.run(7 * time.Second)
	w.expect("old degraded", "probe old", "wild degraded", "probe wild")
	w.run(22 * time.Second)
	w.expect("failed old/4 heartbeat_timeout missed_beats", "old unhealthy",
		"failed wild/0 heartbeat_timeout missed_beats", "wild unhealthy",
		"failed young/1 heartbeat_timeout start_deadline", "young unhealthy")
	w.beat(Beat{Agent: "failed", Incarnation: 2})
	w.expect("recovered failed/2", "failed healthy")
	w.beat(Beat{Agent: "exited", Incarnation: 2})
	w.expect()
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{
		Suspicion: suspicion.Settings{Algorithm: "magic"}, Threshold: -1, MinSamples: -1, MissedBeats: -1, Interval: -1,
		Overrides: map[string]Override{"a": {Threshold: 1e6}},
	})
	for _, want := range []string{"algorithm", "phi_threshold", "min_samples", "failure_threshold", "heartbeat_interval", "agent a"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not complained about: %v", want, err)
		}
	}
}
