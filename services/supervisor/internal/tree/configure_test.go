package tree

import (
	"strings"
	"testing"
)

func TestConfigureMerges(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 5})
	b := newBench(t, root, agent("a", "root"), agent("b", "root"))
	b.do(Input{Kind: Order, Command: CmdAdd, Spec: agent("x", "root")})
	b.took()
	b.do(Input{Kind: Configure, Specs: []*Spec{root, agent("n", "root"), agent("a", "root"), agent("m", "root", func(s *Spec) { s.Restart = Transient })}, Boot: true})
	if got := b.took(); got != "stop b, reply ok, reply ok, remove b, start n, running n, start m, running m" {
		t.Error(got)
	}
	if got := strings.Join(b.tree.Children("root"), " "); got != "n a m x" {
		t.Errorf("order: %s", got)
	}
	if b.state("a").Incarnation != 1 || b.state("x").Incarnation != 1 {
		t.Error("what was there was disturbed")
	}
	b.do(Input{Kind: Order, Command: CmdAdd, Spec: agent("b", "root")})
	if inc := b.state("b").Incarnation; inc != 2 {
		t.Errorf("a node of a removed one's name begins with incarnation %d, want 2", inc)
	}
	for _, bad := range [][]*Spec{
		{},
		{agent("root", "")},
		{root, agent("q", "nobody")},
		{root, agent("q", "root"), agent("q", "root")},
		{root, sup("a", "root", Supervisor{})},
		{sup("other", "", Supervisor{})},
		{root, agent("q", "root", func(s *Spec) { s.Significant, s.Restart = true, Transient })},
	} {
		b.took()
		b.do(Input{Kind: Configure, Specs: bad})
		if got := b.took(); got != "reply invalid" {
			t.Errorf("%v: %s", bad, got)
		}
	}
}

// A tree that cannot be is refused as a whole, with what is wrong with it, and
// changes nothing.
func TestBadTrees(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{MaxRestarts: 3})
	for _, c := range []struct {
		name  string
		specs []*Spec
		want  string
	}{
		{"nothing", nil, "a tree needs a root"},
		{"no root", []*Spec{agent("a", "root")}, `"a": there is no supervisor "root" before it`},
		{"an agent for a root", []*Spec{agent("a", "")}, "one root, a supervisor"},
		{"two roots", []*Spec{root, sup("second", "", Supervisor{})}, "one root, a supervisor"},
		{"a cycle", []*Spec{root, sup("x", "y", Supervisor{}), sup("y", "x", Supervisor{})}, `"x": there is no supervisor "y" before it`},
		{"its own parent", []*Spec{root, sup("x", "x", Supervisor{})}, "a node cannot be its own parent"},
		{"a duplicate", []*Spec{root, agent("a", "root"), agent("a", "root")}, "there is another of that name"},
		{"under an agent", []*Spec{root, agent("a", "root"), agent("b", "a")}, `there is no supervisor "a" before it`},
		{"neither agent nor supervisor", []*Spec{root, {ID: "a", Parent: "root"}}, "either an agent or a supervisor"},
		{"no name", []*Spec{root, agent("", "root")}, "name: missing"},
		{"no strategy", []*Spec{root, {ID: "s", Parent: "root", Supervisor: &Supervisor{}}}, "strategy: "},
		{"an unknown escalation", []*Spec{root, sup("s", "root", Supervisor{Escalation: "perhaps"})}, "escalation: "},
		{"an unknown restart type", []*Spec{root, agent("a", "root", func(s *Spec) { s.Restart = "sometimes" })}, "restart: "},
		{"an unknown backoff", []*Spec{root, agent("a", "root", func(s *Spec) { s.Backoff.Type = "random" })}, "backoff: type: "},
		{"significant for nothing", []*Spec{root, agent("a", "root", func(s *Spec) { s.Restart, s.Significant = Transient, true })}, "auto_shutdown never"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, root, agent("old", "root"))
			b.tree.Changes(nil)
			b.done = nil
			out := b.raw(Input{Kind: Configure, Specs: c.specs})
			if len(out) != 1 || out[0].Result != Invalid || !strings.Contains(out[0].Reason, c.want) {
				t.Errorf("%+v, want %q", out, c.want)
			}
			if b.tree.Dirty() > 0 || !b.tree.Has("old") {
				t.Error("it changed something")
			}
		})
	}
}
