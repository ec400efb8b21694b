package keeper

import (
	"cmp"
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// evidence is on the subjects that say something of agents.
var evidence = []string{
	contracts.EventTypeWildcard(contracts.AgentFailed),
	contracts.EventTypeWildcard(contracts.AgentStopped),
	contracts.EventTypeWildcard(contracts.AgentRecovered),
	contracts.EventTypeWildcard(contracts.AgentCreated),
}

// arrive decodes an event; one that cannot be understood is reported and set
// aside.
func (k *Keeper) arrive(ctx context.Context, msg jetstream.Msg, seq uint64) arrival {
	in, err := decode(msg.Subject(), msg.Data())
	if err != nil {
		k.opt.Rejects.Reject(ctx, shell.Message{
			Kind: "event", Subject: msg.Subject(), Sequence: seq, Body: msg.Data(),
		}, err)
		return arrival{seq: seq}
	}
	return arrival{Input: in, seq: seq}
}

// decode reads what an event means to the tree: nothing, where it is of a type
// that says nothing of agents.
func decode(subject string, body []byte) (tree.Input, error) {
	t, _, err := contracts.ParseEventSubject(subject)
	if err != nil {
		return tree.Input{}, err
	}
	switch t {
	case contracts.AgentFailed:
		return decodeAs(subject, body, failedInput)
	case contracts.AgentStopped:
		return decodeAs(subject, body, stoppedInput)
	case contracts.AgentRecovered, contracts.AgentCreated:
		return decodeAs(subject, body, seenInput)
	}
	return tree.Input{}, nil
}

func decodeAs[T any](subject string, body []byte, meaning func(contracts.Event, T) (tree.Input, error)) (tree.Input, error) {
	ev, data, err := contracts.DecodeEventAs[T](subject, body)
	if err != nil {
		return tree.Input{}, err
	}
	return meaning(ev, data)
}

// failedInput reads what an agent.failed event means to the tree. Whoever saw
// the process end reports an exit; everybody else gives a verdict on a process
// that may live.
func failedInput(ev contracts.Event, d contracts.AgentFailedData) (tree.Input, error) {
	in, err := input(ev, d.Agent, d.Incarnation)
	if err != nil {
		return in, err
	}
	switch d.Reason {
	case contracts.ReasonExited, contracts.ReasonPanicked:
		in.Kind = tree.Exited
		if d.Exit != nil {
			in.Reason = fleet.DescribeExit(*d.Exit)
		}
	case contracts.ReasonStartFailed:
		in.Kind = tree.StartFailed
	case contracts.ReasonHostLost:
		in.Kind = tree.Lost
	default:
		in.Kind = tree.Failed
	}
	if in.Reason == "" {
		in.Reason = string(d.Reason)
		if d.Detail != "" {
			in.Reason += ": " + d.Detail
		}
	}
	in.Reason = contracts.Clip(in.Reason, maxReason)
	return in, nil
}

// stoppedInput reads an agent.stopped event: an end that is no failure.
func stoppedInput(ev contracts.Event, d contracts.AgentStoppedData) (tree.Input, error) {
	in, err := input(ev, d.Agent, d.Incarnation)
	if err != nil {
		return in, err
	}
	in.Kind, in.Normal = tree.Exited, true
	in.Requested = d.Reason == contracts.StopRequested
	in.Reason = cmp.Or(string(d.Reason), "stopped")
	return in, nil
}

// seen is what matters of agent.recovered and agent.created.
type seen struct {
	Incarnation uint64 `json:"incarnation"`
}

// seenInput reads an event that says that an agent lives, whoever started it.
func seenInput(ev contracts.Event, d seen) (tree.Input, error) {
	in, err := input(ev, "", d.Incarnation)
	in.Kind, in.Reason = tree.SeenAlive, ev.Type.Name()
	return in, err
}

// input is what every event says of an agent's incarnation. The data may name the
// agent, too.
func input(ev contracts.Event, agent string, incarnation uint64) (tree.Input, error) {
	if agent != "" && agent != ev.Entity {
		return tree.Input{}, fmt.Errorf("%w %s: data speaks of agent %.64q, the subject of %q", contracts.ErrEvent, ev.ID, agent, ev.Entity)
	}
	return tree.Input{Node: ev.Entity, Incarnation: incarnation, Event: ev.ID, Chain: ev.CorrelationID, At: tree.Instant(ev.Time.UnixNano())}, nil
}

// maxReason bounds the text that is kept in the tree for each failure.
const maxReason = 256
