package fleet

import (
	"time"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Held is an entry of a list as a tree sees it.
func Held(a contracts.RunnerAgent, treeName string) tree.Held {
	h := tree.Held{Agent: a.Agent, Incarnation: a.Incarnation, PID: a.PID, Ours: a.Tree == treeName}
	switch {
	case a.State == contracts.AgentStopping:
		h.State = tree.HeldStopping
	case a.State == contracts.AgentExited:
		h.State, h.Reason, h.Event = heldEnd(*a.Exit), DescribeExit(*a.Exit), a.Event
	}
	return h
}

func heldEnd(e contracts.Exit) tree.HeldState {
	switch e.Outcome() {
	case contracts.OutcomeRequested, contracts.OutcomeLost:
		return tree.HeldEnded
	case contracts.OutcomeCompleted:
		return tree.HeldCompleted
	}
	return tree.HeldFailed
}

// ReportLost stores that agents were lost with the host of their runner. It goes
// on until all are stored, or somebody else decides. What is under way about them
// is given up at once: a start that is repeated could reach the host when it comes
// back, before what it has is compared with what is wanted.
func (c *Commander) ReportLost(cmds []Command) {
	for _, cmd := range cmds {
		c.Forget(cmd.Node, cmd.Incarnation)
	}
	c.done.Go(func() {
		const first, most = 50 * time.Millisecond, time.Second
		for _, cmd := range cmds {
			for wait := first; c.ctx.Err() == nil; wait = min(2*wait, most) {
				err := c.reportLost(cmd)
				if err == nil {
					break
				}
				if !journal.Refused(err) && !guard.Rejected(err) {
					c.env.Log.Warn("loss not reported yet", "agent", cmd.Node, "runner", cmd.Runner, "error", err)
				}
				_ = shell.Pause(c.ctx, wait)
			}
		}
	})
}
