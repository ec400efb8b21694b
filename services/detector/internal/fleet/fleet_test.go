package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

const tick = 20 * time.Millisecond

// world drives a fleet through time and writes down what it finds.
type world struct {
	t     testing.TB
	f     *Fleet
	now   Instant
	found []string
	all   []Finding
}

func newWorld(t testing.TB, cfg Config) *world {
	t.Helper()
	cfg.Tick = tick
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, f: f, now: time.Second}
	w.take(f.Tick(w.now))
	return w
}

var bandNames = [...]string{"unknown", "healthy", "degraded", "unhealthy"}

func (w *world) take(found []Finding) {
	for _, fd := range found {
		w.all = append(w.all, fd)
		switch fd.Kind {
		case Created:
			w.say("created %s/%d", fd.Agent, fd.Incarnation)
		case Failed:
			w.say("failed %s/%d %s %s", fd.Agent, fd.Incarnation, fd.Reason, fd.Evidence.Rule)
		case Recovered:
			w.say("recovered %s/%d", fd.Agent, fd.Incarnation)
		case BandChanged:
			w.say("%s %s", fd.Agent, bandNames[fd.To])
		case ProbeWanted:
			w.say("probe %s", fd.Agent)
		case Stalled:
			w.say("stalled")
		case Full:
			w.say("full %s", fd.Agent)
		}
	}
}

func (w *world) say(format string, args ...any) {
	w.found = append(w.found, fmt.Sprintf(format, args...))
}

// run lets time pass, tick by tick.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.now = min(w.now+tick, end)
		w.take(w.f.Tick(w.now))
	}
}

func (w *world) beat(b Beat) { w.take(w.f.Beat(w.now, b)) }

// live lets an agent beat n times every second.
func (w *world) live(b Beat, n int) {
	for range n {
		if b.Seq > 0 {
			b.Seq++
		}
		w.beat(b)
		w.run(time.Second)
	}
}

func beatOf(agent string) Beat {
	return Beat{Agent: agent, About: About{Interval: time.Second}}
}

// expect compares the findings since the last time.
func (w *world) expect(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(w.found, "\n")); diff != "" {
		w.t.Errorf("findings (-want +got):\n%s", diff)
	}
	w.found = nil
}

func (w *world) last(k Kind) Finding {
	w.t.Helper()
	for i := len(w.all) - 1; i >= 0; i-- {
		if w.all[i].Kind == k {
			return w.all[i]
		}
	}
	w.t.Fatalf("no finding of kind %d", k)
	return Finding{}
}

func TestDiscoveredAgentThatCeases(t *testing.T) {
	w := newWorld(t, Config{})
	w.live(Beat{Agent: "foo"}, 1) // an empty heartbeat: 5s is assumed
	w.expect("created foo/0", "foo healthy", "probe foo")
	w.run(13 * time.Second)
	w.expect("foo degraded", "probe foo")
	w.run(2 * time.Second)
	w.expect("failed foo/0 heartbeat_timeout missed_beats", "foo unhealthy")
	e := w.last(Failed).Evidence
	if e.Elapsed < 15*time.Second || e.Elapsed > 15*time.Second+2*tick || e.Phi < e.Threshold || !e.Beaten {
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
	if e := w.last(Failed).Evidence; e.Beaten || e.Elapsed < 10*time.Second {
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
	w.live(b, 18) // it moved after the time it gave itself: it has time again
	w.expect()
	w.live(b, 4)
	w.expect("failed a/0 hung progress", "a unhealthy")
	b.Busy = false
	w.beat(b)
	w.expect("recovered a/0", "a healthy")
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
	w.take(w.f.Left(w.now, "left", 0))
	w.take(w.f.Started(w.now, Start{Agent: "exited", Incarnation: 2, About: about, Age: time.Hour}))
	w.take(w.f.Ended(w.now, "exited", 2))
	w.take(w.f.Started(w.now, Start{Agent: "failed", Incarnation: 2, About: about, Age: time.Hour}))
	w.take(w.f.Verdict(w.now, "failed", 2, HeartbeatTimeout, time.Minute))
	w.run(7 * time.Second)
	w.expect("old degraded", "probe old", "wild degraded", "probe wild")
	w.run(22 * time.Second)
	w.expect("failed old/4 heartbeat_timeout missed_beats", "old unhealthy",
		"failed wild/0 heartbeat_timeout missed_beats", "wild unhealthy",
		"failed young/1 no_first_heartbeat start_deadline", "young unhealthy")
	w.beat(Beat{Agent: "failed", Incarnation: 2})
	w.expect("recovered failed/2", "failed healthy")
	w.beat(Beat{Agent: "exited", Incarnation: 2})
	w.expect()
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
	if w.f.Len() != 0 || w.f.wheel.Len() != 0 || len(w.f.free) != 3 {
		t.Errorf("%d agents, %d deadlines left", w.f.Len(), w.f.wheel.Len())
	}
	for b := range bands {
		if n := w.f.Count(b); n != 0 {
			t.Errorf("%d agents in band %d", n, b)
		}
	}
}

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

// Whatever happens in whatever order: verdicts alternate with recoveries, no
// incarnation goes back, none gets a verdict after its proven end, bands are
// counted right, and the same inputs give the same findings.
func TestLawsOfFindings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Tick: tick, MaxAgents: 5, ForgetAfter: 10_000 * time.Hour,
			Suspicion: suspicion.Settings{Algorithm: rapid.SampledFrom([]suspicion.Algorithm{suspicion.Tail, suspicion.Normal, suspicion.Fixed}).Draw(t, "algorithm")},
		}
		f, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		now := Instant(time.Second)
		dead := map[string]bool{}
		ended := map[string]uint64{}
		highest := map[string]uint64{}
		check := func(found []Finding) {
			for _, fd := range found {
				key := fmt.Sprint(fd.Agent, "/", fd.Incarnation)
				if fd.Incarnation > 0 && fd.Incarnation < highest[fd.Agent] {
					t.Fatalf("a finding on %s after incarnation %d", key, highest[fd.Agent])
				}
				highest[fd.Agent] = max(highest[fd.Agent], fd.Incarnation)
				switch fd.Kind {
				case Failed:
					if dead[key] && fd.Incarnation > 0 {
						t.Fatalf("%s failed twice", key)
					}
					if fd.Incarnation > 0 && ended[fd.Agent] >= fd.Incarnation {
						t.Fatalf("%s failed after its proven end", key)
					}
					if fd.Evidence.Phi > suspicion.MaxPhi || fd.Evidence.Phi < 0 {
						t.Fatalf("phi %g", fd.Evidence.Phi)
					}
					dead[key] = true
				case Recovered:
					if !dead[key] {
						t.Fatalf("%s recovered, but had not failed", key)
					}
					dead[key] = false
				}
			}
		}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "agent")
			inc := uint64(rapid.IntRange(0, 3).Draw(t, "incarnation"))
			switch rapid.IntRange(0, 11).Draw(t, "step") {
			case 0, 1, 2, 3:
				b := Beat{Agent: id, Incarnation: inc, Seq: uint64(rapid.IntRange(0, 4).Draw(t, "seq"))}
				b.About.Interval = rapid.SampledFrom([]time.Duration{0, time.Second, time.Millisecond, time.Hour}).Draw(t, "interval")
				b.About.Status = rapid.SampledFrom([]Status{"", "", "", Stopping, Stopped}).Draw(t, "status")
				b.Busy = rapid.Bool().Draw(t, "busy")
				b.BusyUntil = now - 10*time.Second
				check(f.Beat(now, b))
			case 4, 5, 6:
				for range rapid.IntRange(1, 400).Draw(t, "ticks") {
					now += tick
					check(f.Tick(now))
				}
			case 7:
				now += time.Duration(rapid.IntRange(0, 3600).Draw(t, "stall")) * time.Second
				check(f.Tick(now))
			case 8:
				check(f.Started(now, Start{Agent: id, Incarnation: inc, Deadline: time.Second}))
			case 9:
				if inc > 0 {
					check(f.Ended(now, id, inc))
					ended[id] = max(ended[id], inc)
				}
			case 10:
				check(f.Suspend(now))
				now += time.Minute
				check(f.Resume(now, time.Second))
			case 11:
				check(f.Probed(now, now, id, inc, Answer(rapid.IntRange(0, 2).Draw(t, "answer"))))
			}
			var counted [bands]int
			for _, name := range f.Names("") {
				v, _ := f.Agent(now, name)
				counted[v.Band]++
			}
			if counted != f.counts {
				t.Fatalf("bands hold %v, counted %v", counted, f.counts)
			}
		}
	})
}

func BenchmarkBeat(b *testing.B) {
	f, err := New(Config{MaxAgents: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	const agents = 100_000
	ids := make([]string, agents)
	for i := range ids {
		ids[i] = fmt.Sprintf("agent-%06d", i)
	}
	now := Instant(0)
	b.ResetTimer()
	for i := range b.N {
		f.Beat(now, beatOf(ids[i%agents]))
		if now += time.Second / agents; i%2000 == 0 {
			f.Tick(now)
		}
	}
}
