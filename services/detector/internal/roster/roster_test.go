package roster

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// The roster against a map.
func TestAgainstAModel(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		r := New()
		model := map[string]uint32{}
		taken := map[uint32]string{}
		names := rapid.SampledFrom([]string{"", "a", "agent-7", strings.Repeat("x", 64), strings.Repeat("y", MaxName)})
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			name := fmt.Sprint(names.Draw(t, "name"), rapid.IntRange(0, 60).Draw(t, "suffix"))
			name = name[max(0, len(name)-MaxName):]
			number, known := r.Find(name)
			if want, in := model[name]; known != in || known && number != want {
				t.Fatalf("%q: found %d, %v; want %d, %v", name, number, known, want, in)
			}
			if guess, ok := r.Guess(name); ok != known || guess != number {
				t.Fatalf("%q: guessed %d, %v; is %d, %v", name, guess, ok, number, known)
			}
			switch {
			case !known:
				number = r.Add(name)
				if other, twice := taken[number]; twice {
					t.Fatalf("%q and %q both have number %d", name, other, number)
				}
				model[name], taken[number] = number, name
			case rapid.Bool().Draw(t, "remove"):
				r.Remove(number)
				delete(model, name)
				delete(taken, number)
				if r.Name(number) != "" || r.View(number) != nil {
					t.Fatalf("number %d still has a name", number)
				}
			}
			if r.Len() != len(model) {
				t.Fatalf("%d names, want %d", r.Len(), len(model))
			}
		}
		for name, number := range model {
			if got, known := r.Find(name); !known || got != number || r.Name(number) != name || string(r.View(number)) != name {
				t.Fatalf("%q: found %d %v, named %q", name, got, known, r.Name(number))
			}
		}
	})
}

// Numbers of names that left are given again, so that whoever keeps something
// per number needs no more memory than for the most names there ever were.
func TestNumbersAreUsedAgain(t *testing.T) {
	r := New()
	for generation := range 50 {
		var numbers []uint32
		for i := range 1000 {
			numbers = append(numbers, r.Add(fmt.Sprint("agent-", generation, "-", i)))
		}
		for _, n := range numbers {
			r.Remove(n)
		}
	}
	if r.Numbers() != 1000 || r.Len() != 0 || len(r.slots) != 2048 {
		t.Errorf("%d numbers, %d names, %d slots", r.Numbers(), r.Len(), len(r.slots))
	}
}

func BenchmarkFind(b *testing.B) {
	r := New()
	names := make([]string, 1_000_000)
	for i := range names {
		names[i] = fmt.Sprintf("agent-%07d", i)
		r.Add(names[i])
	}
	k := 0
	for b.Loop() {
		k = (k + 7919*13) % len(names)
		if _, known := r.Find(names[k]); !known {
			b.Fatal(names[k])
		}
	}
}
