package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// reachEvery is the time between two attempts to reach the event stream, and how long
// each may take.
const reachEvery = time.Second

// cutoff ends the agents of a runner that is cut off for too long. Time counts on
// while the host sleeps: agents are started elsewhere meanwhile.
type cutoff struct {
	limit time.Duration
	heard uint64 // the clock tick at which the stream was last reached
	over  bool   // the agents are being ended
}

// look takes into account whether the stream can be reached. It returns for how long
// it could not be when that first exceeds the limit.
func (c *cutoff) look(reached bool, now uint64) (away time.Duration, over bool) {
	if reached {
		c.heard, c.over = now, false
		return 0, false
	}
	away = procfs.FromTicks(now - min(now, c.heard))
	first := away >= c.limit && !c.over
	c.over = c.over || first
	return away, first
}

// watchCutoff ends all agents when the leader of the event stream could not be reached
// for Config.StopOnDisconnect. A supervisor decides nothing without it either, so who
// reaches it is on the same side of a partition. A server that answers is not enough.
func (r *runner) watchCutoff(ctx context.Context) {
	if r.cfg.StopOnDisconnect == 0 {
		return
	}
	c := cutoff{limit: r.cfg.StopOnDisconnect, heard: procfs.Ticks()}
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for {
		reached := r.reached(ctx)
		if ctx.Err() != nil {
			return
		}
		if away, over := c.look(reached, procfs.Ticks()); over {
			n := r.fleet.Withdraw(fmt.Sprintf("runner %s was cut off for %s", r.cfg.Name, away.Round(time.Second)))
			r.env.Log.Error("cut off: ending all agents, which may be started elsewhere", "agents", n, "away", away.Round(time.Second), "limit", c.limit)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *runner) reached(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, reachEvery)
	defer cancel()
	if !r.env.NC.IsConnected() {
		return false
	}
	_, err := r.env.JS.Stream(ctx, contracts.EventStream)
	return err == nil || errors.Is(err, jetstream.ErrStreamNotFound) // which only the leader says
}
