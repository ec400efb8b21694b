package fleet

import (
	"context"
	"time"

	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// Tidy does, once per interval and until ctx is done, what need not be done at
// once: it bounds the output of running agents, ends strays of those that have
// ended, and brings records on disk up to date.
func (f *Fleet) Tidy(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.trimOutput()
		f.killStrays()
		f.saveAll()
	}
}

func (f *Fleet) trimOutput() {
	for _, a := range f.all() {
		a.mu.Lock()
		live := a.rec.Live()
		a.mu.Unlock()
		if !live {
			continue
		}
		if err := output.Trim(f.o.Ledger.OutputPath(a.name), f.o.MaxOutput); err != nil {
			f.o.Log.Warn("output not bounded", "agent", a.name, "error", err)
		}
	}
}

// killStrays ends what escaped the end of its agent. One walk through all
// processes serves every agent that ended since the last.
func (f *Fleet) killStrays() {
	f.mu.Lock()
	ended := f.strays
	f.strays = nil
	f.mu.Unlock()
	if len(ended) == 0 {
		return
	}
	marks := make([]string, len(ended))
	for i, token := range ended {
		marks[i] = ledger.TokenEnv(token)
	}
	if n, err := process.KillMarked(marks...); n > 0 || err != nil {
		f.o.Log.Warn("ended processes that outlived their agents", "processes", n, "error", err)
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
