package fleet

import (
	"fmt"
	"testing"
	"time"
)

// Generations of agents come, live, and leave in each of the ways there are.
// What the fleet holds is bounded by the most that lived at once.
func TestSlotsAreUsedAgain(t *testing.T) {
	w := newWorld(t, Config{ForgetAfter: 30 * time.Second, Overrides: map[string]Override{"g7-3": {Threshold: 6}}})
	const generation = 100
	for g := range 60 {
		names := make([]string, generation)
		for i := range names {
			names[i] = fmt.Sprintf("g%d-%d", g, i)
			if i%2 == 0 {
				w.take(w.f.Started(w.now, Start{Agent: names[i], Incarnation: 1, About: About{Type: fmt.Sprint("type", g), Runner: fmt.Sprint("host", g)}}))
			}
		}
		for beat := range 15 {
			for i, name := range names {
				b := beatOf(name)
				b.Incarnation, b.Seq = uint64(1-i%2), uint64(beat+1)
				b.About.Capabilities = []string{"c", fmt.Sprint(g)}
				if beat == 14 && i%4 == 1 {
					b.About.Status = Stopped
				}
				w.beat(b)
				w.now += 7 * time.Microsecond
			}
			w.run(time.Second)
		}
		for i, name := range names {
			if i%4 == 0 {
				w.take(w.f.Ended(w.now, name, 1))
			}
		}
		w.all, w.found = nil, nil
	}
	w.run(2 * time.Minute)
	f := w.f
	if f.Len() != 0 || f.wheel.Len() != 0 || f.unannounced != 0 || f.proving != 0 || len(f.rules) != 0 || len(f.texts.numbers) != 0 {
		t.Errorf("%d agents, %d deadlines, %d unannounced, %d new, %d rules and %d words are left",
			f.Len(), f.wheel.Len(), f.unannounced, f.proving, len(f.rules), len(f.texts.numbers))
	}
	if n := f.roster.Numbers(); n > 5*generation {
		t.Errorf("%d numbers were given, though never more than %d agents lived", n, 5*generation)
	}
	if n := len(f.texts.words); n > 40 {
		t.Errorf("room for %d words", n)
	}
	if len(f.newcomers) >= 64 {
		t.Errorf("%d newcomers", len(f.newcomers))
	}
}

// What agents say in common is kept as often as it differs, and told as it was.
func TestWordsAreShared(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 50 {
		b := beatOf(fmt.Sprint("a", i))
		b.About.Type, b.About.Capabilities = "coder", []string{"go", "rust"}
		w.beat(b)
	}
	b := beatOf("a7")
	b.About.Type, b.About.Capabilities, b.About.Status = "tester", []string{"go"}, "busy"
	w.beat(b)
	if v, _ := w.f.Agent(w.now, "a7"); v.About.Type != "tester" || fmt.Sprint(v.About.Capabilities) != "[go]" || v.About.Status != "busy" {
		t.Errorf("%+v", v.About)
	}
	if v, _ := w.f.Agent(w.now, "a8"); v.About.Type != "coder" || fmt.Sprint(v.About.Capabilities) != "[go rust]" {
		t.Errorf("%+v", v.About)
	}
	b.About.Type, b.About.Capabilities = "", nil // it says nothing new
	w.beat(b)
	if v, _ := w.f.Agent(w.now, "a7"); v.About.Type != "tester" || len(v.About.Capabilities) != 1 {
		t.Errorf("%+v", v.About)
	}
	b.About.Capabilities = []string{} // it has none any more
	w.beat(b)
	if v, _ := w.f.Agent(w.now, "a7"); v.About.Capabilities != nil {
		t.Errorf("%+v", v.About)
	}
	if n := len(w.f.texts.words); n > 7 {
		t.Errorf("%d words", n)
	}
}

func TestNamesInPages(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 300 {
		b := beatOf(fmt.Sprintf("a%03d", i*7%300))
		if i%3 == 0 {
			b.About.Type = "third"
		}
		w.beat(b)
	}
	healthy, degraded := Healthy, Degraded
	for _, c := range []struct {
		filter Filter
		want   int
	}{{Filter{}, 300}, {Filter{Type: "third"}, 100}, {Filter{Type: "third", Band: &healthy}, 100}, {Filter{Band: &degraded}, 0}, {Filter{After: "a250"}, 49}} {
		seen, filter := 0, c.filter
		for {
			names := w.f.Names(filter, 7)
			for _, name := range names {
				if name <= filter.After {
					t.Fatalf("%q after %q", name, filter.After)
				}
				filter.After = name
			}
			if seen += len(names); len(names) < 7 {
				break
			}
		}
		if seen != c.want {
			t.Errorf("%+v: %d names, want %d", c.filter, seen, c.want)
		}
	}
}
