package rehearsal

import (
	"testing"

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
