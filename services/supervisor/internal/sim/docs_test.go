package sim

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManual: docs/simulation.md lists every mutation with what catches it, and
// every invariant.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../../docs/simulation.md")
	if err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(Mutations())
	want[StaleLosses] = []Invariant{DeadFirst} // rare enough to have a scenario of its own
	for _, m := range append(switchedMutants(), mutants()...) {
		want[m.name] = m.by
	}
	_, table, _ := strings.Cut(string(text), "\n## Mutations")
	listed := map[Mutation]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z ]+) \| [^|]+ \| ([a-z, ]+) \|`).FindAllStringSubmatch(table, -1) {
		m := Mutation(row[1])
		if m == "mutation" {
			continue
		}
		listed[m] = true
		var by, expected []string
		for _, i := range strings.Split(row[2], ",") {
			by = append(by, strings.TrimSpace(i))
		}
		for _, i := range want[m] {
			expected = append(expected, string(i))
		}
		slices.Sort(by)
		slices.Sort(expected)
		if !slices.Equal(by, expected) {
			t.Errorf("the page says that %q is caught by %v; it is by %v", m, by, expected)
		}
	}
	for m := range want {
		if !listed[m] {
			t.Errorf("the page does not list the mutation %q", m)
		}
	}
	for _, i := range []Invariant{OneLives, Logged, Growing, Replay, DeadFirst, Prompt, Recovers, Blame, Modes, Alone, Placed, Caused, Applied, Rolls, Current, Kept, Rests} {
		if !strings.Contains(string(text), "| "+string(i)+" |") {
			t.Errorf("the page does not explain the invariant %q", i)
		}
	}
}
