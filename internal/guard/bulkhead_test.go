package guard

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

func TestBulkheadBoundsCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", Options{Retry: once, Bulkhead: config.Bulkhead{MaxConcurrentCalls: 3, MaxWaitDuration: time.Hour, MaxWaiting: 100}})
		var now, peak atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := g.Run(t.Context(), "op", func(context.Context) error {
					n := now.Add(1)
					for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
					}
					time.Sleep(second)
					now.Add(-1)
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if g.Available() != 0 || g.Waiting() != 17 {
			t.Errorf("%d free, %d waiting", g.Available(), g.Waiting())
		}
		started := time.Now()
		wg.Wait()
		if peak.Load() != 3 || time.Since(started) != 7*second {
			t.Errorf("%d at once, %v in all", peak.Load(), time.Since(started))
		}
		if g.Available() != 3 || g.Waiting() != 0 {
			t.Errorf("%d free, %d waiting", g.Available(), g.Waiting())
		}
	})
}

func TestBulkheadRejections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", Options{Retry: once, Bulkhead: config.Bulkhead{MaxConcurrentCalls: 1, MaxWaitDuration: 2 * second, MaxWaiting: 1}})
		end := hanging(t, g)
		started := time.Now()
		waited := make(chan error, 1)
		go func() { waited <- g.Run(t.Context(), "op", succeeds) }()
		synctest.Wait()
		wantErr(t, g.Run(t.Context(), "op", succeeds), ErrQueueFull)
		wantErr(t, <-waited, ErrQueueTimeout)
		if took := time.Since(started); took != 2*second {
			t.Errorf("waited %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), second)
		defer cancel()
		err := g.Run(ctx, "op", succeeds)
		wantErr(t, err, context.DeadlineExceeded)
		if Rejected(err) {
			t.Errorf("the caller's end is taken for a rejection: %v", err)
		}
		if err := end(nil); err != nil {
			t.Error(err)
		}

		now := New("svc", Options{Retry: once, Bulkhead: config.Bulkhead{MaxConcurrentCalls: 1}})
		end = hanging(t, now)
		started = time.Now()
		wantErr(t, now.Run(t.Context(), "op", succeeds), ErrQueueTimeout)
		if took := time.Since(started); took != 0 {
			t.Errorf("without a wait it waited %v", took)
		}
		if err := end(nil); err != nil {
			t.Error(err)
		}
	})
}

// Close refuses what is new and what waits, and waits for what runs.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := New("svc", Options{Retry: once, Bulkhead: config.Bulkhead{MaxConcurrentCalls: 1, MaxWaitDuration: time.Hour, MaxWaiting: 9}})
		end := hanging(t, g)
		waiting := make(chan error, 1)
		go func() { waiting <- g.Run(t.Context(), "op", succeeds) }()
		synctest.Wait()

		started := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), second)
		defer cancel()
		if err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed with a call in flight: %v", err)
		}
		wantErr(t, <-waiting, ErrClosed)
		if took := time.Since(started); took != second {
			t.Errorf("the waiting call was kept for %v", took)
		}
		wantErr(t, g.Run(t.Context(), "op", succeeds), ErrClosed)

		closed := make(chan error, 1)
		go func() { closed <- g.Close(t.Context()) }()
		synctest.Wait()
		if err := end(nil); err != nil {
			t.Errorf("the call in flight: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := g.Close(t.Context()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	})
}
