package lease

import "time"

// Judge tells whether a lease has run out, by its own clock: a lease that has not
// changed for as long as it lasts is nobody's. What clock the holder has does not
// matter, nor when the lease was written. The zero value has seen nothing.
type Judge struct {
	revision   uint64
	reconnects uint64
	since      time.Time
	changed    bool
}

// Saw notes the lease's revision, read now, and how often this side has
// reconnected. After a reconnect the time begins anew: the holder had no way to
// renew during an outage either, and gets as long as after any other renewal.
func (j *Judge) Saw(revision, reconnects uint64, now time.Time) {
	switch {
	case j.since.IsZero():
	case revision != j.revision:
		j.changed = true
	case reconnects != j.reconnects:
	default:
		return
	}
	j.revision, j.reconnects, j.since = revision, reconnects, now
}

// Expired tells whether the lease last seen has run out by now.
func (j *Judge) Expired(now time.Time) bool {
	return !j.since.IsZero() && now.Sub(j.since) >= TTL
}

// Alive tells whether the lease has changed while it was watched: somebody holds
// it.
func (j *Judge) Alive() bool { return j.changed }
