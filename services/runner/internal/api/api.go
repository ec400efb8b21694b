// Package api is a runner on NATS: it answers start, stop, list, logs and forget, announces
// itself and beats, and makes sure that its name is its own.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Agents is what the commands are about.
type Agents interface {
	Start(contracts.StartCommand) contracts.RunnerReply
	Stop(context.Context, contracts.StopCommand) contracts.RunnerReply
	Fence(term uint64) (before uint64)
	List() []contracts.RunnerAgent
	AddUsage([]contracts.RunnerAgent)
	Running() int
	Forget(contracts.ForgetCommand)
	Logs(context.Context, contracts.LogsRequest) (contracts.LogsReply, []byte, error)
}

// Bounds on requests in hand; more are refused at once. A stop lasts as long as
// its agent takes to end, a start some milliseconds.
const (
	maxStarts = 256
	maxStops  = 4096
	maxLists  = 16
	// maxReaders is how many may wait for output at once.
	maxReaders = 64
)

// API serves a runner's commands.
type API struct {
	env     shell.Env
	runner  string
	agents  Agents
	rejects *shell.Rejects
	svc     micro.Service
	ctx     context.Context
	cancel  context.CancelFunc
	sending chan struct{} // taken by the one that sends output

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// Serve begins to answer.
func Serve(env shell.Env, self contracts.RunnerAnnouncement, agents Agents) (*API, error) {
	meta := map[string]string{}
	maps.Copy(meta, self.Labels)
	meta["runner"], meta["host"], meta["instance"], meta["session"] = self.Runner, self.Host, env.Instance, self.Session
	svc, err := micro.AddService(env.NC, micro.Config{
		Name: "smith-" + contracts.ServiceRunner, Version: shell.Version, Metadata: meta,
		Description: "Starts and stops the agents of a host",
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			env.Log.Warn("api", "subject", e.Subject, "error", e.Description)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("serve runner %s: %w", self.Runner, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &API{env: env, runner: self.Runner, agents: agents, rejects: shell.NewRejects(env), svc: svc, ctx: ctx, cancel: cancel, sending: make(chan struct{}, 1)}
	for _, e := range []struct {
		verb  string
		slots int
		serve func(body []byte) (any, error)
	}{
		{"start", maxStarts, a.start},
		{"stop", maxStops, a.stop},
		{"list", maxLists, a.list},
		{"logs", maxReaders, a.logs},
		{"forget", maxLists, a.forget},
	} {
		subject := contracts.RunnerSubject(self.Runner, e.verb)
		if err := svc.AddEndpoint(e.verb, a.handler(e.slots, e.serve), micro.WithEndpointSubject(subject)); err != nil {
			return nil, errors.Join(fmt.Errorf("serve %s: %w", subject, err), svc.Stop())
		}
	}
	return a, nil
}

// Close stops taking commands and lets go of those in hand: starts are
// completed, stops under way answer that the runner is stopping.
func (a *API) Close() error {
	err := a.svc.Stop()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.wg.Wait()
	return err
}

// handler gives every request a goroutine of its own, of which only so many
// may run at once.
func (a *API) handler(slots int, serve func([]byte) (any, error)) micro.Handler {
	free := make(chan struct{}, slots)
	return micro.HandlerFunc(func(r micro.Request) {
		if !shell.Answerable(r.Reply()) {
			a.spawn(func() {
				a.rejects.Reject(a.ctx, shell.Message{Kind: "command", Subject: r.Subject(), Body: r.Data()},
					fmt.Errorf("%w: its reply subject %.80q is no inbox; send it as a request", contracts.ErrRunnerCommand, r.Reply()))
			})
			return
		}
		select {
		case free <- struct{}{}:
		default:
			a.answer(r, contracts.RunnerReply{
				Code: contracts.RunnerInternal, Error: fmt.Sprintf("runner %s has %d such requests in hand; try again", a.runner, slots),
			}, nil)
			return
		}
		a.spawn(func() {
			defer func() { <-free }()
			reply, err := serve(r.Data())
			if out, ok := reply.(*nats.Msg); ok {
				a.send(r, out)
			} else {
				a.answer(r, reply, err)
			}
			if err != nil {
				// No copy is kept, and no text that quotes: commands may hold secrets.
				a.rejects.Reject(a.ctx, shell.Message{Kind: "command", Subject: r.Subject(), Body: r.Data()},
					shell.Untold(r.Subject(), contracts.CodeBadRequest))
			}
		})
	})
}

// spawn runs f unless the API is closed: requests may arrive until the last
// moment.
func (a *API) spawn(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.wg.Go(f)
	}
}

// answer sends the reply; a malformed command also counts as a failed request.
func (a *API) answer(r micro.Request, reply any, bad error) {
	body, err := contracts.Encode(reply)
	if err == nil {
		// Not r.Error: micro reads the request when the handler has returned,
		// which was before.
		msg := nats.NewMsg(r.Reply())
		msg.Data = body
		if bad != nil {
			msg.Header.Set(micro.ErrorHeader, contracts.Clip(shell.OneLine(bad.Error()), 1024))
			msg.Header.Set(micro.ErrorCodeHeader, contracts.CodeBadRequest)
		}
		err = a.env.NC.PublishMsg(msg)
	}
	if err != nil {
		a.env.Log.Warn("answer not sent", "subject", r.Subject(), "error", err)
	}
}

func (a *API) start(body []byte) (any, error) {
	cmd, err := decode[contracts.StartCommand](body)
	if err != nil {
		return invalid(cmd.Agent, cmd.Incarnation, err), err
	}
	return a.agents.Start(cmd), nil
}

func (a *API) stop(body []byte) (any, error) {
	cmd, err := decode[contracts.StopCommand](body)
	if err != nil {
		return invalid(cmd.Agent, cmd.Incarnation, err), err
	}
	return a.agents.Stop(a.ctx, cmd), nil
}

func (a *API) forget(body []byte) (any, error) {
	cmd, err := decode[contracts.ForgetCommand](body)
	if err != nil {
		return invalid("", 0, err), err
	}
	a.agents.Forget(cmd)
	return contracts.RunnerReply{Code: contracts.RunnerOK}, nil
}

// list answers with a page that one message may hold.
func (a *API) list(body []byte) (any, error) {
	list := contracts.RunnerList{Runner: a.runner, Agents: []contracts.RunnerAgent{}}
	cmd, err := decodeList(body)
	if err != nil {
		return list, err
	}
	list.Term = max(a.agents.Fence(cmd.Term), cmd.Term)
	agents := cmd.Select(a.agents.List())
	if cmd.Usage {
		a.agents.AddUsage(agents)
	}
	return list, list.Fill(agents, cmd.After)
}

func decode[C interface{ Validate() error }](body []byte) (C, error) {
	cmd, err := read[C](body)
	if err != nil {
		return cmd, err
	}
	return cmd, cmd.Validate()
}

// decodeList reads a list command, whose body may be left out.
func decodeList(body []byte) (contracts.ListCommand, error) {
	if len(body) == 0 {
		return contracts.ListCommand{}, nil
	}
	return read[contracts.ListCommand](body)
}

func read[C any](body []byte) (cmd C, err error) {
	if len(body) > contracts.MaxRequestBytes {
		return cmd, fmt.Errorf("%w: %d bytes; at most %d", contracts.ErrRunnerCommand, len(body), contracts.MaxRequestBytes)
	}
	if err := json.Unmarshal(body, &cmd); err != nil {
		return cmd, fmt.Errorf("%w: not the JSON expected: %w", contracts.ErrRunnerCommand, err)
	}
	return cmd, nil
}

func invalid(agent string, incarnation uint64, err error) contracts.RunnerReply {
	reply := contracts.RunnerReply{Code: contracts.RunnerInvalid, Error: err.Error(), Incarnation: incarnation}
	if contracts.ValidateID(agent) == nil {
		reply.Agent = agent
	}
	return reply
}
