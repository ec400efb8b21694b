package keeper

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
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
