package demo

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// story is a stage on which three agents run, and tells the audience what a
// test wants it to see.
func story(t *testing.T) *stage {
	s := &stage{Options: Options{Timeline: io.Discard}, begin: time.Now(), seen: newObserver()}
	for _, agent := range []string{"a", "b", "c"} {
		s.tell(t, contracts.AgentStarted, agent, contracts.AgentStartedData{Agent: agent, Incarnation: 1, PID: 1})
		s.runs(t, agent, 1)
	}
	return s
}

func (s *stage) tell(t *testing.T, what contracts.EventType, about string, data any) {
	s.seen.see(contracts.NewEvent("test/1", what, about, time.Now()).Data(data).Build())
	if len(s.seen.bad) > 0 {
		t.Fatal(s.seen.bad)
	}
}

func (s *stage) runs(t *testing.T, agent string, incarnation uint64) {
	s.tell(t, contracts.TreeDecided, "main", contracts.DecisionsData{Tree: "main", Effects: []contracts.DecisionEffect{{Kind: "running", Node: agent, Incarnation: incarnation}}})
}

func (s *stage) fails(t *testing.T, agent string, incarnation uint64) {
	s.tell(t, contracts.AgentFailed, agent, contracts.AgentFailedData{Agent: agent, Incarnation: incarnation, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: 1, At: time.Now()}})
}

// TestSuffer: a fault is only said to be healed when everything that its
// strategy demands was seen, and nothing else.
func TestSuffer(t *testing.T) {
	t.Parallel()
	alone := fault{incarnations: 1}
	for name, c := range map[string]struct {
		fault   fault
		happens func(*testing.T, *stage)
		problem string
	}{
		"healed":                        {alone, func(t *testing.T, s *stage) { s.fails(t, "a", 1); s.runs(t, "a", 2) }, ""},
		"nothing is noticed":            {alone, func(*testing.T, *stage) {}, "not found within"},
		"an earlier failure is noticed": {alone, func(t *testing.T, s *stage) { s.fails(t, "a", 0); s.runs(t, "a", 2) }, "not found within"},
		"not restarted":                 {alone, func(t *testing.T, s *stage) { s.fails(t, "a", 1) }, "not running again"},
		"restarted twice":               {alone, func(t *testing.T, s *stage) { s.fails(t, "a", 1); s.runs(t, "a", 3) }, "a is at incarnation 3, not 2"},
		"another restarted": {
			alone, func(t *testing.T, s *stage) { s.fails(t, "a", 1); s.runs(t, "b", 2); s.runs(t, "a", 2) }, "b was restarted though",
		},
		"its group not restarted": {
			fault{incarnations: 1, restarted: []string{"a", "b"}},
			func(t *testing.T, s *stage) { s.fails(t, "a", 1); s.runs(t, "a", 2) }, "not running again",
		},
		"its group restarted": {
			fault{incarnations: 1, restarted: []string{"a", "b"}},
			func(t *testing.T, s *stage) { s.fails(t, "a", 1); s.runs(t, "a", 2); s.runs(t, "b", 2) }, "",
		},
		"not escalated": {fault{escalates: true}, func(t *testing.T, s *stage) { s.fails(t, "a", 1); s.runs(t, "a", 4) }, "not running again"},
		"no task taken from it": {
			fault{reassigns: true}, func(t *testing.T, s *stage) { s.fails(t, "a", 1); s.runs(t, "a", 2) }, "not running again",
		},
		"tasks taken from it": {fault{reassigns: true}, func(t *testing.T, s *stage) {
			s.fails(t, "a", 1)
			s.tell(t, contracts.TaskReassigned, "research", contracts.TaskAssignedData{Task: "t", Agent: "b", PreviousAgent: "a"})
			s.runs(t, "a", 2)
		}, ""},
		"restarted before the fault": {alone, func(t *testing.T, s *stage) {
			s.settled = map[string]uint64{"b": 7}
			s.fails(t, "a", 1)
			s.runs(t, "a", 2)
		}, "b went from incarnation 7 to 1 though nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := story(t)
				<-time.After(time.Second)
				c.fault.victim = "a"
				c.fault.inject = func(s *stage, _ string, _ int) error {
					go func() {
						<-time.After(time.Millisecond)
						c.happens(t, s)
					}()
					return nil
				}
				r, err := s.suffer(t.Context(), c.fault)
				synctest.Wait()
				if err != nil || r.OK != (c.problem == "") || !strings.Contains(r.Problem, c.problem) {
					t.Errorf("ok %t, %q, %v; want %q", r.OK, r.Problem, err, c.problem)
				}
			})
		})
	}
}

// TestDrained: a task that nobody has finished is lost.
func TestDrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := story(t)
		for n := 1; n <= 3; n++ {
			s.tell(t, contracts.TaskAssigned, "research", contracts.TaskAssignedData{Task: taskID(n), Agent: "a"})
		}
		for n := 1; n <= 2; n++ {
			s.tell(t, contracts.TaskCompleted, "research", contracts.TaskResultData{Task: taskID(n)})
		}
		for submitted, lost := range map[int]int{2: 0, 3: 1, 4: 2} {
			var r Report
			s.drained(t.Context(), &r, submitted)
			if r.Tasks.Lost != lost || len(r.Problems) != min(lost, 1) {
				t.Errorf("of %d: %+v, %q", submitted, r.Tasks, r.Problems)
			}
		}
	})
}
