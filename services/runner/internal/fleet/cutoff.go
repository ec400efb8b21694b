package fleet

import (
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// CutOff ends all agents, each within its own shutdown timeout, because nobody hears
// of this host any more and they may be started elsewhere. Their ends are the host's
// doing. It returns how many there are, and does not wait for their ends.
func (f *Fleet) CutOff(why string) (agents int) {
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
