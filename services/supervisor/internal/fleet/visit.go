package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
)

// Stale is an incarnation that is wanted no more.
type Stale struct {
	Agent       string
	Incarnation uint64
}

// List asks a runner what it has, and to take no start any more from anybody who
// knows less of the tree than this side does: what is under way from before can
// then not arrive behind the list.
func (c *Commander) List(ctx context.Context, runner string) (contracts.RunnerList, error) {
	return ask[contracts.RunnerList](ctx, c, c.line(runner), runner, "list", asJSON(contracts.ListCommand{Decision: c.known.Load()}), startTimeout)
}

// StopStale has a runner kill an incarnation and everything older, at once:
// another may be doing its work already.
func (c *Commander) StopStale(ctx context.Context, runner string, s Stale) error {
	reply, err := ask[contracts.RunnerReply](ctx, c, c.line(runner), runner, "stop", asJSON(contracts.StopCommand{Agent: s.Agent, Incarnation: s.Incarnation, Kill: true}), stopMargin)
	if err == nil && reply.Code != contracts.RunnerOK {
		err = fmt.Errorf("runner %s: %s: %s", runner, reply.Code, reply.Error)
	}
	return err
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
