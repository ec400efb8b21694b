package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)
	a := contracts.NodeView{Name: "a", Kind: "agent", Status: contracts.NodeRunning, Incarnation: 1, PID: 7}
	a2 := a
	a2.Status, a2.Incarnation, a2.PID, a2.Until = contracts.NodeRestarting, 2, 0, &noon
	b := contracts.NodeView{Name: "b", Kind: "agent", Dynamic: true}
	tree := func(kids ...contracts.NodeView) contracts.NodeView {
		return contracts.NodeView{Name: "root", Kind: "supervisor", Children: []contracts.NodeView{{Name: "g", Kind: "supervisor", Children: kids}}}
	}
	for _, c := range []struct {
		what     string
		from, to contracts.NodeView
		want     []contracts.NodeDiff
		same     int
	}{
		{"nothing", tree(a, b), tree(b, a), nil, 4},
		{"empty", contracts.NodeView{}, contracts.NodeView{}, nil, 0},
		{"changed", tree(a), tree(a2), []contracts.NodeDiff{{Node: "a", Change: contracts.NodeChanged, Fields: []contracts.FieldDiff{
			{Field: "status", From: "running", To: "restarting"},
			{Field: "incarnation", From: "1", To: "2"},
			{Field: "pid", From: "7"},
			{Field: "until", To: "2026-03-01T12:00:00.005Z"},
		}}}, 2},
		{"one goes, one comes", tree(a), tree(b), []contracts.NodeDiff{
			{Node: "a", Change: contracts.NodeRemoved, Fields: []contracts.FieldDiff{
				{Field: "kind", From: "agent"},
				{Field: "status", From: "running"},
				{Field: "incarnation", From: "1"},
				{Field: "pid", From: "7"},
			}},
			{Node: "b", Change: contracts.NodeAdded, Fields: []contracts.FieldDiff{{Field: "kind", To: "agent"}, {Field: "dynamic", To: "true"}}},
		}, 2},
		{"before the tree", contracts.NodeView{}, a, []contracts.NodeDiff{{Node: "a", Change: contracts.NodeAdded, Fields: []contracts.FieldDiff{
			{Field: "kind", To: "agent"}, {Field: "status", To: "running"}, {Field: "incarnation", To: "1"}, {Field: "pid", To: "7"},
		}}}, 0},
	} {
		got, same := Diff(c.from, c.to)
		if len(c.want) == 0 {
			c.want = []contracts.NodeDiff{}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || same != c.same {
			t.Errorf("%s: %d the same, want %d (-want +got):\n%s", c.what, same, c.same, diff)
		}
	}
}
