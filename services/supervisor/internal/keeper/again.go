package keeper

import (
	"context"
	"time"
)

// again is when runners were last visited though they were there all along.
type again struct {
	reconnects uint64
	visited    map[string]time.Time
}

// visitedWithin bounds how often a runner is visited again.
const visitedWithin = 5 * time.Second

// reconnected has all runners visited again once the connection was lost: the log's
// server may have lost what runners believe to be told, such as the end of an agent.
func (k *Keeper) reconnected(ctx context.Context) {
	reconnects := k.env.NC.Stats().Reconnects
	if reconnects == k.again.reconnects || !k.env.NC.IsConnected() {
		return
	}
	k.again.reconnects = reconnects
	clear(k.silence.told)
	k.visitAll(ctx)
}

// visitAll has all runners that are there visited once more.
func (k *Keeper) visitAll(ctx context.Context) {
	for _, r := range k.registry.Views() {
		if visit, there := k.registry.Visit(r.Runner); there {
			k.visit(ctx, r.Runner, visit, true)
		}
	}
}

// visitAgain has a runner that is there visited once more, unless that is under
// way: it says again that it knows more.
func (k *Keeper) visitAgain(ctx context.Context, runner string, now time.Time) {
	visit, there := k.registry.Visit(runner)
	if !there || now.Sub(k.again.visited[runner]) < visitedWithin {
		return
	}
	k.again.visited[runner] = now
	k.visit(ctx, runner, visit, false)
}
