package tape

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

func beat(agent string, at time.Duration) Entry { return Entry{Kind: Beat, Agent: agent, At: at} }

// Whoever reads on and on gets every entry about his agents once and in order,
// or is told how many he missed.
func TestReadingOn(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		tape := New(size)
		added, got := 0, 0
		var cursor, lost uint64
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			for range rapid.IntRange(0, 25).Draw(t, "entries") {
				added++
				tape.Add(beat("a", time.Duration(added)))
			}
			first := cursor == 0
			p := tape.Read(cursor, nil, rapid.IntRange(1, 30).Draw(t, "limit"))
			if first && len(p.Numbers) > 0 {
				lost = p.Numbers[0] - 1
			}
			lost += p.Lost
			cursor = p.Next
			for i, e := range p.Entries {
				got++
				if uint64(e.At) != p.Numbers[i] || p.Numbers[i] != lost+uint64(got) {
					t.Fatalf("entry %d numbered %d, after %d read and %d lost", e.At, p.Numbers[i], got, lost)
				}
			}
		}
		if tape.Len() > size {
			t.Fatalf("%d entries kept of %d", tape.Len(), size)
		}
	})
}

func TestReadSelects(t *testing.T) {
	var tape Tape
	for i := range 6 {
		tape.Add(beat([]string{"a", "b", ""}[i%3], time.Duration(i)))
	}
	p := tape.Read(0, []string{"a"}, 100)
	var at []time.Duration
	for _, e := range p.Entries {
		at = append(at, e.At)
	}
	if !slices.Equal(at, []time.Duration{0, 2, 3, 5}) || p.Next != 6 {
		t.Errorf("%v, next %d", at, p.Next)
	}
	if p := tape.Read(99, nil, 100); len(p.Entries) != 6 {
		t.Errorf("a cursor of another tape gives %d entries", len(p.Entries))
	}
}

func TestGaps(t *testing.T) {
	tape := New(100)
	for i := range 300 {
		tape.Add(beat("a", time.Duration(i)*time.Second))
	}
	if g := tape.Gaps("a", 1000); len(g) != 99 || g[0] != time.Second {
		t.Errorf("%d gaps, first %v", len(g), g[:1])
	}
	tape.Add(Entry{Kind: Stalled, At: 305 * time.Second, For: 5 * time.Second})
	tape.Add(beat("a", 306*time.Second))
	tape.Add(beat("b", 307*time.Second))
	tape.Add(beat("a", 309*time.Second))
	next := beat("a", 330*time.Second)
	next.Incarnation = 2
	tape.Add(next)
	if g := tape.Gaps("a", 2); !slices.Equal(g, []time.Duration{time.Second, 3 * time.Second}) {
		t.Errorf("%v", g)
	}
	if g := new(Tape).Gaps("a", 2); len(g) != 0 {
		t.Errorf("%v of an empty tape", g)
	}
}
