package journal

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// logged is a message of the log, with its sequence and the time at which it was stored.
type logged struct {
	jetstream.Msg
	sequence uint64
	stored   time.Time
}

// read yields messages as they come, up to and including the one at a place in the
// log; those up to another place are behind. It waits for each. An error ends it.
func read(ctx context.Context, msgs jetstream.MessagesContext, behind, until uint64) iter.Seq2[logged, error] {
	return func(yield func(logged, error) bool) {
		defer msgs.Stop()
		defer context.AfterFunc(ctx, msgs.Stop)() // Next heeds no context while it replaces a lost consumer
		for at := behind; at < until; {
			msg, err := msgs.Next(jetstream.NextContext(ctx))
			var meta *jetstream.MsgMetadata
			if err == nil {
				meta, err = msg.Metadata()
			}
			if err != nil {
				yield(logged{}, err)
				return
			}
			at = meta.Sequence.Stream
			if !yield(logged{msg, at, meta.Timestamp}, nil) {
				return
			}
		}
	}
}

// readAfter yields the messages on some subjects that are stored after one place in
// the log, up to and including another. An error ends it. Resets bounds the attempts
// to replace a lost consumer; 0 means no bound.
func (j *Journal) readAfter(ctx context.Context, subjects []string, after, until uint64, resets int) iter.Seq2[logged, error] {
	return func(yield func(logged, error) bool) {
		cons, err := j.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, MaxResetAttempts: resets,
		})
		var msgs jetstream.MessagesContext
		if err == nil {
			msgs, err = cons.Messages()
		}
		if err != nil {
			yield(logged{}, err)
			return
		}
		read(ctx, msgs, after, until)(yield)
	}
}

// readDecisions yields the tree's messages that are stored after one place in the
// log, up to and including another.
func (j *Journal) readDecisions(ctx context.Context, after, until uint64) iter.Seq2[logged, error] {
	return func(yield func(logged, error) bool) {
		for m, err := range j.readAfter(ctx, []string{contracts.TreeWildcard(j.tree)}, after, until, 0) {
			if err != nil {
				err = fmt.Errorf("read decisions of tree %s after sequence %d: %w", j.tree, after, err)
			}
			if !yield(m, err) {
				return
			}
			after = m.sequence
		}
	}
}
