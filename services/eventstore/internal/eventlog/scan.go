package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Range is a part of the stream.
type Range struct {
	// From and To are the first and last sequence, both included.
	From, To uint64
	// Subjects restrict it; none means all. They must not overlap.
	Subjects []string
}

const (
	// firstFetch, leastFetch and mostFetch are how many messages are asked for
	// at once; about fetchBytes of them, going by those that came before.
	firstFetch, leastFetch, mostFetch = 16, 4, 256
	fetchBytes                        = 1 << 20
	// fetchWait is how long a fetch may take; all it asks for is stored.
	fetchWait = 5 * time.Second
	// consumerLife is how long the server keeps a consumer that was left.
	consumerLife = 30 * time.Second
	// scanAttempts is how often a scan is taken up again where it broke off.
	scanAttempts = 5
)

var errBroken = errors.New("messages were lost on the way")

// Scan calls yield with each message of a range, in order, until it says no or
// fails, or the range ends. It gives the sequence up to which the range has been
// looked through: To at the end, otherwise the last one yielded. A scan that
// breaks off, as when the stream's leader changes, is taken up where it was.
func (l *Log) Scan(ctx context.Context, r Range, yield func(Record) (more bool, err error)) (reached uint64, err error) {
	reached = max(r.From, 1) - 1
	for attempt := 1; reached < r.To; attempt++ {
		before := reached
		rest := r
		rest.From = reached + 1
		done, err := l.scanOnce(ctx, rest, func(rec Record) (bool, error) {
			reached = rec.Sequence
			return yield(rec)
		})
		var stop *yieldError
		switch {
		case errors.As(err, &stop):
			return reached, stop.err
		case ctx.Err() != nil:
			return reached, ctx.Err()
		case err == nil && done:
			return r.To, nil
		case err == nil:
			return reached, nil
		case attempt >= scanAttempts && reached == before:
			return reached, err
		case reached > before:
			attempt = 0
		}
	}
	return r.To, nil
}

// yieldError is an error of the caller's own, which ends a scan.
type yieldError struct{ err error }

func (e *yieldError) Error() string { return e.err.Error() }

// scanOnce scans with one consumer. done tells that the range's end came.
func (l *Log) scanOnce(ctx context.Context, r Range, yield func(Record) (bool, error)) (done bool, err error) {
	cons, err := l.consumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.From, FilterSubjects: r.Subjects,
	})
	if err != nil {
		return false, err
	}
	defer l.discard(cons)
	pending, delivered := cons.CachedInfo().NumPending, uint64(0)
	for size := firstFetch; pending > 0; {
		batch, err := cons.Fetch(int(min(pending, uint64(size))), jetstream.FetchMaxWait(fetchWait))
		if err != nil {
			return false, fmt.Errorf("stream %s: fetch from sequence %d: %w", l.name(), r.From, err)
		}
		before, bytes := delivered, 0
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return false, fmt.Errorf("stream %s: %w", l.name(), err)
			}
			if delivered++; meta.Sequence.Consumer != delivered {
				return false, fmt.Errorf("stream %s: %w before sequence %d", l.name(), errBroken, meta.Sequence.Stream)
			}
			if meta.Sequence.Stream > r.To {
				return true, nil
			}
			pending = meta.NumPending
			bytes += len(msg.Data())
			more, err := yield(Record{Sequence: meta.Sequence.Stream, Subject: msg.Subject(), Time: meta.Timestamp, Data: msg.Data()})
			if err != nil {
				return false, &yieldError{err}
			}
			if !more {
				return false, nil
			}
		}
		if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
			return false, fmt.Errorf("stream %s: fetch: %w", l.name(), err)
		}
		if delivered == before {
			return false, fmt.Errorf("stream %s: nothing came within %s of %d messages announced", l.name(), fetchWait, pending)
		}
		size = min(max(fetchBytes/(bytes/int(delivered-before)+1), leastFetch), mostFetch)
	}
	return true, nil
}

func (l *Log) consumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	cfg.AckPolicy = jetstream.AckNonePolicy
	cfg.MemoryStorage = true
	cfg.Replicas = 1
	cfg.InactiveThreshold = consumerLife
	return ask(ctx, l, "consumer", func(ctx context.Context) (jetstream.Consumer, error) {
		cons, err := l.js.CreateConsumer(ctx, l.name(), cfg)
		if err != nil {
			return nil, fmt.Errorf("stream %s: create a consumer: %w", l.name(), err)
		}
		return cons, nil
	})
}

// discard removes a consumer; the server does it later if that fails.
func (l *Log) discard(cons jetstream.Consumer) {
	if !l.js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = l.js.DeleteConsumer(ctx, l.name(), cons.CachedInfo().Name)
}

// SequenceAt gives the sequence of the first message stored at or after an
// instant: one beyond the last when there is none.
func (l *Log) SequenceAt(ctx context.Context, at time.Time) (uint64, error) {
	cons, err := l.consumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at})
	if err != nil {
		return 0, err
	}
	defer l.discard(cons)
	return cons.CachedInfo().Delivered.Stream + 1, nil
}
