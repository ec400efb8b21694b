package journal

import (
	"context"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
)

// Follow calls each with the messages on some subjects that are stored after a place
// in the log, and their places, in order and each once, over outages, until ctx ends.
// It may run alongside the journal, which follows once.
func (j *Journal) Follow(ctx context.Context, subjects []string, after uint64, each func(m jetstream.Msg, sequence uint64)) {
	const first, most = 200 * time.Millisecond, 5 * time.Second
	for wait := first; ctx.Err() == nil; wait = min(2*wait, most) {
		// One attempt to replace a lost consumer; this makes the others, and says so.
		for m, err := range j.readAfter(ctx, subjects, after, math.MaxUint64, 1) {
			switch {
			case err == nil && m.sequence > after:
				now := place{m.sequence, m.Headers().Get(jetstream.MsgIDHeader), j.env.NC.Stats().Reconnects}
				if was := j.followed.Load(); was == nil || was.reconnects == now.reconnects {
					j.followed.Store(&now)
				}
				each(m.Msg, m.sequence)
				after, wait = m.sequence, first
			case err != nil && ctx.Err() == nil:
				j.env.Log.Warn("reading events interrupted; going on", "tree", j.tree, "after", after, "error", err)
			}
		}
		_ = shell.Pause(ctx, wait)
	}
}
