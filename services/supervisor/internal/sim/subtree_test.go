package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestSlowSubtreeDelaysNobody: while one subtree is in a group restart that
// cannot go on, since its runner is cut off for ten seconds, an agent of
// another subtree that exits runs again within milliseconds.
func TestSlowSubtreeDelaysNobody(t *testing.T) {
	t.Parallel()
	sup := func(id, parent string, s tree.Strategy) *tree.Spec {
		return &tree.Spec{ID: id, Parent: parent, Rank: int64(len(id)), Supervisor: &tree.Supervisor{Strategy: s, MaxRestarts: 10, Period: time.Minute}}
	}
	agent := func(id, parent, runner string, rank int64) *tree.Spec {
		return &tree.Spec{ID: id, Parent: parent, Rank: rank, ShutdownTimeout: 3 * time.Second, Agent: &tree.Agent{Runner: runner}}
	}
	s := Scenario{
		Seed: 1, Supervisors: 1, Runners: 2, MaxChanged: everything, Part: everything, SnapshotEvery: 1000, Calm: 30 * time.Second,
		Specs: []*tree.Spec{
			sup("root", "", tree.OneForOne), sup("slow", "root", tree.OneForAll), sup("quick", "root", tree.OneForOne),
			agent("slow-1", "slow", runnerName(0), 1), agent("slow-2", "slow", runnerName(0), 2), agent("quick-1", "quick", runnerName(1), 1),
		},
		Faults: []Fault{
			{At: 10 * time.Second, Kind: AgentExits, Node: "slow-1"},
			{At: 10*time.Second + 10*time.Millisecond, Kind: CutRunner, Of: 0, For: 10 * time.Second},
			{At: 15 * time.Second, Kind: AgentExits, Node: "quick-1"},
		},
	}
	when := map[string]float64{}
	r := Run(s, Options{Tell: func(line string) {
		for _, what := range []string{"starts quick-1 incarnation 2", "starts slow-1 incarnation 2"} {
			if strings.HasSuffix(line, what) {
				var at float64
				if _, err := fmt.Sscanf(strings.TrimSpace(line), "%fs", &at); err != nil {
					t.Errorf("%q: %v", line, err)
				}
				when[what] = at
			}
		}
	}})
	if r.Violation != nil {
		t.Fatal(r.Violation)
	}
	if at := when["starts slow-1 incarnation 2"]; at < 20 {
		t.Errorf("the slow subtree came back after %gs: it was not slow", at)
	}
	if at := when["starts quick-1 incarnation 2"]; at < 15 || at > 15.05 {
		t.Errorf("the quick agent ended after 15s and started after %gs", at)
	}
}

// endlessStop: an agent's end becomes known by its exit while the stop of it is
// still being sent to a host that is gone. Its next start, elsewhere, does not
// wait for that stop.
func endlessStop() Scenario {
	agent := func(id string, rank int64) *tree.Spec {
		return &tree.Spec{ID: id, Parent: "root", Rank: rank, ShutdownTimeout: time.Second, Agent: &tree.Agent{Runner: tree.AnyRunner}}
	}
	return Scenario{
		Seed: 1, Supervisors: 1, Runners: 2, MaxChanged: 1, Part: everything, SnapshotEvery: 1000, Calm: 25 * time.Second,
		Specs: []*tree.Spec{
			{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForAll, MaxRestarts: 10, Period: time.Minute}},
			agent("a", 1), agent("b", 2),
		},
		Faults: []Fault{
			{At: 10 * time.Second, Kind: CutSupervisor, For: 10 * time.Second},
			{At: 11 * time.Second, Kind: AgentExits, Node: "a"},
			{At: 11*time.Second + 100*time.Millisecond, Kind: AgentExits, Node: "b"},
			{At: 12 * time.Second, Kind: LoseHost, Of: 1},
		},
	}
}

func TestEndlessStop(t *testing.T) {
	t.Parallel()
	var story []string
	if r := Run(endlessStop(), Options{Tell: func(line string) { story = append(story, line) }}); r.Violation != nil {
		t.Errorf("%v\n%s", r.Violation, strings.Join(story, "\n"))
	}
}

// lateStart: whoever leads decides on a start and stands still before it is sent. The
// log loses that. A successor that numbers its decisions just so takes over, and then
// the start is sent.
func lateStart() Scenario {
	return Scenario{
		Seed: 1, Supervisors: 2, Runners: 1, MaxChanged: 10, Part: everything, SnapshotEvery: 1000, Calm: 25 * time.Second,
		Specs: []*tree.Spec{
			{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 100, Period: time.Minute}},
			{ID: "w-1", Parent: "root", Rank: 1, Template: "w", Index: 1, Instances: 1, ShutdownTimeout: time.Second, Agent: &tree.Agent{Runner: tree.AnyRunner}},
		},
		Faults: []Fault{
			{At: 10 * time.Second, Kind: PauseSupervisor, Of: 1, Point: AfterAppend, For: 10 * time.Second},
			{At: 10*time.Second + 100*time.Millisecond, Kind: Operator, Command: tree.CmdScale, Node: "w", Count: 2},
			{At: 10*time.Second + 400*time.Millisecond, Kind: RollBackLog, For: time.Second},
		},
	}
}

func TestLateStart(t *testing.T) {
	t.Parallel()
	var story []string
	if r := Run(lateStart(), Options{Tell: func(line string) { story = append(story, line) }}); r.Violation != nil {
		t.Errorf("%v\n%s", r.Violation, strings.Join(story, "\n"))
	}
	for _, line := range []string{"loses 1 of", "goes on with what it knew", "orders start of w-2 incarnation 1"} {
		if !strings.Contains(strings.Join(story, "\n"), line) {
			t.Errorf("it does not happen: %s\n%s", line, strings.Join(story, "\n"))
		}
	}
}

// lostReport: a start fails while whoever leads stands still, which then reports that,
// and is cut off before the report comes back. The log loses it.
func lostReport(seed uint64) Scenario {
	agent := func(id string, rank int64) *tree.Spec {
		return &tree.Spec{ID: id, Parent: "root", Rank: rank, ShutdownTimeout: time.Second, Agent: &tree.Agent{Runner: tree.AnyRunner}}
	}
	return Scenario{
		Seed: seed, Supervisors: 1, Runners: 1, MaxChanged: everything, Part: everything, SnapshotEvery: 1000, Calm: 20 * time.Second, Flaky: 100,
		Specs: []*tree.Spec{
			{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 100, Period: time.Minute}},
			agent("a", 1), agent("b", 2),
		},
		Faults: []Fault{
			{At: 9990 * time.Millisecond, Kind: AgentExits, Node: "a"},
			{At: 10 * time.Second, Kind: PauseSupervisor, For: 2 * time.Second},
			{At: 11900 * time.Millisecond, Kind: AgentExits, Node: "b"},
			{At: 11950 * time.Millisecond, Kind: PauseSupervisor, Point: BeforeAppend, For: 2 * time.Second},
			{At: 13500 * time.Millisecond, Kind: CutSupervisor, For: 4 * time.Second},
			{At: 15 * time.Second, Kind: RollBackLog, For: 4 * time.Second},
		},
	}
}

// TestLostReport: some of the seeds have the log lose events that were read, others the
// report only.
func TestLostReport(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		if r := Run(lostReport(seed), Options{}); r.Violation != nil {
			t.Fatalf("seed %d: %v", seed, r.Violation)
		}
	}
}

// TestStaleLosses: a host boots while the supervisor that decides stands still.
// Its successor starts the agents anew there, and then it takes them for lost with
// the boot. Its reports are on their way for long.
func TestStaleLosses(t *testing.T) {
	t.Parallel()
	scenario := func(seed uint64) Scenario {
		s := Scenario{
			Seed: seed, Supervisors: 2, Runners: 1, MaxChanged: 10, Part: everything, SnapshotEvery: 1000, Calm: 25 * time.Second,
			Late: 30, Delay: 5 * time.Second,
			Specs: []*tree.Spec{
				{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 100, Period: time.Minute}},
				{ID: "a", Parent: "root", Rank: 1, ShutdownTimeout: time.Second, Agent: &tree.Agent{Runner: tree.AnyRunner}},
			},
		}
		// Its start is under way when the host goes, and no record has it.
		s.Faults = append(s.Faults, Fault{At: 9990 * time.Millisecond, Kind: AgentExits, Node: "a"})
		s.Faults = append(s.Faults, Fault{At: 10 * time.Second, Kind: RebootHost, For: 800 * time.Millisecond})
		for i := range 2 {
			s.Faults = append(s.Faults, Fault{
				At: 10500*time.Millisecond + time.Duration(seed%30)*50*time.Millisecond, Kind: PauseSupervisor, Of: i, Point: Anywhere,
				For: time.Second + time.Duration(seed%80)*50*time.Millisecond,
			})
		}
		return s
	}
	const runs = 1500
	caught := 0
	for seed := range uint64(runs) {
		if r := Run(scenario(seed), Options{}); r.Violation != nil {
			var story []string
			Run(scenario(seed), Options{Tell: func(line string) { story = append(story, line) }})
			t.Fatalf("seed %d: %v\n%s", seed, r.Violation, strings.Join(story, "\n"))
		}
		if r := Run(scenario(seed), Options{Break: StaleLosses, Only: DeadFirst}); r.Violation != nil {
			caught++
		}
	}
	t.Logf("the mutation is caught in %d of %d runs", caught, runs)
	if caught == 0 {
		t.Errorf("the mutation %q is not caught", StaleLosses)
	}
}
