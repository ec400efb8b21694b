package fleet

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

// Whatever happens in whatever order: verdicts alternate with recoveries, no
// incarnation goes back, none gets a verdict after its proven end, bands are
// counted right, and the same inputs give the same findings.
func TestLawsOfFindings(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
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
			statuses := map[uint32]int{}
			for _, name := range f.Names(Filter{}, 100) {
				v, _ := f.Agent(now, name)
				counted[v.Band]++
				count(statuses, f.lookup(name).status, 1)
				if a := f.lookup(name); a.state != ignored && !f.wheel.Has(a.number) {
					t.Fatalf("%s has no deadline: %+v", name, a)
				}
			}
			if counted != f.counts {
				t.Fatalf("bands hold %v, counted %v", counted, f.counts)
			}
			if !maps.Equal(statuses, f.statuses) {
				t.Fatalf("statuses are %v, counted %v", statuses, f.statuses)
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
