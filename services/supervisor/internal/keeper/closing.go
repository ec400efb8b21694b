package keeper

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Stop stops the whole tree because this process ends. It starts again with the next,
// unless an operator had stopped it. Agents have the time for it that they are
// configured with, those of a group one after the other; what else it takes, such as
// storing decisions, is bounded by patience. Agents of runners that are not there are
// not waited for: nobody ends them. The error says what has not ended.
func (k *Keeper) Stop(ctx context.Context, patience time.Duration) error {
	in := tree.Input{Command: tree.CmdClose, Token: newID(), Reason: "the supervisor ends"}
	patience = max(patience, time.Second)
	var own time.Duration
	first, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := k.ask(first, func() { own = k.tree.TimeToStop() }); err != nil {
		return err
	}
	for begin := time.Now(); ; {
		waits, enough := context.WithTimeout(ctx, patience-max(0, time.Since(begin)-own))
		absent := make(chan string, 1)
		go func() {
			defer enough()
			absent <- k.untilAbsent(waits)
		}()
		reply, err := k.order(waits, in)
		enough()
		runners := <-absent
		switch took := time.Since(begin); {
		case err != nil || !reply.UnderWay:
			return err
		case runners != "":
			return fmt.Errorf("what is left runs on runners that are not heard: %s", runners)
		case ctx.Err() != nil || took-patience >= own:
			return fmt.Errorf("%d agents have not ended within %s: %s", reply.Left, took.Round(time.Second), reply.Awaits)
		default:
			k.env.Log.Info("the tree is being stopped", "tree", k.opt.Tree, "agents", reply.Left, "awaits", reply.Awaits)
		}
	}
}

// untilAbsent waits until all agents that are left are on runners that are not there,
// and names these. It returns nothing when ctx ends before that.
func (k *Keeper) untilAbsent(ctx context.Context) (runners string) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ""
		case now := <-tick.C:
			var absent []string
			if err := k.ask(ctx, func() { absent = k.absent(now) }); err == nil && len(absent) > 0 {
				return strings.Join(absent, ", ")
			}
		}
	}
}

// absent returns the runners that have agents, if none of them is there.
func (k *Keeper) absent(now time.Time) []string {
	silent := k.registry.Silent(now, contracts.RunnerTimeout)
	have := k.tree.Occupants(func(string) bool { return true })
	for r := range have {
		if _, is := silent[r]; !is {
			return nil
		}
	}
	return slices.Sorted(maps.Keys(have))
}
