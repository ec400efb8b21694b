package guard

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/mistersmith/mistersmith/internal/config"
)

// bulkhead bounds calls in flight and calls waiting to be.
type bulkhead struct {
	opts    config.Bulkhead
	places  *semaphore.Weighted
	inUse   atomic.Int64
	waiting atomic.Int64
	closing context.Context
	shut    context.CancelFunc
}

func newBulkhead(opts config.Bulkhead) *bulkhead {
	b := &bulkhead{opts: opts, places: semaphore.NewWeighted(int64(opts.MaxConcurrentCalls))}
	b.closing, b.shut = context.WithCancel(context.Background())
	return b
}

// acquire takes a place and gives the function that returns it.
func (b *bulkhead) acquire(ctx context.Context) (release func(), err error) {
	if b.closing.Err() != nil {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if !b.places.TryAcquire(1) {
		if err := b.wait(ctx); err != nil {
			return nil, err
		}
	}
	if b.closing.Err() != nil {
		b.places.Release(1)
		return nil, ErrClosed
	}
	b.inUse.Add(1)
	return func() {
		b.inUse.Add(-1)
		b.places.Release(1)
	}, nil
}

// wait queues for a place, first come first served.
func (b *bulkhead) wait(ctx context.Context) error {
	defer b.waiting.Add(-1)
	if waiting := b.waiting.Add(1); b.opts.MaxWaitDuration > 0 && waiting > int64(b.opts.MaxWaiting) {
		return fmt.Errorf("%w: %d calls in flight, %d waiting", ErrQueueFull, b.opts.MaxConcurrentCalls, b.opts.MaxWaiting)
	}
	if b.opts.MaxWaitDuration <= 0 {
		return fmt.Errorf("%w: %d calls in flight", ErrQueueTimeout, b.opts.MaxConcurrentCalls)
	}
	queued, cancel := context.WithTimeout(ctx, b.opts.MaxWaitDuration)
	defer cancel()
	defer context.AfterFunc(b.closing, cancel)()
	if b.places.Acquire(queued, 1) == nil {
		return nil
	}
	switch {
	case b.closing.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return fmt.Errorf("gave up waiting for the bulkhead: %w", context.Cause(ctx))
	}
	return fmt.Errorf("%w: no place within %v, %d calls in flight", ErrQueueTimeout, b.opts.MaxWaitDuration, b.opts.MaxConcurrentCalls)
}

func (b *bulkhead) available() int {
	return max(0, b.opts.MaxConcurrentCalls-int(b.inUse.Load()))
}

// close refuses new and waiting calls and waits for those in flight.
func (b *bulkhead) close(ctx context.Context) error {
	b.shut()
	all := int64(b.opts.MaxConcurrentCalls)
	if err := b.places.Acquire(ctx, all); err != nil {
		return fmt.Errorf("%d calls still in flight: %w", b.inUse.Load(), context.Cause(ctx))
	}
	b.places.Release(all)
	return nil
}
