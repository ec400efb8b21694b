package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
)

// report stores an agent.failed event about what the supervisor itself found.
// It comes back from the log like everybody else's evidence, so it is decided
// upon once, whoever decides. Its id is derived from what it says: told again
// after a crash it is the same event.
func (c *Commander) report(cmd Command, reason contracts.FailureReason, detail string, opts ...jetstream.PublishOpt) error {
	id := contracts.DerivedID("supervisor", string(reason), cmd.Node, fmt.Sprint(cmd.Incarnation))
	if c.stored(cmd.Node, id) {
		return nil
	}
	ev, err := c.env.Event(contracts.AgentFailed, cmd.Node).ID(id).Correlation(cmd.Chain).Causation(cmd.Decision).
		Data(contracts.AgentFailedData{
			Agent: cmd.Node, Incarnation: cmd.Incarnation, Reason: reason, Runner: cmd.Runner, Detail: detail,
		}).Build()
	if err != nil {
		return err
	}
	return c.reports.Run(c.ctx, "append", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		_, err := shell.PublishEvent(ctx, c.env.JS, ev, opts...)
		if journal.Refused(err) {
			err = guard.Permanent(err)
		}
		return err
	})
}

// reportTimeout bounds each attempt at a call to the log.
const reportTimeout = 5 * time.Second

// reportLost stores a loss, provided that nobody else has decided about the tree
// since: what this side takes for lost, its successor may have started.
func (c *Commander) reportLost(cmd Command) error {
	for {
		last := c.last.Load()
		err := c.report(cmd, contracts.ReasonHostLost, cmd.Reason, c.fence.Follow(last)...)
		if err == nil || !journal.Refused(err) || c.ctx.Err() != nil {
			return err
		}
		if c.last.Load() != last {
			continue
		}
		// The log may have forgotten that decision.
		ctx, cancel := context.WithTimeout(c.ctx, reportTimeout)
		defer cancel()
		alone, err := c.fence.Alone(ctx, last)
		if err != nil {
			return err
		}
		return c.report(cmd, contracts.ReasonHostLost, cmd.Reason, alone...)
	}
}

// Fence says on which conditions the log takes what depends on the tree, see
// [journal.Fence].
type Fence interface {
	Follow(last uint64) []jetstream.PublishOpt
	Alone(ctx context.Context, last uint64) ([]jetstream.PublishOpt, error)
}

// stored tells whether the agent's last failure in the log is the event with
// this id: the server's own memory of ids is short.
func (c *Commander) stored(agent, id string) bool {
	msg, err := guard.Do(c.ctx, c.reports, "last", func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		ctx, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		stream, err := c.env.JS.Stream(ctx, contracts.EventStream)
		if err != nil {
			return nil, err
		}
		msg, err := stream.GetLastMsgForSubject(ctx, contracts.EventSubject(contracts.AgentFailed, agent))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = guard.Permanent(err)
		}
		return msg, err
	})
	return err == nil && msg.Header.Get(jetstream.MsgIDHeader) == id
}

// DescribeExit says in a sentence how a process ended.
func DescribeExit(e contracts.Exit) string {
	s := "exited with code " + strconv.Itoa(e.Code)
	switch {
	case e.Blame == contracts.BlameHost:
		s = "ended with its host"
	case e.OutOfMemory:
		s = "ended out of memory, by its limit"
	case e.Unknown:
		s = "ended; how is not known"
	case e.Signal != "":
		s = "ended by " + e.Signal
		if e.Core {
			s += ", with a core dump"
		}
	}
	tail := strings.TrimSpace(e.Tail)
	if last := tail[strings.LastIndexByte(tail, '\n')+1:]; last != "" {
		s += ": " + contracts.Clip(last, 200)
	}
	return s
}
