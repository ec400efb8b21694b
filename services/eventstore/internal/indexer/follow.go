package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	feed, err := x.log.Follow(ctx, x.index.Position().Reached+1)
	if err != nil {
		return err
	}
	defer feed.Stop()
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-feed.Broken:
			return err
		case d := <-feed.Messages:
			if err := x.apply(ctx, state.Created, d, feed.Messages); err != nil {
				return err
			}
			continue
		case <-check.C:
		case <-x.doubt:
		}
		if err := x.check(ctx); errors.Is(err, errUnasked) {
			x.slog.Debug("event index not checked", "error", err)
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

// apply indexes a message together with those that wait behind it.
func (x *Indexer) apply(ctx context.Context, stream time.Time, d eventlog.Delivery, more <-chan eventlog.Delivery) error {
	entries := make([]index.Entry, 0, batchSize)
	for waiting := true; waiting; {
		if e, ok := x.take(ctx, stream, d.Record); ok {
			entries = append(entries, e)
		}
		if len(entries) == batchSize {
			break
		}
		select {
		case d = <-more:
		default:
			waiting = false
		}
	}
	if err := ctx.Err(); err != nil {
		return err // what was rejected last may not have been set aside
	}
	if err := x.advance(entries, d.Sequence); err != nil {
		return err
	}
	x.observer.At(d.Sequence, d.Sequence+d.Pending)
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
