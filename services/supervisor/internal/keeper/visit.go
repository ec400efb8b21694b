package keeper

import (
	"context"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// visited is a runner that has nothing any more that the tree does not want.
type visited struct {
	runner string
	visit  uint64
}

// visit makes a runner that is there again stop what the tree no longer wants
// of it: what was given up meanwhile may have lived on. Until that is done it
// takes no starts.
func (k *Keeper) visit(ctx context.Context, runner string, visit uint64) {
	k.visits.Go(func() {
		const first, most = 20 * time.Millisecond, time.Second
		for wait := first; ctx.Err() == nil; wait = min(2*wait, most) {
			done, err := k.tidy(ctx, runner, visit)
			if done {
				select {
				case k.admit <- visited{runner, visit}:
				case <-ctx.Done():
				}
				return
			}
			if err == nil {
				return
			}
			k.env.Log.Debug("runner not visited yet", "tree", k.opt.Tree, "runner", runner, "error", err)
			t := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
	})
}

// tidy compares what a runner has with the tree, and has it stop what is stale.
// It is neither done nor has an error when a later visit has taken its place.
func (k *Keeper) tidy(ctx context.Context, runner string, visit uint64) (done bool, err error) {
	list, err := k.commands.List(ctx, runner)
	var stale []fleet.Stale
	current := true
	if asked := k.ask(ctx, func() {
		current = k.registry.Visiting(runner, visit)
		for _, a := range list.Agents {
			// What was reported as lost is so, though the log may not have it yet.
			lost := k.silence.told[a.Agent] == a.Incarnation && k.tree.Mode(a.Agent) == tree.Enforce
			if a.State != "exited" && (lost || k.tree.Stale(a.Agent, a.Incarnation, runner)) {
				stale = append(stale, fleet.Stale{Agent: a.Agent, Incarnation: a.Incarnation})
			}
		}
	}); asked != nil {
		return false, asked
	}
	if err != nil || !current {
		if !current {
			err = nil
		}
		return false, err
	}
	for _, s := range stale {
		k.env.Log.Warn("stopping what is wanted no more", "tree", k.opt.Tree, "runner", runner, "agent", s.Agent, "incarnation", s.Incarnation)
		if err := k.commands.StopStale(ctx, runner, s); err != nil {
			return false, err
		}
	}
	return true, nil
}
