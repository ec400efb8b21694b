package plan

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestAlone: of a member of a group that is restarted, the plan says whether a sibling
// that a failure would restart with it is not.
func TestAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		strategy tree.Strategy
		// changed are the agents with another command, and removed those that go; most
		// is how many are restarted at once, 0 for none.
		changed, removed string
		most             int
		want             string
	}{
		{tree.OneForOne, "a", "", 1, ""},
		{tree.Escalate, "a", "", 1, ""},
		{tree.OneForAll, "a", "", 1, "a"},
		{tree.OneForAll, "c", "", 1, "c"},
		{tree.OneForAll, "c", "", 0, ""},
		{tree.OneForAll, "c", "ab", 1, ""},
		{tree.OneForAll, "ac", "", 1, "ac"},
		{tree.OneForAll, "abc", "", 1, ""},
		{tree.RestForOne, "a", "", 1, "a"},
		{tree.RestForOne, "b", "", 1, "b"},
		{tree.RestForOne, "c", "", 1, ""},
		{tree.RestForOne, "ab", "", 1, "ab"},
		{tree.RestForOne, "bc", "", 1, ""},
	} {
		group := sup("g", "root")
		group.Supervisor.Strategy = c.strategy
		before, after := []*tree.Spec{sup("root", ""), group}, []*tree.Spec{sup("root", ""), group}
		for _, id := range []string{"a", "b", "c"} {
			before = append(before, agent(id, "g", "1"))
			switch {
			case strings.Contains(c.changed, id):
				after = append(after, agent(id, "g", "2"))
			case !strings.Contains(c.removed, id):
				after = append(after, agent(id, "g", "1"))
			}
		}
		p, no, err := Of(grow(t, before).Snapshot(), configure(c.most, after...), now)
		if err != nil || len(no) > 0 {
			t.Fatal(err, no)
		}
		got := ""
		for _, change := range p.Changes {
			if change.Alone != "" {
				got += change.Node
			}
			if change.Alone != "" && change.Alone != "g" {
				t.Errorf("%+v: %+v", c, change)
			}
		}
		if got != c.want {
			t.Errorf("%+v: alone are %q", c, got)
		}
	}
}
