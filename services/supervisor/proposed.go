package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/history"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/proposals"
)

// maxProposals bounds what one answer lists.
const maxProposals = 1000

// proposals lists what was proposed, and what really happened then.
func (p past) proposals(ctx context.Context, req contracts.ProposalsRequest) (contracts.ProposalsReply, error) {
	var none contracts.ProposalsReply
	limit, err := proposalsLimit(req)
	if err != nil {
		return none, err
	}
	j, err := p.open(ctx)
	if err != nil {
		return none, err
	}
	var ledger proposals.Ledger
	if req.Node != "" {
		below, err := p.below(ctx, j, req)
		if err != nil {
			return none, err
		}
		ledger.Only = func(node string) bool { return below[node] }
	}
	err = j.ReadRecords(ctx, req.From, req.To, proposals.Signs(), func(r journal.Record) error {
		if r.Decision == nil {
			ledger.Happened(r.Event)
			return nil
		}
		return ledger.Decided(r.Decision)
	})
	switch {
	case errors.Is(err, proposals.ErrMany):
		return none, shell.Errorf(contracts.CodeBadRequest, "tree %s: %v", p.tree, err)
	case err != nil:
		return none, p.refuse(describe(req.From)+" to "+describe(req.To), err)
	}
	reply := ledger.Reply(limit)
	reply.Tree = p.tree
	return reply, nil
}

// proposalsLimit is how many proposals a request is answered with at most.
func proposalsLimit(req contracts.ProposalsRequest) (int, error) {
	if req.Limit < 0 || req.Limit > maxProposals {
		return 0, shell.Errorf(contracts.CodeBadRequest, "limit: %d is outside 1 to %d", req.Limit, maxProposals)
	}
	return cmp.Or(req.Limit, maxProposals), nil
}

// below returns the names of a node and of all that was below it at the end of
// the time asked for.
func (p past) below(ctx context.Context, j *journal.Journal, req contracts.ProposalsRequest) (map[string]bool, error) {
	st, err := history.At(ctx, j, req.To)
	if err != nil {
		return nil, p.refuse(describe(req.To), err)
	}
	if st.Tree.Nodes[req.Node] == nil {
		return nil, shell.Errorf(contracts.CodeNotFound, "tree %s had no node %.80q after decision %d", p.tree, req.Node, st.Mark.Decision)
	}
	below := map[string]bool{}
	for id := range st.Tree.Nodes {
		for up := id; up != ""; {
			if up == req.Node {
				below[id] = true
				break
			}
			n := st.Tree.Nodes[up]
			if n == nil {
				return nil, fmt.Errorf("tree %s: node %q has no parent %q", p.tree, id, up)
			}
			up = n.Spec.Parent
		}
	}
	return below, nil
}
