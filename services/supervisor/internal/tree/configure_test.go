package tree

import (
	"strings"
	"testing"
)

func TestConfigureMerges(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 5})
	b := newBench(t, root, agent("a", "root"), agent("b", "root"))
	b.do(Input{Kind: Order, Command: Add, Spec: agent("x", "root")})
	b.took()
	b.do(Input{Kind: Configure, Specs: []*Spec{root, agent("n", "root"), agent("a", "root"), agent("m", "root", func(s *Spec) { s.Restart = Transient })}, Boot: true})
	if got := b.took(); got != "stop b, start n, start m, reply ok, reply ok, remove b, running n, running m" {
		t.Error(got)
	}
	if got := strings.Join(b.tree.Children("root"), " "); got != "n a m x" {
		t.Errorf("order: %s", got)
	}
	if b.state("a").Incarnation != 1 || b.state("x").Incarnation != 1 {
		t.Error("what was there was disturbed")
	}
	b.do(Input{Kind: Order, Command: Add, Spec: agent("b", "root")})
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
