package router

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/config/lint"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// TestLintTellsTheTruth: what smith config check says of tasks without a taker,
// and of agents without a place, is what the scheduler makes of it.
func TestLintTellsTheTruth(t *testing.T) {
	for file, c := range map[string]struct {
		found []lint.Rule
		// able are the agents for each type of task, the stranger among them.
		able map[string]int
	}{
		"no-taker":           {[]lint.Rule{lint.NoTaker, lint.NoTaker, lint.NoTaker}, map[string]int{"research": 0, "translate": 2, "draw": 0, "stray": 1}},
		"no-taker.ok":        {nil, map[string]int{"research": 2, "translate": 2, "stray": 1}},
		"too-many-agents":    {[]lint.Rule{lint.TooManyAgents}, map[string]int{"worker": 12, "stray": 0}},
		"too-many-agents.ok": {nil, map[string]int{"worker": 12, "stray": 1}},
	} {
		data, err := os.ReadFile("../../internal/config/lint/testdata/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		f, err := config.Parse(file, data)
		if err != nil {
			t.Fatal(err)
		}
		var found []lint.Rule
		for _, w := range lint.Check(f) {
			found = append(found, w.Rule)
		}
		if !slices.Equal(found, c.found) {
			t.Errorf("%s: found %v", file, found)
		}
		now := time.Unix(1e9, 0)
		s := scheduler.New(FromFile(f).Scheduling, now)
		for _, a := range f.Tree.Agents() {
			s.Step(now, scheduler.AgentUp{Agent: a.Name, Incarnation: 1, Type: a.Type, Capabilities: a.Capabilities, Capacity: a.Capacity})
			s.Step(now, scheduler.Beat{Agent: a.Name, Incarnation: 1, Seq: 1, Type: a.Type, Capabilities: a.Capabilities, Capacity: a.Capacity})
		}
		s.Step(now, scheduler.Beat{Agent: "elsewhere", Seq: 1, Type: "stray", Capacity: 1})
		var got []string
		for task, want := range c.able {
			if n := s.Able(task, now); n != want {
				got = append(got, fmt.Sprintf("%s: %d instead of %d", task, n, want))
			}
		}
		if len(got) > 0 {
			t.Errorf("%s: agents able to do %s", file, strings.Join(got, ", "))
		}
	}
}
