package main

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// What differs is seen, however long the rest is.
func TestContrast(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 50)
	for _, c := range []struct{ from, to, wantFrom, wantTo string }{
		{`["x"]`, `["y"]`, `["x"]`, `["y"]`},
		{`["sh","-c","` + long + `","--model=small"]`, `["sh","-c","` + long + `","--model=large"]`, `… "--model=small"`, `… "--model=large"`},
		{`["` + long + `v1 >> log"]`, `["` + long + `v2 >> log"]`, `…xxxxxxxv1 >> log"`, `…xxxxxxxv2 >> log"`},
		{`["a","` + long + `","b","` + long + `"]`, `["c","` + long + `","d","` + long + `"]`, `"a" … "b" …`, `"c" … "d" …`},
		{`["a","` + long + `"]`, `["a","` + long + `","more"]`, `…`, `… "more"`},
		{`["a","` + long + `"]`, `["sleep"]`, `["a","xxx`, `["sleep"]`},
		{`["a","` + long + `"]`, "-", `["a","xxxxxxxxx`, "-"},
		{`{"zone":"a","` + long + `":""}`, `{"zone":"b","` + long + `":""}`, `{"zone":"a","xxxxx…`, `{"zone":"b","xxxxx…`},
		{`["\u001b` + long + `"]`, `["\u0007` + long + `"]`, `"\u001bxxxxxxxx…`, `"\u0007xxxxxxxx…`},
	} {
		a, b := contrast(c.from, c.to, 40)
		if !strings.HasPrefix(a, c.wantFrom) || b != c.wantTo {
			t.Errorf("%s and %s:\n%s → %s, want\n%s → %s", c.from, c.to, a, b, c.wantFrom, c.wantTo)
		}
	}
}

func FuzzContrast(f *testing.F) {
	f.Add(`["a","b"]`, `["a","c"]`)
	f.Add("\xff", `[""]`)
	f.Fuzz(func(t *testing.T, from, to string) {
		a, b := contrast(from, to, 20)
		if len([]rune(a)) > 20 || len([]rune(b)) > 20 {
			t.Errorf("%q and %q are too long", a, b)
		}
		if shell.OneLine(from) == from && shell.OneLine(a) != a {
			t.Errorf("%q has control characters that %q has not", a, from)
		}
	})
}

// A plan says what a start waits for, and long settings take a line each.
func TestPlannedChanges(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 58)
	for want, c := range map[string]contracts.PlannedChange{
		"added     agent new under root: started after old has ended\n": {
			Node: "new", Kind: "agent", Change: contracts.PlanAdded, To: "root", Then: contracts.WillStart, After: []string{"old"},
		},
		"added     agent new under root: started after a, b, c and others have ended\n": {
			Node: "new", Kind: "agent", Change: contracts.PlanAdded, To: "root", Then: contracts.WillStart, After: []string{"a", "b", "c", "d"},
		},
		"changed   agent a: restarted\n          command: [\"x\"] → [\"y\"]\n": {
			Node: "a", Kind: "agent", Change: contracts.PlanChanged, Then: contracts.WillRestart,
			Fields: []contracts.FieldDiff{{Field: "command", From: `["x"]`, To: `["y"]`}},
		},
		"changed   agent a: restarted\n          command: " + long + " →\n                   -\n": {
			Node: "a", Kind: "agent", Change: contracts.PlanChanged, Then: contracts.WillRestart,
			Fields: []contracts.FieldDiff{{Field: "command", From: long}},
		},
	} {
		if got := planned(c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
