package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// maxPages bounds how many pages of a list are read: far more than a runner's
// memory of 50,000 agents takes.
const maxPages = 100

// Holdings are all that a runner has.
type Holdings struct {
	Agents []contracts.RunnerAgent
	// Decision is the highest that any supervisor has named to it.
	Decision uint64
	// Rejected are the entries that were set aside.
	Rejected []error
}

// List asks a runner what it has, and to take no more starts from senders that
// know less of the tree than this side does: what is under way from before can
// then not arrive behind the list.
func (c *Commander) List(ctx context.Context, runner string) (Holdings, error) {
	var all Holdings
	cmd := contracts.ListCommand{Decision: c.known.Load()}
	for range maxPages {
		raw, err := ask[json.RawMessage](ctx, c, c.line(runner), runner, "list", asJSON(cmd), startTimeout)
		if err != nil {
			return Holdings{}, err
		}
		page, rejected, err := contracts.DecodeRunnerList(runner, raw)
		if err != nil {
			return Holdings{}, err
		}
		all.Agents = append(all.Agents, page.Agents...)
		all.Rejected = append(all.Rejected, rejected...)
		all.Decision = max(all.Decision, page.Decision)
		if !page.More || len(page.Agents) == 0 {
			return all, nil
		}
		cmd.After = page.Agents[len(page.Agents)-1].Agent
	}
	return Holdings{}, fmt.Errorf("%w %s: it has no end after %d pages", contracts.ErrRunnerList, runner, maxPages)
}

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
	switch {
	case e.Blame != contracts.BlameAgent:
		return tree.HeldEnded
	case !e.Unknown && e.Signal == "" && e.Code == 0:
		return tree.HeldCompleted
	}
	return tree.HeldFailed
}

// StopStale has a runner kill an incarnation and everything older, at once:
// another may be doing its work already.
func (c *Commander) StopStale(ctx context.Context, runner string, s leader.Fence) error {
	return c.end(ctx, runner, contracts.StopCommand{Agent: s.Agent, Incarnation: s.Incarnation, Kill: true}, stopMargin)
}

// Stop has a runner end an incarnation and everything older, within its own
// shutdown timeout.
func (c *Commander) Stop(ctx context.Context, runner string, s leader.Fence) error {
	return c.end(ctx, runner, contracts.StopCommand{Agent: s.Agent, Incarnation: s.Incarnation}, contracts.DefaultShutdownTimeout+stopMargin)
}

func (c *Commander) end(ctx context.Context, runner string, cmd contracts.StopCommand, within time.Duration) error {
	reply, err := ask[contracts.RunnerReply](ctx, c, c.line(runner), runner, "stop", asJSON(cmd), within)
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
