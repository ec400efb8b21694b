package plan

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestUnstated: what counts are the configured agents that are not about to go.
func TestUnstated(t *testing.T) {
	t.Parallel()
	root := sup("root", "")
	for name, c := range map[string]struct {
		specs []*tree.Spec
		then  []tree.Input
		want  string
	}{
		"no tree":          {nil, nil, ""},
		"a root":           {[]*tree.Spec{root}, nil, ""},
		"supervisors":      {[]*tree.Spec{root, sup("group", "root")}, nil, ""},
		"one":              {[]*tree.Spec{root, agent("a", "root", "x")}, nil, "the only agent that the configuration in force has (a);"},
		"below a group":    {[]*tree.Spec{root, sup("group", "root"), agent("a", "group", "x"), agent("b", "root", "x")}, nil, "all 2 agents that the configuration in force has (a, b);"},
		"more than named":  {[]*tree.Spec{root, agent("a", "root", "x"), agent("b", "root", "x"), agent("c", "root", "x"), agent("d", "root", "x")}, nil, "all 4 agents that the configuration in force has (a, b, c and 1 more);"},
		"terminated":       {[]*tree.Spec{root, agent("a", "root", "x")}, []tree.Input{{Kind: tree.Order, Command: tree.CmdTerminate, Node: "a"}}, "the only agent"},
		"added by order":   {[]*tree.Spec{root}, []tree.Input{{Kind: tree.Order, Command: tree.CmdAdd, Spec: agent("a", "root", "x")}}, ""},
		"removed by order": {[]*tree.Spec{root, agent("a", "root", "x")}, []tree.Input{{Kind: tree.Order, Command: tree.CmdRemove, Node: "a"}}, ""},
	} {
		tr := tree.New(tree.Options{})
		if c.specs != nil {
			tr = grow(t, c.specs)
		}
		for _, in := range c.then {
			settle(tr, in)
		}
		if name == "added by order" && !tr.Has("a") {
			t.Fatal("it is not added")
		}
		got := Unstated(tr.Snapshot())
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if got != "" && !strings.Contains(got, `"tree: []"`) {
			t.Errorf("%s: it does not say how to mean it: %q", name, got)
		}
	}
	// Those that a configuration is removing are no loss.
	tr := grow(t, []*tree.Spec{root, agent("a", "root", "x")})
	in := configure(1, root)
	tr.Step(&in, now, nil)
	if got := Unstated(tr.Snapshot()); !tr.Has("a") || got != "" {
		t.Errorf("while a is being removed: %q", got)
	}
}
