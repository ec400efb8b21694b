package keeper

import (
	"cmp"
	"context"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// rebalance plans which agents move to emptier runners, and has that decided unless
// it is only asked.
func (k *Keeper) rebalance(ctx context.Context, req contracts.RebalanceRequest) (contracts.RebalanceReply, error) {
	reply := contracts.RebalanceReply{Moves: []contracts.Relocation{}, Rolling: contracts.RollingView{State: contracts.RollingNone}}
	if req.MaxUnavailable < 0 {
		return reply, shell.Errorf(contracts.CodeBadRequest, "max_unavailable: %d; use at least 1", req.MaxUnavailable)
	}
	if req.Node != "" {
		if err := contracts.ValidateID(req.Node); err != nil {
			return reply, shell.Errorf(contracts.CodeBadRequest, "node: %v", err)
		}
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
	in := tree.Input{
		Kind: tree.Order, Command: tree.CmdRebalance, Node: req.Node, Count: cmp.Or(req.MaxUnavailable, 1),
		Reason: because("rebalance", req.Reason), By: operator(req.By),
	}
	a, err := k.send(ctx, in)
	if err != nil {
		return reply, err
	}
	if _, err := verdict(in, a); err != nil {
		return reply, err
	}
	reply.Rolling, err = k.rolling(ctx, contracts.RollingRequest{})
	return reply, err
}
