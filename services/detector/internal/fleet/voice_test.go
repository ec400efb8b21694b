package fleet

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// hosted is a runner whose agents do not beat themselves.
type hosted struct {
	*world
	runner Beat
	agents []Beat
	stuck  map[string]bool // agents for which the runner sends nothing
	reach  bool            // the runner answers when it is asked
	due    map[string]Instant
}

func newHosted(t testing.TB, interval time.Duration, names ...string) *hosted {
	h := &hosted{world: newWorld(t, Config{}), runner: runnerBeat("r"), stuck: map[string]bool{}, reach: true, due: map[string]Instant{}}
	for _, name := range names {
		about := About{Interval: interval, Runner: "r"}
		h.agents = append(h.agents, Beat{Agent: name, Incarnation: 1, About: about})
		h.take(h.f.Started(h.now, Start{Agent: name, Incarnation: 1, Spoken: true, About: about}))
	}
	return h
}

// restart starts the runner again, which takes its agents over so much later.
func (h *hosted) restart(later time.Duration) {
	h.runner.Seq, h.due = 0, map[string]Instant{}
	for i := range h.agents {
		h.agents[i].Seq = 0
		h.due[h.agents[i].Agent] = h.now + later
	}
}

// beats reports whether a heartbeat of an agent or the runner is due.
func (h *hosted) beats(name string, interval time.Duration) bool {
	next, began := h.due[name]
	if began && h.now < next {
		return false
	}
	h.due[name] = h.now + interval
	return true
}

// up lets the runner live for so long; it beats for its agents first.
func (h *hosted) up(d time.Duration) {
	for end := h.now + d; h.now < end; {
		for i := range h.agents {
			if b := &h.agents[i]; h.beats(b.Agent, b.About.Interval) && !h.stuck[b.Agent] {
				b.Seq++
				h.beat(*b)
			}
		}
		if h.beats("r", time.Second) {
			h.runner.Seq++
			h.beat(h.runner)
		}
		asked := len(h.found)
		h.run(tick)
		for _, line := range h.found[asked:] {
			for _, b := range h.agents {
				if h.reach && line == "probe "+b.Agent {
					h.take(h.f.AskedRunner(h.now, b.Agent, 1, RunnerRuns))
				}
			}
		}
	}
}

// accused are the agents that were found failed.
func (h *hosted) accused() (agents []string) {
	for _, fd := range h.all {
		if fd.Kind == Failed && fd.Agent != "r" {
			agents = append(agents, fd.Agent)
		}
	}
	return agents
}

// A runner that is away for any time says nothing for its agents, be they one or
// many, and whether it left, was killed or only stood still. They are not
// accused, neither meanwhile nor when it is back.
func TestSilenceOfARunnerIsNotItsAgents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second}).Draw(t, "interval")
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}[:rapid.IntRange(1, 8).Draw(t, "agents")]
		h := newHosted(discard{}, interval, names...)
		h.reach = rapid.Bool().Draw(t, "answers")
		h.up(time.Duration(rapid.IntRange(100, 60_000).Draw(t, "before")) * time.Millisecond)
		for range rapid.IntRange(1, 4).Draw(t, "times") {
			if rapid.Bool().Draw(t, "leaves") {
				b := h.runner
				b.About.Status = Stopped
				h.beat(b)
			}
			h.run(time.Duration(rapid.IntRange(20, 90_000).Draw(t, "away")) * time.Millisecond)
			if rapid.Bool().Draw(t, "starts again") {
				h.restart(time.Duration(rapid.IntRange(0, 100).Draw(t, "later")) * interval / 100)
			}
			h.up(time.Duration(rapid.IntRange(20, 20_000).Draw(t, "there")) * time.Millisecond)
		}
		if got := h.accused(); len(got) > 0 {
			t.Fatalf("accused %q", got)
		}
	})
}

// discard is for worlds inside a rapid check.
type discard struct{ testing.TB }

func (discard) Helper() {}

// An agent that really hangs is found as quickly as one that beats itself, while
// its runner lives; and after its runner's absence, too.
func TestAgentThatHangsIsFoundThoughItsRunnerBeats(t *testing.T) {
	for _, interval := range []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second} {
		h := newHosted(t, interval, "a", "b")
		h.up(100 * interval)
		own := newWorld(t, Config{})
		for range 100 {
			own.beat(Beat{Agent: "a", About: About{Interval: interval}})
			own.run(interval)
		}
		own.run(10 * interval)
		h.stuck["a"] = true
		h.up(10 * interval)
		if got := h.accused(); len(got) != 1 || got[0] != "a" {
			t.Fatalf("%s: accused %q", interval, got)
		}
		alone, hosted := own.last(Failed).Evidence.Elapsed, Evidence{}
		for _, fd := range h.all {
			if fd.Kind == Failed {
				hosted = fd.Evidence
			}
		}
		if hosted.Elapsed > alone+3*tick {
			t.Errorf("%s: found after %s, one that beats itself after %s", interval, hosted.Elapsed, alone)
		}

		h = newHosted(t, interval, "a", "b")
		h.up(100 * interval)
		h.stuck["b"] = true // hangs while the runner is away
		h.run(14 * time.Second)
		h.restart(0)
		h.up(3*interval + 2*time.Second)
		if got := h.accused(); len(got) != 1 || got[0] != "b" {
			t.Errorf("%s: after the absence accused %q", interval, got)
		}
	}
}

// Where the runner does not answer, its own heartbeats tell, a little later.
func TestAgentThatHangsIsFoundByTheRunnersHeartbeats(t *testing.T) {
	h := newHosted(t, 100*time.Millisecond, "a", "b")
	h.reach = false
	h.up(20 * time.Second)
	h.stuck["a"] = true
	h.up(3 * time.Second)
	if got := h.accused(); len(got) != 1 || got[0] != "a" {
		t.Errorf("accused %q", got)
	}
}

// One that was just started is not accused while its runner is away.
func TestFirstHeartbeatWaitsForTheRunner(t *testing.T) {
	h := newHosted(t, time.Second)
	h.up(10 * time.Second)
	h.take(h.f.Started(h.now, Start{Agent: "a", Incarnation: 1, Spoken: true, Deadline: 2 * time.Second, About: About{Interval: time.Second, Runner: "r"}}))
	h.run(30 * time.Second)
	if v, _ := h.f.Agent(h.now, "a"); !v.Waits || v.Failed {
		t.Errorf("%+v", v)
	}
	h.up(10 * time.Second) // it is back, and has nothing to say for it
	if got := h.accused(); len(got) != 1 {
		t.Errorf("accused %q", got)
	}
}
