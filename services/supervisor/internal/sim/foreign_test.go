package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestCutOffWhileListening: an agent that runs elsewhere is taken up, and its
// supervisor cut off just then, for longer than it listens. It is found, left
// alone, and started when it has gone.
func TestCutOffWhileListening(t *testing.T) {
	t.Parallel()
	shadow, enforce := tree.RolloutOf(tree.Shadow), tree.RolloutOf(tree.Enforce)
	s := Scenario{
		Seed: 1, Supervisors: 1, Runners: 1, MaxChanged: everything, Part: everything, SnapshotEvery: 1000, Calm: 25 * time.Second, Ends: true,
		Specs: []*tree.Spec{
			{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 10, Period: time.Minute}},
			{ID: "a", Parent: "root", Rank: 1, Mode: &shadow, Agent: &tree.Agent{Runner: tree.AnyRunner, Listen: 3 * time.Second}},
		},
		Faults: []Fault{
			{Kind: RunsElsewhere, Node: "a", For: 20 * time.Second},
			{At: 10 * time.Second, Kind: ChangeMode, Node: "a", Mode: &enforce},
			{At: 10*time.Second + 20*time.Millisecond, Kind: CutSupervisor, For: 5 * time.Second},
		},
	}
	var story []string
	r := Run(s, Options{Tell: func(line string) { story = append(story, line) }})
	all := strings.Join(story, "\n")
	if r.Violation != nil || !strings.Contains(all, "foreign a") || !strings.Contains(all, "starts a incarnation 1") {
		t.Errorf("%v\n%s", r.Violation, all)
	}
}
