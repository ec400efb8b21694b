package fleet

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// Recover finds the agents of a predecessor: those that live are watched on,
// ends that nobody saw are reported, and orders to stop are carried on. An
// error means that an agent may live that cannot be watched; then this runner
// must not serve.
func (f *Fleet) Recover(ctx context.Context) error {
	names, err := f.o.Ledger.Agents()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, name := range names[:min(len(names), maxKnown)] {
		g.Go(func() error { return f.restore(ctx, f.agent(name)) })
	}
	return g.Wait()
}

func (f *Fleet) restore(ctx context.Context, a *agent) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	rec, err := f.o.Ledger.Load(a.name)
	if errors.Is(err, ledger.ErrCorrupt) {
		// The lock still refuses a second copy.
		f.o.Log.Error("agent forgotten", "agent", a.name, "error", err)
	} else if err != nil {
		return err
	}
	a.rec = rec
	if rec.Live() {
		if err := f.readopt(ctx, a); err != nil {
			return fmt.Errorf("agent %s incarnation %d: %w", a.name, rec.Incarnation(), err)
		}
	}
	if len(a.rec.Outbox) > 0 {
		f.o.Notify(a.name)
	}
	return nil
}

// readopt finds the process that the record speaks of, or finds that it is
// gone; a.mu is held.
func (f *Fleet) readopt(ctx context.Context, a *agent) error {
	id, started := a.rec.Process, a.rec.State == ledger.Running
	epoch, err := process.CurrentEpoch()
	if err != nil {
		return err
	}
	if how := id.Epoch.Ended(epoch); how != "" {
		// Numbers and environments of that time may be others' by now.
		return f.lost(ctx, a, how)
	}
	if !started {
		// The predecessor died around the start itself.
		id, err = process.Find(ledger.TokenEnv(a.rec.Token), f.o.Ledger.LockPath(a.name), f.o.Ledger.OutputPath(a.name))
	}
	var p *process.Process
	if err == nil {
		p, err = process.Adopt(id)
	}
	switch {
	case errors.Is(err, process.ErrGone):
		ctx, cancel := context.WithTimeout(ctx, killPatience)
		defer cancel()
		if err := f.sweep(ctx, a, a.rec.Token, id); err != nil {
			return err
		}
		if !started {
			f.record(a, contracts.Exit{Code: -1, Unknown: true, Blame: contracts.BlameHost}, "runner ended while starting it")
			return nil
		}
		f.record(a, contracts.Exit{Code: -1, Unknown: true}, "")
		return nil
	case err != nil:
		return err
	}
	f.mu.Lock()
	f.count(+1)
	f.mu.Unlock()
	f.o.Observe.Adopted()
	f.o.Log.Info("agent adopted", "agent", a.name, "incarnation", a.rec.Incarnation(), "pid", id.PID)
	if started {
		f.watch(a, p)
	} else {
		f.running(a, p)
	}
	if stop := a.rec.Stop; stop != nil {
		f.wg.Go(func() { f.resume(*stop) })
	}
	return nil
}

// lost records that an agent ended with the host or the container that it ran
// in; a.mu is held.
func (f *Fleet) lost(ctx context.Context, a *agent, how string) error {
	if f.o.Ledger.Free(a.name) != nil {
		// The state directory is shared with a host or container that lives.
		ctx, cancel := context.WithTimeout(ctx, killPatience)
		defer cancel()
		if err := f.sweep(ctx, a, a.rec.Token, process.Identity{}); err != nil {
			return err
		}
	}
	f.record(a, contracts.Exit{Code: -1, Unknown: true, Blame: contracts.BlameHost}, how)
	return nil
}

// resume carries on a stop that a predecessor had begun.
func (f *Fleet) resume(cmd contracts.StopCommand) {
	if reply := f.Stop(f.ctx, cmd); reply.Code != contracts.RunnerOK && f.ctx.Err() == nil {
		f.o.Log.Warn("stop of a predecessor not completed", "agent", cmd.Agent, "incarnation", cmd.Incarnation, "error", reply.Error)
	}
}
