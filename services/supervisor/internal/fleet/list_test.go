package fleet

import (
	"errors"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestListingContinues: pages continue each other, and one that does not changes
// nothing. From half a list it would follow that the other half is missing.
func TestListingContinues(t *testing.T) {
	t.Parallel()
	page := func(more bool, agents ...string) contracts.RunnerList {
		p := contracts.RunnerList{Runner: "r1", More: more, Term: uint64(len(agents))}
		for _, a := range agents {
			p.Agents = append(p.Agents, contracts.RunnerAgent{Agent: a, Incarnation: 1, State: contracts.AgentRunning})
		}
		return p
	}
	malformed := []error{contracts.ErrRunnerList}
	l := newListing("r1")
	if err := l.Add(page(true, "b", "a"), malformed); err != nil {
		t.Fatal(err) // the order within a page does not matter
	}
	for name, bad := range map[string]struct {
		page     contracts.RunnerList
		rejected []error
	}{
		"the same page again":         {page(true, "a", "b"), nil},
		"the end before":              {page(false, "a"), nil},
		"nothing, and more":           {page(true), nil},
		"nothing valid, and more":     {page(true), malformed},
		"more than a runner may have": {page(false, "c"), make([]error, maxListed-3)},
	} {
		if err := l.Add(bad.page, bad.rejected); !errors.Is(err, contracts.ErrRunnerList) {
			t.Errorf("%s: %v", name, err)
		}
		if l.Read() != 3 || l.Over() || l.Term != 2 || l.after != "b" {
			t.Fatalf("%s has changed the list: %+v", name, l)
		}
	}
	if err := l.Add(page(true, "c", "d", "e"), nil); err != nil || l.Over() {
		t.Fatalf("over: %t, %v", l.Over(), err)
	}
	if err := l.Add(page(false), malformed); err != nil || !l.Over() || l.Read() != 7 || len(l.Agents) != 5 || l.Term != 3 {
		t.Errorf("%+v, %v", l, err)
	}
}
