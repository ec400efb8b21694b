package keeper

import (
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// forgetRemoved tells the runners which agents were removed: each may keep output
// of them. One that is not there is told when it is visited.
func (k *Keeper) forgetRemoved(changes []tree.Change) {
	var agents []string
	for _, c := range changes {
		if c.Removed && c.Tombstone > 0 { // an agent that ran
			agents = append(agents, c.ID)
		}
	}
	if len(agents) == 0 {
		return
	}
	for _, r := range k.registry.Views() {
		k.commands.ForgetOutput(r.Runner, k.opt.Tree, agents)
	}
}

// leftovers are agents that a runner has and the tree no longer has, of which the
// runner has not heard that.
func (k *Keeper) leftovers(has []contracts.RunnerAgent) (agents []string) {
	for _, a := range has {
		if a.State == contracts.AgentExited && !a.Removed && a.Tree == k.opt.Tree && k.tree.Removed(a.Agent, a.Incarnation) {
			agents = append(agents, a.Agent)
		}
	}
	return agents
}
