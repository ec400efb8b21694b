package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// takeOver has the leader fence a predecessor that still lives, apply what
// happened since the last decision and the configuration, and order again what
// had been decided and perhaps not done.
func (k *Keeper) takeOver(ctx context.Context) error {
	if _, err := k.decide(ctx); err != nil {
		return err
	}
	before := k.specs()
	k.environs.Begin(before, k.tree.Configured())
	// Not before: what a predecessor reports lost, it can until then.
	until, err := k.journal.LastOf(ctx, evidence)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	k.leader.CatchUp(until)
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		out, err := k.decide(ctx)
		if err != nil {
			return err
		}
		if k.leader.Stage() == leader.Leading {
			return k.configured(ctx, before, out)
		}
		select {
		case a := <-k.inbox:
			k.gather(ctx, a)
		case <-k.saving.copying:
			k.copySome(ctx)
		case err := <-k.saving.stored:
			k.snapshotStored(err)
		case <-check.C:
			// A log that loses its tail, or forgets its oldest, never brings what is
			// waited for.
			if err := k.current(ctx); err != nil {
				return err
			}
			k.forgotten(ctx)
		case <-k.opt.Term.Lost():
			return journal.ErrSuperseded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// forgotten has the leader not wait for evidence that the log has forgotten.
func (k *Keeper) forgotten(ctx context.Context) {
	first, err := k.journal.First(ctx)
	if err == nil && k.leader.Begins(first) {
		k.env.Log.Error("the log has forgotten events that no decision has applied; what runners have tells what became of the agents", "tree", k.opt.Tree, "begins", first)
	}
}

// current makes sure that nobody else decides, and that the log has all that it
// must have. The error is journal.ErrSuperseded.
func (k *Keeper) current(ctx context.Context) error {
	if !k.env.NC.IsConnected() {
		return nil
	}
	current, err := k.journal.Current(ctx, k.leader.Needs())
	if err == nil && !current {
		err = journal.ErrSuperseded
	}
	return err
}

// configured reports what became of the configuration that was applied, by its
// conclusions.
func (k *Keeper) configured(ctx context.Context, before map[string]*tree.Spec, out []tree.Effect) error {
	k.release(k.opening.Specs, k.opening.Configuration)
	for _, e := range out {
		switch {
		case e.Kind != tree.DoReply || e.Token != k.opening.Token || e.Result == tree.OK: // others are answered, too
		case e.Result == tree.Busy:
			return k.postpone(ctx, e.Reason)
		default:
			return fmt.Errorf("%w of tree %s: %s", ErrConfig, k.opt.Tree, e.Reason)
		}
	}
	if !k.opening.Keep {
		k.tellConfiguration(ctx, before, k.opening.Specs)
	}
	k.opening = tree.Input{} // a large tree's specifications are large
	return nil
}

// ErrConfig tells that the configured tree cannot take the place of the one in
// the log.
var ErrConfig = errors.New("configuration refused")
