package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// line is the way to one runner. Its guard is the runner's own, so that one that
// is down does not keep others from being used.
type line struct {
	guard *guard.Guard
	// starts is full while as many starts are under way as the guard lets through.
	// The others stand in line, however many: what waits in the guard is bounded,
	// and stops must not be refused for ten thousand starts.
	starts chan struct{}
}

// line returns the way to a runner, with the settings named runner.
func (c *Commander) line(runner string) *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[runner]
	if l == nil {
		g := shell.NewNamedGuard(c.env, c.file, contracts.ServiceRunner, contracts.ServiceRunner+"/"+runner)
		l = &line{g, make(chan struct{}, g.Available())}
		c.lines[runner] = l
	}
	return l
}

// Renew forgets the breaker's bad experience with a runner that is known to be
// back.
func (c *Commander) Renew(runner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.lines[runner]; l != nil && l.guard.State() != guard.Closed {
		delete(c.lines, runner)
	}
}

// Drop forgets a runner that is gone for good, with its metrics.
func (c *Commander) Drop(runner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.boots, runner)
	if l := c.lines[runner]; l != nil {
		delete(c.lines, runner)
		l.guard.Forget()
	}
}

// inLine calls f when it is the start's turn. That never comes when ctx ends or
// another command for the same agent takes its place.
func (l *line) inLine(ctx context.Context, overtaken <-chan struct{}, f func() (contracts.RunnerReply, error)) (contracts.RunnerReply, error) {
	select {
	case l.starts <- struct{}{}:
	case <-overtaken:
		return contracts.RunnerReply{}, errOvertaken
	case <-ctx.Done():
		return contracts.RunnerReply{}, ctx.Err()
	}
	defer func() { <-l.starts }()
	return f()
}

var errOvertaken = errors.New("another command has taken its place")

// ask sends a command to a runner and reads its answer. Body gives its JSON, and
// is called only then: a breaker that is open costs nothing.
func ask[R any](ctx context.Context, c *Commander, l *line, runner, verb string, body func() ([]byte, error), timeout time.Duration) (R, error) {
	return guard.Do(ctx, l.guard, verb, func(ctx context.Context) (reply R, err error) {
		raw, err := body()
		if err != nil {
			return reply, guard.Permanent(fmt.Errorf("%s at runner %s: %w", verb, runner, err))
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		msg, err := c.env.NC.RequestWithContext(ctx, contracts.RunnerSubject(runner, verb), raw)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return reply, guard.Permanent(fmt.Errorf("runner %s does not answer: %w", runner, err))
		case err != nil:
			return reply, err
		}
		if err := json.Unmarshal(msg.Data, &reply); err != nil {
			return reply, guard.Permanent(fmt.Errorf("answer of runner %s to %s: %w", runner, verb, err))
		}
		return reply, nil
	})
}

func asJSON(command any) func() ([]byte, error) {
	return func() ([]byte, error) { return json.Marshal(command) }
}
