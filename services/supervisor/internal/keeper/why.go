package keeper

import (
	"context"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/diagnosis"
)

// maxNearest is how many names are offered for one that there is not.
const maxNearest = 3

// serveWhy explains the state of a node.
func (k *Keeper) serveWhy(ctx context.Context, req contracts.NodeRequest) (contracts.Diagnosis, error) {
	if err := validID("node", req.Node); err != nil {
		return contracts.Diagnosis{}, err
	}
	var d contracts.Diagnosis
	found := false
	var names []string
	err := k.ask(ctx, func() {
		if d, found = diagnosis.Of(k.tree, req.Node, k.runnerViews(), time.Now()); !found {
			names = k.tree.Names()
			return
		}
		d.Node, _ = k.view(req.Node, false)
		d.Node.Children = nil
	})
	if err == nil && !found {
		// Outside the loop: a fleet has many names.
		err = shell.Errorf(contracts.CodeNotFound, "tree %s has no node %s%s", k.opt.Tree, req.Node, nearest(req.Node, names))
	}
	d.Tree, d.Supervisor = k.opt.Tree, k.env.Instance
	return d, err
}

// nearest offers names like one that there is not.
func nearest(name string, names []string) string {
	near := config.Nearest(name, names, maxNearest)
	if len(near) == 0 {
		return ""
	}
	return "; the nearest names are " + strings.Join(near, ", ")
}
