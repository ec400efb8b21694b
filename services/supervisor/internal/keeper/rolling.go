package keeper

import (
	"cmp"
	"context"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// roll begins a rolling restart.
func (k *Keeper) roll(ctx context.Context, req contracts.RollRequest) (contracts.RollingView, error) {
	if err := validRolling(req.Node, req.MaxUnavailable); err != nil {
		return contracts.RollingView{State: contracts.RollingNone}, err
	}
	return k.beginRolling(ctx, tree.Input{
		Command: tree.CmdRoll, Node: req.Node, Outdated: req.Outdated, Count: cmp.Or(req.MaxUnavailable, 1),
		Reason: because("rolling restart", req.Reason), By: operator(req.By),
	})
}

// rebalance plans which agents move to emptier runners, and has that decided unless
// it is only asked.
func (k *Keeper) rebalance(ctx context.Context, req contracts.RebalanceRequest) (contracts.RebalanceReply, error) {
	reply := contracts.RebalanceReply{Moves: []contracts.Relocation{}, Rolling: contracts.RollingView{State: contracts.RollingNone}}
	if err := validRolling(req.Node, req.MaxUnavailable); err != nil {
		return reply, err
	}
	known := false
	err := k.ask(ctx, func() {
		req.Node = cmp.Or(req.Node, k.tree.Root())
		known = k.tree.Has(req.Node)
		for _, m := range k.tree.PlanRebalance(req.Node) {
			reply.Moves = append(reply.Moves, contracts.Relocation(m))
		}
	})
	switch {
	case err != nil:
		return reply, err
	case !known:
		return reply, shell.Errorf(contracts.CodeNotFound, "the tree has no node %s", req.Node)
	case req.DryRun || len(reply.Moves) == 0:
		return reply, nil
	}
	reply.Rolling, err = k.beginRolling(ctx, tree.Input{
		Command: tree.CmdRebalance, Node: req.Node, Count: cmp.Or(req.MaxUnavailable, 1),
		Reason: because("rebalance", req.Reason), By: operator(req.By),
	})
	return reply, err
}

// validRolling reports why agents cannot be restarted a few at a time as asked.
func validRolling(node string, most int) error {
	if most < 0 {
		return shell.Errorf(contracts.CodeBadRequest, "max_unavailable: %d; use at least 1", most)
	}
	if node == "" {
		return nil
	}
	return validID("node", node)
}

// beginRolling has an order decided that restarts agents a few at a time, and
// returns how far that is.
func (k *Keeper) beginRolling(ctx context.Context, in tree.Input) (contracts.RollingView, error) {
	in.Kind = tree.Order
	a, err := k.send(ctx, &in)
	if err == nil {
		_, err = verdict(in, a)
	}
	if err != nil {
		return contracts.RollingView{State: contracts.RollingNone}, err
	}
	return k.rolling(ctx, contracts.RollingRequest{})
}

// rolling tells how far the rolling restart is, or what became of one.
func (k *Keeper) rolling(ctx context.Context, req contracts.RollingRequest) (contracts.RollingView, error) {
	v := contracts.RollingView{State: contracts.RollingNone}
	err := k.ask(ctx, func() {
		if r := rollingOf(k.tree, req.ID); r != nil {
			v = *r
		}
	})
	return v, err
}

// rollingOf describes the rolling restart that a request began. If id is empty, that is
// the one that is under way, or was stopped and has left something to be mended. It is
// nil where there is none.
func rollingOf(t *tree.Tree, id string) *contracts.RollingView {
	if a, over := t.Answered(id); over {
		v := contracts.RollingView{State: contracts.RollingNone, ID: id, Reason: a.Reason}
		switch a.Result {
		case tree.CannotStart:
			v.State = contracts.RollingStopped
		case tree.Superseded:
			v.State = contracts.RollingSuperseded
		case tree.NotVerified:
			v.State = contracts.RollingFailed
		}
		return &v
	}
	r := t.Rolling()
	if r == nil || id != "" && id != r.ID && id != r.Applied || id == "" && r.Stopped != "" && !t.Leaves(r) {
		return nil
	}
	v := rollingView(r)
	v.ID = cmp.Or(id, v.ID)
	return v
}

// rollingView describes the rolling restart of a tree; nil where there is none.
func rollingView(r *tree.Rolling) *contracts.RollingView {
	if r == nil {
		return nil
	}
	v := &contracts.RollingView{
		State: contracts.RollingOn, ID: r.ID, MaxUnavailable: r.Max, Total: r.Total, Added: r.Added, Done: r.Done, Reason: r.Stopped, Since: r.Since.Optional(),
	}
	if r.Stopped != "" {
		v.State = contracts.RollingStopped
	}
	for _, n := range r.Now[:min(len(r.Now), contracts.MaxRollingNames)] {
		v.Now = append(v.Now, n.Node)
	}
	v.Down = r.Down[:min(len(r.Down), contracts.MaxRollingNames)]
	v.Ending = r.Ending[:min(len(r.Ending), contracts.MaxRollingNames)]
	return v
}
