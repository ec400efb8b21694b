package keeper

import (
	"context"
	"errors"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// impeded returns why nothing can be decided now, or nil. The loop is then in the middle
// of a decision that cannot be stored: it takes no orders, and the tree in memory is not
// what the log has.
func (k *Keeper) impeded() error {
	t, trouble := k.opt.Watch.Trouble(time.Now())
	if !trouble {
		return nil
	}
	why := "no answer yet"
	if t.Why != "" {
		why = t.Why
	}
	return shell.Errorf(contracts.CodeNotReady, "supervisor %s cannot %s since %s, so it takes no orders: is the disk of the NATS server full? Its log tells. (%s)",
		k.env.Instance, t.Work, t.Since.UTC().Format(time.RFC3339), contracts.Clip(shell.OneLine(why), maxReason))
}

// lookEvery is how often something that waits for the loop looks whether it is impeded.
const lookEvery = 250 * time.Millisecond

// unimpeded returns a context that ends with ctx, or when nothing can be decided any
// longer; its cause then says why.
func (k *Keeper) unimpeded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := k.impeded(); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// impediment returns why something that waited for the loop, with a context of unimpeded,
// was not taken; otherwise is for one that has ended without a reason.
func impediment(ctx context.Context, otherwise error) error {
	var refused *shell.APIError
	if errors.As(context.Cause(ctx), &refused) {
		return refused
	}
	return otherwise
}

// stored answers with the tree as the log has it, with why it cannot be asked for now.
func (k *Keeper) stored(ctx context.Context, req contracts.TreeRequest, why error) (contracts.TreeReply, error) {
	reply, err := k.opt.Past(ctx, req)
	if err != nil {
		return reply, why
	}
	reply.Trouble = why.Error()
	return reply, nil
}
