package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Withdraw ends all agents without an order, each within its own shutdown timeout,
// because of what has happened to their host or is to. Why says that in words that
// "and process 7 ended with it" can follow. Nobody wants them down: their ends are
// charged to the host, however they end, so that they are started again. Withdraw
// returns how many there are, and does not wait for their ends.
func (f *Fleet) Withdraw(why string) (agents int) {
	for _, a := range f.all() {
		a.mu.Lock()
		if a.rec.State == ledger.Running && a.rec.Stop == nil && a.done != nil && a.rec.Cut == "" {
			agents++
			a.rec.Cut = why
			a.bind(procfs.Ticks() + procfs.ToTicks(grace(a.rec, 0)))
			f.write(a)
			f.goEnd(a)
		}
		a.mu.Unlock()
	}
	return agents
}

// WithdrawAll withdraws all agents because their runner ends, starts no more, and
// waits for their ends.
func (f *Fleet) WithdrawAll(ctx context.Context) error {
	f.Refuse()
	n := f.Withdraw("runner " + f.o.Runner + " was ended")
	f.o.Log.Info("ending all agents with this runner", "agents", n)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, a := range f.all() {
		wg.Go(func() {
			if err := f.awaitEnd(ctx, a); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// awaitEnd waits until nothing of an agent lives that is being ended.
func (f *Fleet) awaitEnd(ctx context.Context, a *agent) error {
	a.mu.Lock()
	live, done, rec := a.rec.Live(), a.done, a.rec
	unwatched := f.unwatched(a)
	a.mu.Unlock()
	switch {
	case !live:
		return nil
	case done == nil:
		return unwatched
	}
	bound := procfs.Ticks() + procfs.ToTicks(grace(rec, 0))
	if rec.Ending != nil {
		bound = rec.Ending.Bound
	}
	if err := f.confirmed(ctx, done, bound); err != nil {
		return fmt.Errorf("agent %s: %w", a.name, err)
	}
	return nil
}
