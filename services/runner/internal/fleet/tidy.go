package fleet

import (
	"context"
	"time"
)

// Tidy does, once per interval and until ctx is done, what need not be done at
// once: it deletes output of removed agents, reaps orphans and brings records on disk up to date.
func (f *Fleet) Tidy(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.deleteOutput(time.Now())
		f.reap()
		f.saveAll()
	}
}

// saveAll makes the records that changed outlive a loss of power. Nobody waits
// for the disk meanwhile.
func (f *Fleet) saveAll() {
	for _, a := range f.all() {
		a.mu.Lock()
		unsaved := a.unsaved
		if unsaved {
			f.write(a) // acknowledgements are not written yet
			a.unsaved = false
		}
		a.mu.Unlock()
		if !unsaved {
			continue
		}
		if err := f.o.Ledger.Sync(a.name); err != nil {
			f.o.Log.Error("record may not outlive a loss of power", "agent", a.name, "error", err)
		}
	}
}
