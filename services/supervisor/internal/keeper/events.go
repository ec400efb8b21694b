package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// reader brings the log's evidence about agents to the keeper, in the log's
// order, each once, over outages.
type reader struct {
	sync.WaitGroup
	stream jetstream.Stream
}

var evidence = []string{
	contracts.EventTypeWildcard(contracts.AgentFailed),
	contracts.EventTypeWildcard(contracts.AgentStopped),
	contracts.EventTypeWildcard(contracts.AgentRecovered),
	contracts.EventTypeWildcard(contracts.AgentCreated),
}

// readEvents begins to read after the cursor.
func (k *Keeper) readEvents(ctx context.Context) (*reader, error) {
	stream, err := k.env.JS.Stream(ctx, contracts.EventStream)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	r := &reader{stream: stream}
	cursor := k.leader.Cursor()
	r.Go(func() { k.read(ctx, stream, cursor) })
	return r, nil
}

// lastEvidence is the place in the log of the last evidence that there is now, 0
// for none.
func (r *reader) lastEvidence(ctx context.Context) (uint64, error) {
	var last uint64
	for _, subject := range evidence {
		msg, err := r.stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read events: %w", err)
		}
		last = max(last, msg.Sequence)
	}
	return last, nil
}

// read delivers events until ctx ends. When the consumer is lost, it goes on
// behind the last event delivered.
func (k *Keeper) read(ctx context.Context, stream jetstream.Stream, cursor uint64) {
	const first, most = 200 * time.Millisecond, 5 * time.Second
	for wait := first; ctx.Err() == nil; wait = min(2*wait, most) {
		last, err := k.readOn(ctx, stream, cursor)
		if ctx.Err() != nil {
			return
		}
		if last > cursor {
			cursor, wait = last, first
		}
		k.env.Log.Warn("reading events interrupted; going on", "tree", k.opt.Tree, "after", cursor, "error", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func (k *Keeper) readOn(ctx context.Context, stream jetstream.Stream, cursor uint64) (uint64, error) {
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: evidence, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: cursor + 1,
		// One attempt to replace a lost consumer, of at most 10 s, heeds no
		// context; read makes the others.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return cursor, err
	}
	msgs, err := cons.Messages()
	if err != nil {
		return cursor, err
	}
	defer msgs.Stop()
	for {
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return cursor, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return cursor, err
		}
		if meta.Sequence.Stream <= cursor {
			continue
		}
		cursor = meta.Sequence.Stream
		k.post(ctx, k.arrive(ctx, msg, cursor))
	}
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
