package keeper

import (
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Whose setting a mode is.
const (
	byConfig  = "config"
	byRuntime = "runtime"
)

// unheard is news, if there is any, that this side may have missed heartbeats.
func (k *Keeper) unheard(now time.Time) []arrival {
	if !k.hearing.lapsed(k.env.NC, now) {
		return nil
	}
	return []arrival{{Input: tree.Input{Kind: tree.HeartbeatsMissed, Reason: "heartbeats may have been missed"}}}
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
	if (st.Phase == tree.Watched || st.Phase == tree.Foreign) && st.Claim == tree.Own {
		v.PID = st.PID
	}
	if (st.Phase == tree.Watched || st.Phase == tree.Foreign || st.Phase == tree.Claiming) && st.Claim == tree.Listen {
		v.Runner = ""
	}
}
