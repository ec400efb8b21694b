// Package storage judges from what is tried whether a supervisor can store its
// decisions and read the log. It has no clock: times are arguments.
package storage

import (
	"sync"
	"time"
)

// Work is something that a supervisor must be able to do.
type Work uint8

// What is watched.
const (
	// Append: storing a decision.
	Append Work = iota
	// Read: reading the tree's last message in the log.
	Read
	// Renew: writing the lease, which is done all the time and so shows that
	// nothing can be stored even while nothing is to be decided.
	Renew

	works
)

// String is the work in words, as in "it cannot …".
func (w Work) String() string {
	return [...]string{"store decisions", "read the log", "renew its lease"}[w]
}

const (
	// troubledAfter is how long an attempt, repetitions included, may take until
	// the supervisor is not ready.
	troubledAfter = 2 * time.Second
	// hopelessAfter is how long that may last, while the server can be reached,
	// until a process should end and be started again.
	hopelessAfter = time.Minute
)

// Watch remembers since when work is under way. The zero value is ready. It is
// safe for concurrent use.
type Watch struct {
	mu    sync.Mutex
	since [works]time.Time
	why   [works]string
}

// Begin notes that work is under way since then, unless it already was.
func (w *Watch) Begin(work Work, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since[work].IsZero() {
		w.since[work] = at
	}
}

// Failed notes why an attempt at work that is under way has failed.
func (w *Watch) Failed(work Work, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why[work] = err.Error()
}

// Done notes that work has succeeded, or is no longer tried.
func (w *Watch) Done(work Work) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since[work], w.why[work] = time.Time{}, ""
}

// Trouble is work that does not succeed.
type Trouble struct {
	Work Work
	// Since is when it was begun.
	Since time.Time
	// Why is what the last attempt failed of, empty if that is not known yet.
	Why string
}

// Trouble returns the work that has been under way longest, and whether it has
// for too long.
func (w *Watch) Trouble(now time.Time) (Trouble, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var t Trouble
	for work, since := range w.since {
		if !since.IsZero() && (t.Since.IsZero() || since.Before(t.Since)) {
			t = Trouble{Work(work), since, w.why[work]}
		}
	}
	return t, !t.Since.IsZero() && now.Sub(t.Since) > troubledAfter
}

// Hopeless reports whether a trouble has lasted so long that the process should
// end. Time during which the server was away does not count: connected is when the
// present connection was made.
func (t Trouble) Hopeless(now, connected time.Time) bool {
	if connected.After(t.Since) {
		return now.Sub(connected) > hopelessAfter
	}
	return now.Sub(t.Since) > hopelessAfter
}
