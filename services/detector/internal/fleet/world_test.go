package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
		case Conflict:
			w.say("conflict %s %s %s", fd.Agent, fd.Instances[0], fd.Instances[1])
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
