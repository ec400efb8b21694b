package watch

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

const (
	// linkCheck is how often the server is asked for a sign of life; without
	// one for linkPatience, silence may be the link's, not the agents'.
	linkCheck    = 250 * time.Millisecond
	linkPatience = time.Second
	// When the oldest unread heartbeat has waited longer than lagging, the
	// clock stops until none waits longer than lagOver. It is a matter of time,
	// not of how many wait: a heartbeat read late makes its agent look silent
	// for as long, whether the fleet sends a hundred or a hundred thousand per
	// second. A quarter of a second is what the canary is given, too, and what a
	// verdict may be late; what is shorter happens all the time on a busy host,
	// and the canary, or await, sees to it that nobody is accused meanwhile.
	lagging, lagOver = canaryLate, 100 * time.Millisecond
	gaugesEvery      = time.Second
)

// link knows when the server was last heard. What it answers comes on the same
// connection as heartbeats, after all that it sent before.
type link struct {
	origin time.Time
	heard  atomic.Int64 // nanoseconds since origin, by the monotonic clock
}

func (l *link) hear() { l.heard.Store(int64(time.Since(l.origin))) }

func (l *link) silent() time.Duration {
	return time.Since(l.origin) - time.Duration(l.heard.Load())
}

// run asks the server for signs of life until ctx ends.
func (l *link) run(ctx context.Context, nc *nats.Conn) {
	next := time.NewTicker(linkCheck)
	defer next.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, linkPatience)
		if nc.FlushWithContext(try) == nil {
			l.hear()
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}

// The causes of doubt, as events and metrics name them.
const (
	causeStall     = "stall"
	causeReconnect = "reconnect"
	causeDrops     = "drops"
	causeLag       = "lag"
	causeCanary    = "canary"
)

// doubts is what the ticking loop remembers of the detector's own troubles.
type doubts struct {
	check      string // why the clock stands still; empty when it runs
	told       bool
	since      time.Time
	reconnects uint64
}

// passed is a cause of doubt that is over, but not yet for long.
type passed struct {
	at     time.Time
	lasted time.Duration
}

// tick lets time pass until ctx ends.
func (w *Watcher) tick(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.Tick)
	defer ticker.Stop()
	d := doubts{reconnects: w.env.NC.Stats().Reconnects}
	gauges := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		w.sing(false)
		w.doubt(&d)
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return f.Tick(now) })
		w.disconnected()
		w.mu.Lock()
		now := w.now()
		w.settle(now)
		w.perform(now, w.crowd.Tick(w.fleet.Trusted(now)), nil)
		w.mu.Unlock()
		if time.Since(gauges) >= gaugesEvery {
			gauges = time.Now()
			w.observe()
		}
	}
}

// doubt stops the clock while heartbeats may not arrive, and gives everybody
// grace when some may have been lost. A moment's lag is not worth an event.
func (w *Watcher) doubt(d *doubts) {
	check, detail := w.trouble(d)
	switch {
	case check != "":
		if d.check == "" {
			*d = doubts{since: time.Now(), reconnects: d.reconnects}
			w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return w.suspend(f, now) })
		}
		d.check = check
		if !d.told && (check == causeReconnect || time.Since(d.since) >= linkPatience) {
			d.told = true
			w.env.Log.Warn("verdicts suspended", "check", check, "detail", detail)
			w.confess(check, detail+"; verdicts are suspended", 0)
		}
	case d.check != "":
		w.relieve(d)
	default:
		w.losses(d)
		w.comfort()
	}
}

// trouble says what keeps the detector from hearing now, if anything.
func (w *Watcher) trouble(d *doubts) (check, detail string) {
	behind := w.behind(w.now())
	limit := lagging
	if d.check == causeLag {
		limit = lagOver
	}
	overdue, silent := w.canary.overdue(time.Now()), w.link.silent()
	if overdue > canaryGone && silent < linkPatience && behind <= lagOver {
		w.trustSilence()
		overdue = 0
	}
	switch {
	case !w.env.NC.IsConnected():
		return causeReconnect, "not connected to NATS"
	case behind > limit, overdue > canaryLate && behind > lagOver:
		pending, _ := w.backlog()
		return causeLag, fmt.Sprintf("%d heartbeats wait to be read, the first of them for %s", pending, behind.Round(time.Millisecond))
	case overdue > canaryLate:
		return causeCanary, fmt.Sprintf("the detector's own heartbeat of %s ago has not come back", overdue.Round(time.Millisecond))
	case silent > linkPatience:
		return causeCanary, fmt.Sprintf("the NATS server has not answered for %s", silent.Round(time.Millisecond))
	}
	return "", ""
}

// relieve ends a suspension. When the detector was only late, all that was sent
// meanwhile has been heard by now, and silence goes on counting where it stood;
// otherwise everybody gets grace.
func (w *Watcher) relieve(d *doubts) {
	grace, lost := time.Duration(0), d.check == causeReconnect
	if n := w.env.NC.Stats().Reconnects; n != d.reconnects {
		d.reconnects, grace, lost = n, w.cfg.Grace, true
	}
	if w.dropped() > 0 {
		lost = true // counted by losses
	}
	stood := time.Since(d.since)
	armed, _ := w.canary.works()
	if lost || !armed {
		w.restart(grace)
	} else {
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return w.goOn(f, now) })
	}
	if d.told {
		w.env.Log.Info("verdicts resumed", "check", d.check, "after", stood, "grace", grace)
		w.absolve(d.check, fmt.Sprintf("verdicts were suspended for %s, grace of %s follows", stood.Round(time.Millisecond), grace), stood)
	}
	d.check, d.told = "", false
}

// dropped is how many heartbeats were dropped that no allowance is made for yet.
func (w *Watcher) dropped() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unreckoned()
}

// unreckoned is dropped with mu held. A closed subscription counts as -1.
func (w *Watcher) unreckoned() int {
	_, n := w.backlog()
	return max(n-w.reckoned, 0)
}

// restart lets silence count from now, or from the end of a grace: heartbeats
// were lost.
func (w *Watcher) restart(grace time.Duration) {
	if grace > 0 {
		w.canary.lost()
	}
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		if grace > 0 {
			w.book.Reset()
		}
		found := w.resume(f, now, grace)
		w.retract(now)
		w.crowd.Grace(f.GraceUntil())
		return found
	})
}

// losses notices heartbeats that were lost without the clock standing still: a
// reconnect between two ticks, or a full buffer.
func (w *Watcher) losses(d *doubts) {
	if n := w.env.NC.Stats().Reconnects; n != d.reconnects {
		d.reconnects = n
		w.restart(w.cfg.Grace)
		w.confess(causeReconnect, fmt.Sprintf("reconnected; grace of %s follows", w.cfg.Grace), 0)
		w.mu.Lock()
		w.doubted(causeReconnect, 0)
		w.mu.Unlock()
	}
	if lost := w.dropped(); lost > 0 {
		w.metrics.dropped.Add(float64(lost))
		w.restart(0)
		w.mu.Lock()
		w.reckoned += lost
		w.mu.Unlock()
		w.confess(causeDrops, fmt.Sprintf("%d heartbeats were dropped: they came faster than they could be read", lost), 0)
		w.mu.Lock()
		w.doubted(causeDrops, 0)
		w.mu.Unlock()
	}
}

// doubted remembers a cause that is over at once, so that this is said when it
// has not come again for a while.
// Called with mu held.
func (w *Watcher) doubted(cause string, lasted time.Duration) {
	w.passing[cause] = passed{time.Now(), lasted}
}

// comfort says which causes have not come again.
func (w *Watcher) comfort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for cause, p := range w.passing {
		if time.Since(p.at) >= linkPatience {
			delete(w.passing, cause)
			w.absolve(cause, "it has not come again", p.lasted)
		}
	}
}
