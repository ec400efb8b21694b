package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Recover finds the agents of a predecessor: those that live are watched on,
// ends that nobody saw are reported, and ends that were begun are continued. It
// finds them by their records, and where these are lost by the marks in the
// environments of processes. An error means that an agent may live that cannot
// be watched; then this runner must not serve.
func (f *Fleet) Recover(ctx context.Context) error {
	names, err := f.o.Ledger.Agents()
	if err != nil {
		return err
	}
	saw := f.census.Take()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for _, name := range names[:min(len(names), maxKnown)] {
		g.Go(func() error { return f.restore(ctx, f.agent(name), saw) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	f.recognise(saw)
	f.wg.Go(f.endChecks)
	f.forget()
	return nil
}

func (f *Fleet) restore(ctx context.Context, a *agent, saw *process.Snapshot) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	rec, err := f.o.Ledger.Load(a.name)
	if errors.Is(err, ledger.ErrCorrupt) {
		f.o.Log.Error("record of an agent not understood; what lives of it is looked for", "agent", a.name, "error", err)
	} else if err != nil {
		return err
	}
	a.rec = rec
	if _, exit, _ := f.o.Reaper.Find(rec.Token); rec.State == ledger.Leaving && exit != nil {
		a.rec.Exit.Used = exit.Used
	}
	if !rec.Live() {
		f.o.Reaper.Taken(rec.Token) // the record on disk has how it ended, and its output is stored
	}
	if rec.Live() {
		if err := f.readopt(ctx, a, saw); err != nil {
			return fmt.Errorf("agent %s incarnation %d: %w", a.name, rec.Incarnation(), err)
		}
	}
	if a.rec.State == ledger.Exited && a.rec.Start.LeaveChildren { // which may print on
		f.adoptOutput(a)
	}
	if len(a.rec.Outbox) > 0 {
		f.o.Notify(a.name)
	}
	return nil
}

// readopt finds the process that the record speaks of, or finds that it is
// gone; a.mu is held.
func (f *Fleet) readopt(ctx context.Context, a *agent, saw *process.Snapshot) error {
	epoch, err := process.CurrentEpoch()
	if err != nil {
		return err
	}
	over := a.rec.Process.Epoch.Ended(epoch)
	id, exit, known := f.o.Reaper.Find(a.rec.Token)
	if exit != nil && a.rec.Up() {
		f.endedAway(a, *exit, over)
		return f.remains(a)
	}
	if over != "" {
		// Numbers and environments of that time may be others' by now.
		return f.lost(ctx, a, over)
	}
	started := a.rec.State == ledger.Running
	if a.rec.State == ledger.Leaving {
		return f.remains(a)
	}
	switch {
	case started:
	case known:
		a.rec.Process = id
	default: // the predecessor died around the start itself
		a.rec.Process, err = f.find(a, saw)
	}
	var p *process.Process
	if err == nil {
		p, err = f.adopt(a.rec)
	}
	if errors.Is(err, process.ErrGone) && known { // it has just ended
		if exit, ok := f.o.Reaper.Await(a.rec.Token); ok {
			f.endedAway(a, exit, "")
			return f.remains(a)
		}
	}
	switch {
	case errors.Is(err, process.ErrGone) && started:
		a.gone(contracts.Exit{Code: -1, Unknown: true}, "")
		return f.remains(a)
	case errors.Is(err, process.ErrGone):
		a.gone(contracts.Exit{Code: -1, Unknown: true}, "runner ended while starting it")
		return f.remains(a)
	case err != nil:
		return err
	}
	f.adopted(a)
	if started {
		f.watch(a, p)
	} else {
		f.running(a, p)
	}
	return nil
}

// adopt finds the program of a record, whose status comes from the reaper if the
// reaper has it.
func (f *Fleet) adopt(rec ledger.Record) (*process.Process, error) {
	p, err := process.Adopt(rec.Process)
	if err == nil {
		f.o.Reaper.Attach(rec.Token, p)
	}
	return p, err
}

// adopted counts an agent of which something lives already; a.mu is held.
func (f *Fleet) adopted(a *agent) {
	f.mu.Lock()
	f.count(+1)
	f.mu.Unlock()
	f.adoptOutput(a)
	f.o.Observe.Adopted()
	f.o.Log.Info("agent adopted", "agent", a.name, "incarnation", a.rec.Incarnation(), "pid", a.rec.Process.PID)
}

// remains handles an agent whose program has ended: what it left is ended, and
// then its end is reported; a.mu is held.
func (f *Fleet) remains(a *agent) error {
	f.adoptOutput(a) // what it printed last
	left, err := f.left(a.rec, f.census, nil)
	if err == nil && len(left) == 0 {
		f.record(a)
		return nil
	}
	f.mu.Lock()
	f.count(+1)
	f.mu.Unlock()
	a.live(nil)
	f.write(a)
	f.goEnd(a)
	return nil
}

// find looks for a program of which only the start is known: its runner died
// between starting it and writing its number down.
//
// It looks at environments first and at open files second, because a program
// may have closed the files or rewritten its environment, but hardly both
// within the moment in question.
func (f *Fleet) find(a *agent, saw *process.Snapshot) (process.Identity, error) {
	id := process.Identity{Epoch: a.rec.Process.Epoch}
	found := saw.Of(process.Tree{Mark: a.rec.Token})
	if len(found) == 0 {
		var err error
		if found, err = procfs.Holders(f.o.Ledger.LockPath(a.name), f.o.Ledger.FIFOPath(a.name)); err != nil {
			return id, err
		}
	}
	if first, ok := first(found); ok {
		return saw.Identity(first), nil
	}
	return id, process.ErrGone
}

// first returns the program itself among the processes of a start: it leads a
// session, and what it started came later.
func first(found []procfs.Stat) (procfs.Stat, bool) {
	leaders := slices.DeleteFunc(slices.Clone(found), func(s procfs.Stat) bool { return s.PID != s.Session })
	if len(leaders) == 0 {
		return procfs.Stat{}, false
	}
	return slices.MinFunc(leaders, func(a, b procfs.Stat) int { return cmp.Compare(a.StartTime, b.StartTime) }), true
}

// lost records that an agent ended with the host or the container that it ran
// in; a.mu is held.
func (f *Fleet) lost(ctx context.Context, a *agent, how string) error {
	// It is held where the state directory is shared with a host or a container
	// that lives.
	if err := f.freeLock(ctx, a.name); err != nil {
		return err
	}
	if a.rec.Up() {
		a.gone(contracts.Exit{Code: -1, Unknown: true}, how)
	}
	f.record(a)
	return nil
}
