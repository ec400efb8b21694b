package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type logsCmd struct {
	clientFlags
	Agent       string  `arg:"" help:"The agent."`
	Follow      bool    `short:"f" help:"Go on with what it prints from now on, over its restarts, until Ctrl-C."`
	Previous    bool    `help:"The incarnation before the newest (or before --incarnation)."`
	Incarnation uint64  `placeholder:"N" help:"This incarnation (default: the newest)."`
	Since       *moment `placeholder:"TIME" help:"From this time on: RFC 3339, or a duration ago such as 10m."`
	Lines       int     `short:"n" placeholder:"N" help:"At most the last N lines (default: all that are kept)."`
	Plain       bool    `help:"Without times: only what the agent printed."`
	Runner      string  `placeholder:"NAME" help:"Ask this runner (default: the one that the agent is on, or was last)."`
}

func (logsCmd) Help() string {
	return "Prints what the agent wrote to standard output and standard error, with the time of each line in UTC. On a terminal control characters are escaped; elsewhere the bytes are the agent's own.\n\n" +
		"Examples:\n  smith logs crawler-1\n  smith logs crawler-1 -f --lines 20\n  smith logs crawler-1 --previous --since 10m\n  smith logs crawler-1 --plain | grep ERROR"
}

func (c *logsCmd) Run(a *app) error {
	req := contracts.LogsRequest{Agent: c.Agent, Incarnation: c.Incarnation, Previous: c.Previous, Since: c.Since.ptr(), Lines: c.Lines}
	if err := req.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	out := newOutputPrinter(a, c)
	f := follower{app: a, cmd: c, nc: nc, out: out}
	return errors.Join(f.run(req), out.flush())
}

// follower reads an agent's output part by part.
type follower struct {
	*app
	cmd    *logsCmd
	nc     *nats.Conn
	out    *outputPrinter
	runner string
}

// followWait is how long a runner waits for more.
const followWait = 5 * time.Second

func (f *follower) run(req contracts.LogsRequest) error {
	first, err := f.find(req)
	if err != nil {
		return err
	}
	for part := first; ; {
		if err := f.show(part); err != nil {
			return err
		}
		next := contracts.LogsRequest{Agent: f.cmd.Agent, Incarnation: part.Incarnation, At: &part.Next}
		switch {
		case f.cmd.Follow && part.Ended && part.Successor != 0:
			fmt.Fprintf(f.stderr, "-- %s#%d --\n", f.cmd.Agent, part.Successor)
			next.Incarnation, next.At = part.Successor, new(int64)
		case f.cmd.Follow && len(part.data) == 0:
			next.Wait = contracts.Duration(followWait)
		case !f.cmd.Follow && (len(part.data) == 0 || part.Next >= first.End):
			return nil
		}
		part, err = f.again(next, part.Ended)
		switch {
		case f.ctx.Err() != nil:
			return nil // Ctrl-C
		case err != nil:
			return err
		}
	}
}

// part is an answer of a runner.
type part struct {
	contracts.LogsReply
	data []byte
}

func (f *follower) show(p part) error {
	if p.Dropped > 0 {
		fmt.Fprintf(f.stderr, "-- %d bytes of the output of %s#%d before this are no longer kept --\n", p.Dropped, p.Agent, p.Incarnation)
	}
	return f.out.write(p)
}

// again asks for the next part. While following, a runner that does not answer is
// waited for, and an agent that has ended is looked for on other runners.
func (f *follower) again(req contracts.LogsRequest, ended bool) (part, error) {
	for said := false; ; said = true {
		if ended && f.cmd.Runner == "" {
			if moved, ok := f.moved(req.Incarnation); ok {
				return moved, nil
			}
		}
		p, err := f.ask(f.runner, req)
		if err == nil || !f.cmd.Follow || f.ctx.Err() != nil || errors.Is(err, errUsage) {
			return p, err
		}
		if !said {
			fmt.Fprintf(f.stderr, "smith: %v; trying again (Ctrl-C ends)\n", err)
		}
		_ = shell.Pause(f.ctx, time.Second)
		ended = true
	}
}

// moved returns the beginning of a later incarnation on another runner.
func (f *follower) moved(after uint64) (part, bool) {
	now, ok := f.placed()
	if !ok || now.Runner == f.runner || now.Incarnation <= after {
		return part{}, false
	}
	p, err := f.ask(now.Runner, contracts.LogsRequest{Agent: f.cmd.Agent, Incarnation: now.Incarnation, At: new(int64)})
	if err != nil {
		return part{}, false
	}
	fmt.Fprintf(f.stderr, "-- %s#%d, on runner %s --\n", f.cmd.Agent, now.Incarnation, now.Runner)
	f.runner = now.Runner
	return p, true
}

// placed asks the supervisor where the agent is.
func (f *follower) placed() (contracts.NodeView, bool) {
	view, err := askOn[contracts.NodeView](f.app, f.cmd.briefly(), f.nc, contracts.ServiceSupervisor, "status", contracts.NodeRequest{Node: f.cmd.Agent})
	return view, err == nil && view.Runner != ""
}

// find asks the runner that was named, or the one where the agent is, or else all
// there are; the newest incarnation counts.
func (f *follower) find(req contracts.LogsRequest) (part, error) {
	if f.runner = f.cmd.Runner; f.runner != "" {
		return f.ask(f.runner, req)
	}
	var tried string
	if view, ok := f.placed(); ok {
		f.runner, tried = view.Runner, view.Runner
		p, err := f.ask(f.runner, req)
		if err == nil || !notFound(err) && !errors.Is(err, nats.ErrNoResponders) {
			return p, err
		}
	}
	runners, err := f.runners()
	if err != nil {
		return part{}, err
	}
	var best part
	f.runner = ""
	for _, r := range runners {
		if r == tried {
			continue
		}
		if p, err := f.ask(r, req); err == nil && p.Incarnation >= best.Incarnation {
			best, f.runner = p, r
		}
	}
	if f.runner == "" {
		return part{}, shell.Errorf(contracts.CodeNotFound, "no output of agent %s is kept on the %d runners that answer; is the name right (smith agents lists them), and its runner up (smith runners)?", f.cmd.Agent, len(runners))
	}
	return best, nil
}

// ask asks a runner for one part.
func (f *follower) ask(runner string, req contracts.LogsRequest) (part, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return part{}, err
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.cmd.Timeout+req.Wait.D())
	defer cancel()
	msg, err := f.nc.RequestWithContext(ctx, contracts.RunnerSubject(runner, "logs"), body)
	if err != nil {
		return part{}, fmt.Errorf("ask runner %s for output: %w", runner, err)
	}
	if text := msg.Header.Get(micro.ErrorHeader); text != "" {
		return part{}, asUsage(&shell.APIError{Code: msg.Header.Get(micro.ErrorCodeHeader), Message: text})
	}
	p := part{data: msg.Data}
	var refused contracts.RunnerReply
	if msg.Header.Get(contracts.HeaderLogs) == "" && json.Unmarshal(msg.Data, &refused) == nil && refused.Error != "" {
		return part{}, errors.New(refused.Error)
	}
	if err := json.Unmarshal([]byte(msg.Header.Get(contracts.HeaderLogs)), &p.LogsReply); err != nil {
		return part{}, fmt.Errorf("runner %s does not answer with output (%w); does it run a version that can?", runner, err)
	}
	return p, nil
}

// runners lists the runners that answer.
func (f *follower) runners() ([]string, error) {
	const quiet = 300 * time.Millisecond // after the last answer
	inbox := f.nc.NewRespInbox()
	sub, err := f.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := f.nc.PublishRequest("$SRV.PING.smith-"+contracts.ServiceRunner, inbox, nil); err != nil {
		return nil, err
	}
	var found []string
	for {
		msg, err := sub.NextMsg(quiet)
		if err != nil || len(msg.Data) == 0 {
			return found, nil
		}
		var ping micro.Ping
		if json.Unmarshal(msg.Data, &ping) == nil && contracts.ValidateID(ping.Metadata["runner"]) == nil {
			found = append(found, ping.Metadata["runner"])
		}
	}
}
