package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// ErrNameTaken tells that another runner has this runner's name.
var ErrNameTaken = errors.New("runner name taken")

// CheckName makes sure that nobody else answers to the runner's name. One that
// is subscribed but silent is given until ctx is done: it may be the
// connection of a runner that has just died.
func CheckName(ctx context.Context, nc *nats.Conn, runner string) error {
	const patience = 500 * time.Millisecond
	for {
		try, cancel := context.WithTimeout(ctx, patience)
		_, err := nc.RequestWithContext(try, contracts.RunnerSubject(runner, "list"), nil)
		cancel()
		switch {
		case err == nil:
			return taken(runner, "it answers")
		case errors.Is(err, nats.ErrNoResponders):
			return nil
		case ctx.Err() != nil:
			return taken(runner, "it is connected, but does not answer")
		case !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("ask for other runners named %s: %w", runner, err)
		}
	}
}

func taken(runner, how string) error {
	return fmt.Errorf("%w: a runner named %q is there already (%s on %s); give this one another --name or stop that one",
		ErrNameTaken, runner, how, contracts.RunnerSubject(runner, "list"))
}

// Announce announces the runner and beats for it until ctx is done, then says
// that it has stopped. It returns ErrNameTaken when a runner that is older
// turns out to have the same name.
func Announce(ctx context.Context, env shell.Env, self contracts.RunnerAnnouncement, running func() int) error {
	subject := contracts.AnnounceSubject(self.Runner)
	rivals := make(chan *nats.Msg, 16)
	sub, err := env.NC.ChanSubscribe(subject, rivals)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }()

	beat := contracts.Heartbeat{
		Type: contracts.TypeRunner, Interval: contracts.Duration(contracts.RunnerAnnounceInterval),
		Capacity: self.Capacity, Status: contracts.StatusRunning,
	}
	send := func() {
		self.Agents = running()
		beat.Seq++
		beat.InFlight = self.Agents
		publish(env, subject, self)
		publish(env, contracts.HeartbeatSubject(self.Runner), beat)
	}
	tick := time.NewTicker(contracts.RunnerAnnounceInterval)
	defer tick.Stop()
	for send(); ; {
		select {
		case <-ctx.Done():
			beat.Status = contracts.StatusStopped
			publish(env, contracts.HeartbeatSubject(self.Runner), beat)
			return nil
		case <-tick.C:
			send()
		case msg := <-rivals:
			if err := yield(self, msg.Data); err != nil {
				return err
			}
		}
	}
}

// yield decides between two runners of one name: the one that started later
// has to go.
func yield(self contracts.RunnerAnnouncement, body []byte) error {
	var other contracts.RunnerAnnouncement
	if err := json.Unmarshal(body, &other); err != nil || other.Session == "" || other.Session == self.Session {
		return nil // not an announcement, or our own
	}
	older := other.Started.Before(self.Started) ||
		other.Started.Equal(self.Started) && other.Session < self.Session
	if !older {
		return nil
	}
	return taken(self.Runner, fmt.Sprintf("it runs on %.80q since %s", other.Host, other.Started.Format(time.RFC3339)))
}

// publish sends a core message: if it does not get through, the next one will.
func publish(env shell.Env, subject string, v any) {
	body, err := json.Marshal(v)
	if err == nil {
		err = env.NC.Publish(subject, body)
	}
	if err != nil {
		env.Log.Debug("not sent", "subject", subject, "error", err)
	}
}

// Beat publishes the heartbeat of an agent that the runner speaks for.
func Beat(env shell.Env, agent string, h contracts.Heartbeat) {
	publish(env, contracts.HeartbeatSubject(agent), h)
}
