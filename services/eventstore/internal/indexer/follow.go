package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/index"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/intake"
)

var (
	errOtherStream = errors.New("the stream is not the one that was indexed")
	errUnasked     = errors.New("the stream cannot be asked")
)

// follow brings the index into line with the stream, then applies what is
// stored until something is wrong or ctx ends.
func (x *Indexer) follow(ctx context.Context) error {
	state, err := x.settle(ctx)
	if err != nil {
		return err
	}
	msgs, stop, err := x.consume(ctx, state.Created)
	if err != nil {
		return err
	}
	defer stop()
	x.consumer = ""
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-msgs:
			if err := x.apply(ctx, state.Created, msg, msgs); err != nil {
				return err
			}
			continue
		case <-check.C:
		case <-x.doubt:
		}
		if err := x.check(ctx); errors.Is(err, errUnasked) {
			x.slog.Debug("event index not checked", "error", err) // the consumer copes by itself
		} else if err != nil {
			return err
		}
	}
}

// settle compares the index with the stream and resets it if it is of another.
func (x *Indexer) settle(ctx context.Context) (eventlog.State, error) {
	state, err := x.log.State(ctx)
	if err != nil {
		return state, err
	}
	odd, err := x.odds(ctx, x.index.Position(), state)
	if err != nil {
		return state, err
	}
	if odd != "" {
		x.slog.Info("the event index starts afresh", "because", odd, "events", state.Messages)
		x.observer.Rebuilt()
		if err := x.index.Reset(state.Created); err != nil {
			return state, err
		}
	}
	if before := max(state.First, 1) - 1; x.index.Position().Reached < before {
		if _, err := x.index.Apply(nil, before); err != nil {
			return state, err
		}
	}
	removed, err := x.index.Prune(state.First)
	if err != nil {
		return state, err
	}
	x.slog.Debug("following the event stream", "from", x.index.Position().Reached+1, "last", state.Last, "pruned", removed)
	x.observer.At(x.index.Position().Reached, state.Last)
	x.setStale(false)
	return state, nil
}

// odds says in which way an index at a position cannot be of this stream, or "".
func (x *Indexer) odds(ctx context.Context, at index.Position, s eventlog.State) (string, error) {
	switch {
	case at.Stream.IsZero():
		return "there is none", nil
	case !at.Stream.Equal(s.Created):
		return fmt.Sprintf("the stream was created anew at %s", s.Created.Format(time.RFC3339Nano)), nil
	case at.Reached > s.Last:
		return fmt.Sprintf("the stream ends at %d, before the index at %d", s.Last, at.Reached), nil
	case at.Reached+1 < s.First:
		return fmt.Sprintf("the stream begins at %d, after the index at %d", s.First, at.Reached), nil
	case at.Anchor.Sequence == 0 || at.Anchor.Sequence < s.First:
		return "", nil
	}
	r, err := x.log.Get(ctx, at.Anchor.Sequence)
	if errors.Is(err, eventlog.ErrGone) {
		return fmt.Sprintf("the stream lost event %s at %d", at.Anchor.ID, at.Anchor.Sequence), nil
	}
	if err != nil {
		return "", err
	}
	if e, err := intake.Decode(r.Subject, r.Data); err != nil || e.ID != at.Anchor.ID {
		return fmt.Sprintf("the stream has another event than %s at %d", at.Anchor.ID, at.Anchor.Sequence), nil
	}
	return "", nil
}

// check is settle for an index in use: it only tells. A stream that cannot be
// asked is errUnasked.
func (x *Indexer) check(ctx context.Context) error {
	if x.isCorrupt() {
		return index.ErrCorrupt
	}
	state, err := x.log.State(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnasked, err)
	}
	odd, err := x.odds(ctx, x.index.Position(), state)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnasked, err)
	}
	if odd != "" && x.index.Position().Reached+1 >= state.First {
		x.setStale(true)
		return fmt.Errorf("%w: %s", errOtherStream, odd)
	}
	x.setStale(false) // whoever doubted it was late
	x.observer.At(x.index.Position().Reached, state.Last)
	_, err = x.index.Prune(state.First)
	return err
}

// consume follows the stream with an ordered consumer, which makes itself anew
// after interruptions and never skips or repeats a message.
func (x *Indexer) consume(ctx context.Context, created time.Time) (<-chan jetstream.Msg, func(), error) {
	cons, err := x.js.OrderedConsumer(ctx, contracts.EventStream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   x.index.Position().Reached + 1,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("follow stream %s created %s: %w", contracts.EventStream, created, err)
	}
	msgs, gone := make(chan jetstream.Msg, batchSize), make(chan struct{})
	cc, err := cons.Consume(func(m jetstream.Msg) {
		select {
		case msgs <- m:
		case <-gone:
		}
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		x.slog.Debug("event stream consumer", "error", err)
	}))
	if err != nil {
		return nil, nil, fmt.Errorf("follow stream %s: %w", contracts.EventStream, err)
	}
	return msgs, func() {
		close(gone)
		cc.Stop()
		select {
		case <-cc.Closed():
		case <-time.After(time.Second):
		}
	}, nil
}

// apply indexes a message together with those that wait behind it.
func (x *Indexer) apply(ctx context.Context, stream time.Time, first jetstream.Msg, more <-chan jetstream.Msg) error {
	entries := make([]index.Entry, 0, batchSize)
	var reached, pending uint64
	for msg := first; msg != nil; {
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("message of the event stream: %w", err)
		}
		if err := x.recheck(ctx, meta.Consumer); err != nil {
			return err
		}
		reached, pending = meta.Sequence.Stream, meta.NumPending
		r := eventlog.Record{Sequence: reached, Subject: msg.Subject(), Time: meta.Timestamp, Data: msg.Data()}
		if e, ok := x.take(ctx, stream, r); ok {
			entries = append(entries, e)
		}
		if len(entries) == batchSize {
			break
		}
		select {
		case msg = <-more:
		default:
			msg = nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err // what was rejected last may not have been set aside
	}
	if err := x.advance(entries, reached); err != nil {
		return err
	}
	x.observer.At(reached, reached+pending)
	return nil
}

// recheck checks the index before the first message of every consumer. The
// ordered consumer makes itself anew when its server was away, and a server that
// crashed may have lost its last messages and given their sequences to others.
func (x *Indexer) recheck(ctx context.Context, consumer string) error {
	if consumer == x.consumer {
		return nil
	}
	if x.consumer != "" { // the first one follows upon settle
		if err := x.check(ctx); err != nil {
			return err
		}
	}
	x.consumer = consumer
	return nil
}

// take makes the index entry of a stored message, unless it is no event.
func (x *Indexer) take(ctx context.Context, stream time.Time, r eventlog.Record) (index.Entry, bool) {
	e, err := intake.Decode(r.Subject, r.Data)
	var why *intake.Rejection
	if errors.As(err, &why) {
		x.rejecter.Reject(ctx, stream, r, why)
		return index.Entry{}, false
	}
	x.observer.Stored(e.Type)
	entry := index.Entry{Sequence: r.Sequence, ID: e.ID, Correlation: e.CorrelationID, Causation: e.CausationID}
	if d := e.Time.Sub(r.Time); d > MisdatedBy || d < -MisdatedBy {
		entry.Misdated = e.Time
	}
	return entry, true
}
