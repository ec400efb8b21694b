package keeper

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// orphans are agents on runners that no supervisor decides about, by runner: the
// one supervisor of an account decides about one tree, and they are not in it.
type orphans map[string][]contracts.Orphan

// maxOrphans bounds how many of one runner are remembered.
const maxOrphans = 1000

// lookAfterOrphans is how often runners that have some are visited again.
const lookAfterOrphans = 10 * time.Second

// found replaces those of a runner, and warns of new ones.
func (o orphans) found(runner string, now []contracts.Orphan, log *slog.Logger) {
	now = now[:min(len(now), maxOrphans)]
	for _, a := range now {
		if _, known := o.find(a.Agent, runner); !known {
			log.Warn("an agent that no supervisor decides about runs; smith child terminate ends it", "agent", a.Agent,
				"incarnation", a.Incarnation, "runner", runner, "tree", a.Tree, "pid", a.PID)
		}
	}
	if delete(o, runner); len(now) > 0 {
		o[runner] = now
	}
}

func (o orphans) find(agent, runner string) (contracts.Orphan, bool) {
	for _, a := range o[runner] {
		if a.Agent == agent {
			return a, true
		}
	}
	return contracts.Orphan{}, false
}

// of lists those of a name, on whatever runners.
func (o orphans) of(agent string) []contracts.Orphan {
	return slices.DeleteFunc(o.all(), func(a contracts.Orphan) bool { return a.Agent != agent })
}

// all lists them by name and runner.
func (o orphans) all() []contracts.Orphan {
	all := slices.Concat(slices.Collect(maps.Values(o))...)
	slices.SortFunc(all, func(a, b contracts.Orphan) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Runner, b.Runner))
	})
	return all
}

// revisit looks again at runners that have orphans: these may have ended.
func (k *Keeper) revisit(ctx context.Context, now time.Time) {
	if now.Sub(k.revisited) < lookAfterOrphans {
		return
	}
	k.revisited = now
	for runner := range k.orphans {
		if visit, ok := k.registry.Visit(runner); ok {
			k.visit(ctx, runner, visit, false)
		} else {
			delete(k.orphans, runner) // it is gone, and will be visited when it is back
		}
	}
}

// orOrphan lets an order to end an agent end the orphans of that name, where the
// tree has none.
func (k *Keeper) orOrphan(order func(context.Context, contracts.NodeRequest) (contracts.OrderReply, error)) func(context.Context, contracts.NodeRequest) (contracts.OrderReply, error) {
	return func(ctx context.Context, req contracts.NodeRequest) (contracts.OrderReply, error) {
		var ends []contracts.Orphan
		if err := k.ask(ctx, func() {
			if !k.tree.Has(req.Node) {
				ends = k.orphans.of(req.Node)
			}
		}); err != nil {
			return contracts.OrderReply{}, err
		}
		if len(ends) == 0 {
			return order(ctx, req)
		}
		for _, o := range ends {
			if err := k.endOrphan(ctx, o); err != nil {
				return contracts.OrderReply{}, err
			}
		}
		return contracts.OrderReply{OK: true}, nil
	}
}

// endOrphan has a runner end an agent that is in no tree. The runner's event
// records that it was ordered.
func (k *Keeper) endOrphan(ctx context.Context, o contracts.Orphan) error {
	k.env.Log.Warn("ending an orphan by order", "agent", o.Agent, "incarnation", o.Incarnation, "runner", o.Runner, "tree", o.Tree)
	if err := k.commands.Stop(ctx, o.Runner, contracts.StopCommand{Agent: o.Agent, Incarnation: o.Incarnation}, contracts.DefaultShutdownTimeout); err != nil {
		return shell.Errorf(contracts.CodeNotReady, "terminate of %s, an agent of tree %s on runner %s: %v", o.Agent, cmp.Or(o.Tree, "(not known)"), o.Runner, err)
	}
	return k.ask(ctx, func() {
		k.orphans[o.Runner] = slices.DeleteFunc(k.orphans[o.Runner], func(a contracts.Orphan) bool { return a.Agent == o.Agent })
	})
}
