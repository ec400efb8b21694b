package journal

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Fence has the log refuse what a supervisor stores after another has decided about
// the tree. It is safe for concurrent use.
type Fence struct {
	stream jetstream.Stream
	tree   string
	// prove makes sure that no other supervisor has had the lease since this one has.
	prove func(ctx context.Context) error
}

// NewFence returns a fence for a tree in a log. Prove may be nil where nobody contends.
func NewFence(stream jetstream.Stream, tree string, prove func(context.Context) error) *Fence {
	return &Fence{stream, tree, prove}
}

// Follow has a message stored only if the tree's last message is at a place, 0 for
// none. Where the log has none, that keeps nobody out, see [Fence.Alone].
func (f *Fence) Follow(last uint64) []jetstream.PublishOpt {
	return []jetstream.PublishOpt{
		jetstream.WithExpectLastSequenceForSubject(last, contracts.TreeWildcard(f.tree)), jetstream.WithRetryAttempts(0),
	}
}

// Alone has a message stored only if the log has no message of the tree, as it has
// forgotten the last, which was at a place. It may have forgotten another supervisor's
// decision as well. But one that decides has the lease: if this one still has it, the
// other can only have decided after that, and what is stored since refuses the message.
// The error is ErrSuperseded if the lease is another's, or the log has lost the
// message.
func (f *Fence) Alone(ctx context.Context, last uint64) ([]jetstream.PublishOpt, error) {
	log, err := stateOf(ctx, f.stream)
	if err != nil {
		return nil, err
	}
	if last > 0 && log.FirstSeq <= last {
		return nil, ErrSuperseded
	}
	if f.prove != nil {
		if err := f.prove(ctx); err != nil {
			return nil, err
		}
	}
	return append(f.Follow(0), jetstream.WithExpectLastSequence(log.LastSeq)), nil
}

// stateOf tells from where to where a stream reaches.
func stateOf(ctx context.Context, stream jetstream.Stream) (jetstream.StreamState, error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("read the state of stream %s: %w", contracts.EventStream, err)
	}
	return info.State, nil
}
