package tree

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// An agent that goes on waiting for a runner does so without a change, so none
// may show in the tree that the log does not get.
func TestWaitingForARunnerChangesNothing(t *testing.T) {
	tree := New(Options{})
	specs := []*Spec{
		{ID: "root", Supervisor: &Supervisor{Strategy: OneForOne, MaxRestarts: 3, Period: time.Second}},
		{ID: "a", Parent: "root", Rank: 1, Agent: &Agent{Runner: "r1"}},
	}
	tree.Deciding("first")
	tree.Step(&Input{Kind: Configure, Specs: specs, Boot: true}, epoch, nil)
	tree.Changes(nil)
	_, before, _ := tree.Lookup("a")

	tree.Deciding("second")
	tree.Step(&Input{Kind: Runners, Runners: []Runner{{Name: "r2"}}}, epoch+1, nil)
	_, after, _ := tree.Lookup("a")
	if changes := tree.Changes(nil); len(changes) > 0 {
		t.Errorf("%+v", changes)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("changed behind the log's back:\n%s", diff)
	}

	tree.Deciding("third")
	tree.Step(&Input{Kind: Runners, Runners: []Runner{{Name: "r1"}}}, epoch+2, nil)
	if changes := tree.Changes(nil); len(changes) != 1 || changes[0].State.Decision != "third" || changes[0].State.Runner != "r1" {
		t.Errorf("placed: %+v", changes)
	}
}

func TestPlacement(t *testing.T) {
	t.Parallel()
	on := func(r string) func(*Spec) { return func(s *Spec) { s.Agent.Runner = r } }
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 50}),
		agent("a", "root", on(AnyRunner)), agent("b", "root", on(AnyRunner)), agent("c", "root", on(AnyRunner)), agent("d", "root", on("special")))
	if n := b.tree.Unplaced(); n != 4 {
		t.Fatalf("%d wait for a runner, want 4", n)
	}
	b.do(Input{Kind: Runners, Runners: []Runner{{Name: "r2"}, {Name: "r1", Capacity: 1}, {Name: "own", Named: true}}})
	got := []string{b.state("a").Runner, b.state("b").Runner, b.state("c").Runner, b.state("d").Runner}
	if want := []string{"r1", "r2", "r2", ""}; !slices.Equal(got, want) {
		t.Errorf("placed on %v, want %v", got, want)
	}
	b.do(Input{Kind: Runners, Runners: []Runner{{Name: "special", Named: true}, {Name: "r2"}}})
	b.wantPhase("d", Running)
	b.crash("a")
	if r := b.state("a").Runner; r != "r2" {
		t.Errorf("after its runner is gone it is on %q", r)
	}
}
