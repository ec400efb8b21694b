package rehearsal

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
	"github.com/mistersmith/mistersmith/services/detector/internal/tape"
)

// life is one agent's beats every second, but for pauses at the given beats.
func life(agent string, beats int, pauses map[int]time.Duration) []tape.Entry {
	var out []tape.Entry
	at := time.Minute
	for n := range beats {
		at += time.Second + pauses[n]
		out = append(out, tape.Entry{Kind: tape.Beat, At: at, Agent: agent, Seq: uint64(n + 1), Interval: time.Second})
	}
	return out
}

func run(t *testing.T, entries []tape.Entry, rules fleet.Config) Report {
	t.Helper()
	r, err := Run(entries, rules)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Run(entries, rules)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("the same tape and settings gave another report: %v", err)
	}
	return r
}

func fixed(missed float64) fleet.Config {
	return fleet.Config{Suspicion: suspicion.Settings{Algorithm: suspicion.Fixed}, Threshold: missed}
}

func TestRehearsal(t *testing.T) {
	entries := life("a", 300, map[int]time.Duration{100: 2500 * time.Millisecond, 200: 10 * time.Second})
	silent := tape.Entry{Kind: tape.Resumed, At: entries[299].At + 30*time.Second}
	entries = append(entries, silent)
	for _, c := range []struct {
		missed             float64
		verdicts, mistakes int
		mistaken           time.Duration
		found              time.Duration
	}{
		{3, 3, 2, 500*time.Millisecond + 8*time.Second, 3 * time.Second},
		{5, 2, 1, 6 * time.Second, 5 * time.Second},
		{12, 1, 0, 0, 12 * time.Second},
		{40, 0, 0, 0, 0},
	} {
		t.Run(fmt.Sprint(c.missed), func(t *testing.T) {
			r := run(t, entries, fixed(c.missed))
			if r.Verdicts != c.verdicts || r.Mistakes != c.mistakes || (r.Mistaken-c.mistaken).Abs() > 2*DefaultTick*time.Duration(c.mistakes) {
				t.Errorf("%d verdicts, %d mistakes for %s; want %+v", r.Verdicts, r.Mistakes, r.Mistaken, c)
			}
			switch {
			case c.found == 0 && len(r.Found) == 0:
			case len(r.Found) != 1 || (r.Found[0]-c.found).Abs() > 2*DefaultTick:
				t.Errorf("found after %v, want %s", r.Found, c.found)
			}
			if r.Detection != c.missed || r.Worst != c.missed || r.Beats != 300 || len(r.Agents) != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The detector's own troubles are replayed as such.
func TestOwnTroublesAreNobodysSilence(t *testing.T) {
	stalled := life("a", 100, map[int]time.Duration{50: 20 * time.Second})
	trouble := tape.Entry{Kind: tape.Stalled, At: stalled[50].At, For: 20 * time.Second}
	stalled = append(stalled[:51:51], append([]tape.Entry{trouble}, stalled[51:]...)...)
	if r := run(t, stalled, fleet.Config{}); r.Verdicts != 0 {
		t.Errorf("stalled: %+v", r)
	}
	deaf := life("a", 100, map[int]time.Duration{50: 20 * time.Second})
	deaf = append(deaf[:50:50], append([]tape.Entry{
		{Kind: tape.Suspended, At: deaf[49].At + time.Second},
		{Kind: tape.Resumed, At: deaf[50].At - time.Second, For: 5 * time.Second},
	}, deaf[50:]...)...)
	if r := run(t, deaf, fleet.Config{}); r.Verdicts != 0 {
		t.Errorf("deaf: %+v", r)
	}
}

func TestStartsAndEnds(t *testing.T) {
	entries := []tape.Entry{
		{Kind: tape.Started, At: time.Minute, Agent: "mute", Incarnation: 1, For: 10 * time.Second},
		{Kind: tape.Started, At: time.Minute, Agent: "ends", Incarnation: 1, For: 10 * time.Second},
		{Kind: tape.Beat, At: time.Minute + time.Second, Agent: "ends", Incarnation: 1, Interval: time.Second},
		{Kind: tape.Ended, At: time.Minute + 2*time.Second, Agent: "ends", Incarnation: 1},
		{Kind: tape.Beat, At: time.Minute + 3*time.Second, Agent: "leaves", Interval: time.Second, Leaving: true},
		{Kind: tape.Resumed, At: 2 * time.Minute},
	}
	r := run(t, entries, fleet.Config{})
	if r.Verdicts != 1 || len(r.Agents) != 3 || r.Agents[2].Name != "mute" || r.Agents[2].Verdicts != 1 {
		t.Errorf("%+v", r)
	}
}

// Better evidence finds deaths sooner with as few mistakes.
func TestAlgorithmsCompared(t *testing.T) {
	entries := life("a", 3000, map[int]time.Duration{})
	tail := run(t, entries, fleet.Config{})
	slow := run(t, entries, fixed(3))
	if tail.Median > 2 || slow.Median != 3 || tail.Mistakes+slow.Mistakes > 0 || tail.DetectionTime > slow.DetectionTime {
		t.Errorf("tail %.2f, fixed %.2f", tail.Median, slow.Median)
	}
}

func TestBadTapes(t *testing.T) {
	if _, err := Run([]tape.Entry{{At: 2}, {At: 1}}, fleet.Config{}); !errors.Is(err, ErrOrder) {
		t.Error(err)
	}
	if _, err := Run(nil, fleet.Config{Threshold: -1}); err == nil {
		t.Error("impossible settings are taken")
	}
	if r, err := Run(nil, fleet.Config{}); err != nil || r.Beats != 0 || r.PerDay() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Whatever is on a tape, it can be replayed.
func FuzzRun(f *testing.F) {
	f.Add([]byte{1, 0, 1, 5, 2, 1, 3, 3, 4, 9, 5, 200, 6, 1, 1, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		var entries []tape.Entry
		at := time.Duration(0)
		for i := 0; i+1 < len(script) && i < 200; i += 2 {
			kind, x := script[i], script[i+1]
			at += time.Duration(x) * 10 * time.Millisecond
			entries = append(entries, tape.Entry{
				Kind: tape.Kind(kind % 8), At: at, Agent: []string{"a", "b", ""}[x%3], Incarnation: uint64(x % 4), Seq: uint64(i),
				Interval: time.Duration(x%5) * 100 * time.Millisecond, For: time.Duration(x) * time.Second, Leaving: x%7 == 0,
			})
		}
		r, err := Run(entries, fleet.Config{})
		if err != nil || r.Mistakes > r.Verdicts || r.Mistaken < 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	})
}
