package rehearsal

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestWatchedAgentsAreNotDown: who is not enforced is not this side's to miss.
func TestWatchedAgentsAreNotDown(t *testing.T) {
	t.Parallel()
	up := &place{is: down, state: &tree.State{Phase: tree.Running}}
	for phase, want := range map[tree.Phase]service{
		tree.Watched: off, tree.Foreign: off, tree.Claiming: waiting, tree.Starting: down, tree.Running: 1,
	} {
		n := &place{agent: true, parent: up, state: &tree.State{Phase: phase, Why: "heartbeat_timeout"}}
		if got := n.agentIs(); got != want {
			t.Errorf("%s is %d, want %d", phase, got, want)
		}
	}
}

// TestShadowRehearsed: a configuration that only watches restarts nothing, and
// is counted by what it would propose.
func TestShadowRehearsed(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForAll, 5, "a", "b"))
	s := newScene(t, specs, crashes("a", 1, 500*time.Millisecond))
	s.play(300 * time.Millisecond)
	up := len(s.log)
	s.play(3 * time.Second)
	got := rehearse(t, s.state(up), Options{Specs: changed(specs, func(s *tree.Spec) {
		if s.ID == "g" {
			shadow := tree.RolloutOf(tree.Shadow)
			s.Mode = &shadow
		}
	})})
	if got.Recorded.Proposals != 0 || got.Recorded.Restarts != 1 || got.Recorded.Starts != 2 {
		t.Errorf("recorded %+v", got.Recorded)
	}
	if got.Rehearsed.Proposals != 2 || got.Rehearsed.Restarts != 0 || got.Rehearsed.Starts != 0 {
		t.Errorf("rehearsed %+v", got.Rehearsed)
	}
}
