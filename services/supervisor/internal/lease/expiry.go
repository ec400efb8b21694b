package lease

import "time"

// expiry reports whether a lease has run out, by its own clock: a lease that has not
// changed for as long as it lasts is nobody's. What clock the holder has does not
// matter, nor when the lease was written. The zero value has seen nothing.
type expiry struct {
	revision   uint64
	reconnects uint64
	since      time.Time
	changed    bool
}

// observe records the lease's revision, read now, and how often this side has
// reconnected. After a reconnect the time begins again: the holder had no way to
// renew during an outage either, and gets as long as after any other renewal.
func (e *expiry) observe(revision, reconnects uint64, now time.Time) {
	switch {
	case e.since.IsZero():
	case revision != e.revision:
		e.changed = true
	case reconnects != e.reconnects:
	default:
		return
	}
	e.revision, e.reconnects, e.since = revision, reconnects, now
}

// expired reports whether the lease last seen has run out by now.
func (e *expiry) expired(now time.Time) bool {
	return !e.since.IsZero() && now.Sub(e.since) >= TTL
}

// alive reports whether the lease has changed while it was watched: somebody holds
// it.
func (e *expiry) alive() bool { return e.changed }
