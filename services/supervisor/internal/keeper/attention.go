package keeper

import (
	"time"

	"github.com/nats-io/nats.go"
)

// attention is what the keeper knows of its own ability to hear.
type attention struct {
	at         time.Time
	reconnects uint64
}

// inattention is how long the keeper may not have looked before it doubts
// itself rather than those it did not hear.
const inattention = 5 * time.Second

// lapsed reports whether this side may have missed something since it last asked
// itself, if it ever did: it was not connected, or it stood still.
func (a *attention) lapsed(nc *nats.Conn, now time.Time) bool {
	was := *a
	*a = attention{now, nc.Stats().Reconnects}
	return !nc.IsConnected() || a.reconnects != was.reconnects || now.Sub(was.at) > inattention
}
