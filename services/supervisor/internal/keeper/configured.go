package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// maxToldChanges bounds the names in one system.configuration_changed.
const maxToldChanges = 200

// specs are those of every node that there is.
func (k *Keeper) specs() map[string]*tree.Spec {
	all := make(map[string]*tree.Spec, k.tree.Len())
	for _, id := range k.tree.Names() {
		all[id], _, _ = k.tree.Lookup(id)
	}
	return all
}

// tellConfiguration publishes which nodes the configuration just read adds,
// changes or takes away. A tree's first configuration changes nothing.
func (k *Keeper) tellConfiguration(ctx context.Context, before map[string]*tree.Spec, configured []*tree.Spec) {
	if len(before) == 0 {
		return
	}
	after, wanted := k.specs(), map[string]bool{}
	for _, spec := range configured {
		wanted[spec.ID] = true
	}
	var changed []string
	for id, spec := range after {
		if old := before[id]; old == nil || !sameSpec(old, spec) {
			changed = append(changed, id)
		}
	}
	for id, old := range before {
		if !wanted[id] && !old.Dynamic {
			changed = append(changed, id)
		}
	}
	if len(changed) == 0 {
		return
	}
	slices.Sort(changed)
	changed = slices.Compact(changed)
	k.env.Log.Info("configuration changed", "tree", k.opt.Tree, "nodes", len(changed))
	k.env.Emit(ctx, k.env.Event(contracts.SystemConfigurationChanged, k.env.Service).Data(contracts.SystemConfigurationData{
		Service: k.env.Service, Changed: changed[:min(len(changed), maxToldChanges)],
	}))
}

func sameSpec(a, b *tree.Spec) bool {
	if a == b {
		return true
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
