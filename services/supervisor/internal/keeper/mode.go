package keeper

import (
	"context"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Whose setting a mode is.
const (
	byConfig  = "config"
	byRuntime = "runtime"
	// inherit takes a setting back that was made at run time.
	inherit = "inherit"
)

// letGo gives up what is under way about agents that are not enforced, or not
// there, any more.
func (k *Keeper) letGo(changes []tree.Change) {
	for _, c := range changes {
		switch {
		case c.Removed:
			k.commands.Forget(c.ID, c.Tombstone)
		case c.State != nil && c.State.Phase == tree.Watched:
			k.commands.Forget(c.ID, c.State.Incarnation)
		}
	}
}

// hearing is what the keeper knows of its own ability to hear.
type hearing struct {
	at         time.Time
	reconnects uint64
}

// unheard is news, if there is any, that this side may have missed heartbeats
// since it last asked itself: it was not connected, or it stood still.
func (k *Keeper) unheard(now time.Time) []arrival {
	h, was := hearing{now, k.env.NC.Stats().Reconnects}, k.hearing
	k.hearing = h
	if k.env.NC.IsConnected() && (was.at.IsZero() || h.reconnects == was.reconnects && now.Sub(was.at) <= inattention) {
		return nil
	}
	return []arrival{{Input: tree.Input{Kind: tree.Deaf, Reason: "heartbeats may have been missed"}}}
}

// viewMode adds to a node's view what its mode is, and what follows from it.
func viewMode(t *tree.Tree, v *contracts.NodeView, st tree.State) {
	r, own, ordered := t.Rollout(v.Name)
	v.Mode = r.String()
	if v.Kind == "agent" {
		v.Mode = string(t.Mode(v.Name))
	}
	switch {
	case ordered:
		v.ModeSet = byRuntime
	case own:
		v.ModeSet = byConfig
	}
	switch st.Phase {
	case tree.Claiming:
		v.Reason, v.Until = "listens whether it runs already", instant(st.Due)
	case tree.Watched, tree.Foreign:
		if st.Claim == tree.Own {
			v.PID = st.PID
		}
	}
	if (st.Phase == tree.Watched || st.Phase == tree.Foreign || st.Phase == tree.Claiming) && st.Claim == tree.Listen {
		v.Runner = ""
	}
}

// rollout reads what a request asks for; nil takes a setting back.
func rollout(req contracts.ModeRequest) (*tree.Rollout, error) {
	bad := func(format string, args ...any) (*tree.Rollout, error) {
		return nil, shell.Errorf(contracts.CodeBadRequest, format, args...)
	}
	if req.Mode != string(tree.Enforce) && (req.Percent != 0 || req.Otherwise != "") {
		return bad("percent and otherwise: only with mode enforce, and it is %.32q", req.Mode)
	}
	switch req.Mode {
	case inherit:
		return nil, nil
	case string(tree.Off), string(tree.Shadow):
		r := tree.RolloutOf(tree.Mode(req.Mode))
		return &r, nil
	case string(tree.Enforce):
	default:
		return bad("mode: %.32q; use off, shadow, enforce or inherit", req.Mode)
	}
	r := tree.RolloutOf(tree.Enforce)
	switch {
	case req.Percent < 0 || req.Percent > 100:
		return bad("percent: %d is outside 1 to 100; mode %s enforces none", req.Percent, tree.Shadow)
	case req.Percent > 0 && req.Percent < 100:
		r.Enforce, r.Otherwise = req.Percent, tree.Shadow
	}
	if req.Otherwise != "" {
		if r.Enforce == 100 {
			return bad("otherwise: nobody is left with 100 percent; give a smaller percent or leave it out")
		}
		r.Otherwise = tree.Mode(req.Otherwise)
	}
	if err := r.Validate(); err != nil {
		return bad("%v", err)
	}
	return &r, nil
}

func (k *Keeper) serveMode(ctx context.Context, req contracts.ModeRequest) (contracts.OK, error) {
	if err := contracts.ValidateID(req.Node); err != nil {
		return contracts.OK{}, shell.Errorf(contracts.CodeBadRequest, "node: %v", err)
	}
	r, err := rollout(req)
	if err != nil {
		return contracts.OK{}, err
	}
	word := inherit
	if r != nil {
		word = r.String()
	}
	return k.order(ctx, tree.Input{Command: tree.ModeIt, Node: req.Node, Mode: r, Reason: because("mode "+word, req.Reason)})
}
