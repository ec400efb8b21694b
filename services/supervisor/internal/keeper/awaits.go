package keeper

import "github.com/mistersmith/mistersmith/services/supervisor/internal/tree"

// left counts the agents that an order waits for, and says of the first of them what
// it has yet to do.
func (k *Keeper) left(in tree.Input) (count int, awaits string) {
	count, first := k.tree.Left(in.Node, in.Command)
	if count == 0 {
		return 0, ""
	}
	if ends := k.tree.AwaitsEnd(first); len(ends) > 0 {
		return count, first + " waits for " + ends[0] + " to end"
	}
	_, st, _ := k.tree.Lookup(first)
	return count, first + " " + yet(st.Phase)
}

// yet says what an agent in a phase does or has to do before an order about it is
// done.
func yet(p tree.Phase) string {
	switch p {
	case tree.Idle:
		return "waits for its turn"
	case tree.Throttled:
		return "waits for restart budget"
	case tree.Unplaced:
		return "waits for a runner"
	case tree.Claiming:
		return "is listened for"
	case tree.Starting:
		return "has yet to start"
	case tree.Verifying:
		return "has yet to send a heartbeat"
	case tree.Ended:
		return "has ended, which waits for its supervisor"
	case tree.Unverified:
		return "could not be verified and has yet to end"
	case tree.Stabilising:
		return "is in its stabilisation period"
	case tree.Stopping:
		return "has yet to end"
	}
	return "has yet to be stopped"
}
