package keeper

import (
	"cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/diagnosis"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func (k *Keeper) view(id string, deep bool) (contracts.NodeView, bool) {
	return View(k.tree, id, deep, k.now())
}

// View describes a node as operators see it now, and with deep everything below it.
func View(t *tree.Tree, id string, deep bool, now tree.Instant) (contracts.NodeView, bool) {
	return viewer{t, diagnosis.NewReader(t), now}.view(id, deep)
}

// viewer describes the nodes of a tree that does not change meanwhile.
type viewer struct {
	tree   *tree.Tree
	states *diagnosis.Reader
	now    tree.Instant
}

func (w viewer) view(id string, deep bool) (contracts.NodeView, bool) {
	t := w.tree
	spec, st, ok := t.Lookup(id)
	if !ok {
		return contracts.NodeView{}, false
	}
	is := w.states.Brief(spec, st)
	v := contracts.NodeView{
		Name: id, Kind: "agent", Parent: spec.Parent, Status: is.Status, Reason: is.Reason, Until: is.Until,
		Restart: string(cmp.Or(spec.Restart, tree.Permanent)), Incarnation: st.Incarnation,
		Restarts: int(st.Restarts), LastRestart: st.LastRestart.Optional(), Dynamic: spec.Dynamic,
	}
	if spec.Supervisor != nil {
		v.Kind, v.Strategy = "supervisor", string(spec.Supervisor.Strategy)
	} else {
		v.Type, v.Runner, v.PID = reference.Command(spec.Agent.Start).Type, st.Runner, st.PID
	}
	if !st.Phase.Up() {
		v.PID = 0
	}
	v.Outdated, v.KeptDown = t.Outdated(id), t.KeptDown(id)
	v.Orders, v.Scaled = diagnosis.Standing(id, &st), diagnosis.Scaled(&st)
	if m, ok := t.Misplaced(id); ok {
		v.Lacks = m.Lacks
	}
	if u, ok := diagnosis.Unsteady(t, id, w.now); ok {
		v.Unsteady = &u
	}
	viewMode(t, &v, st)
	if !deep {
		_, restarts := t.History(id)
		for _, r := range restarts {
			v.History = append(v.History, contracts.RestartEntry{At: r.At.Time(), Reason: r.Reason})
		}
	}
	for _, c := range t.Children(id) {
		child, _ := w.view(c, deep)
		if !deep {
			child.Children = nil
		}
		v.Children = append(v.Children, child)
	}
	return v, true
}
