package plan

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestLongValues: an answer has room for what changes of any file, what differs in it
// still does, and a plan stands for all of it.
func TestLongValues(t *testing.T) {
	t.Parallel()
	file := func(end string) []*tree.Spec {
		specs := []*tree.Spec{sup("root", "")}
		for _, id := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
			specs = append(specs, agent(id, "root", strings.Repeat("x", 120_000)+end))
		}
		return specs
	}
	tr := grow(t, file("1"))
	plan := func(end string) (contracts.ConfigPlan, int) {
		p, _, err := Of(tr.Snapshot(), configure(1, file(end)...), now)
		if err != nil {
			t.Fatal(err)
		}
		body, err := contracts.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		return p, len(body)
	}
	p, bytes := plan("2")
	if bytes > 512<<10 || len(p.Changes) == 0 || len(p.Changes)+p.Others != 26 {
		t.Errorf("%d changes and %d others in %d bytes", len(p.Changes), p.Others, bytes)
	}
	for _, c := range p.Changes {
		if len(c.Fields) != 1 || c.Fields[0].From == c.Fields[0].To {
			t.Errorf("%s: %d fields, and the command differs: %t", c.Node, len(c.Fields), c.Fields[0].From != c.Fields[0].To)
		}
	}
	if q, _ := plan("3"); q.Plan == p.Plan {
		t.Error("another file has the same plan")
	}
}
