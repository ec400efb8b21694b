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
	// lagging heartbeats stop the clock until fewer than lagOver wait.
	lagging, lagOver = 20_000, 1_000
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

// doubts is what the ticking loop remembers of the detector's own troubles.
type doubts struct {
	check      string // why the clock stands still; empty when it runs
	since      time.Time
	reconnects uint64
	dropped    int
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
		w.doubt(&d)
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return f.Tick(now) })
		if time.Since(gauges) >= gaugesEvery {
			gauges = time.Now()
			w.observe()
		}
	}
}

// doubt stops the clock while heartbeats may not arrive, and gives everybody
// grace when some may have been lost.
func (w *Watcher) doubt(d *doubts) {
	check, detail := w.trouble(d)
	switch {
	case check != "" && d.check == "":
		d.check, d.since = check, time.Now()
		w.env.Log.Warn("verdicts suspended", "check", check, "detail", detail)
		w.confess(check, detail+"; verdicts are suspended", 0)
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return f.Suspend(now) })
	case check == "" && d.check != "":
		w.relieve(d)
	case check == "":
		w.losses(d)
	}
}

// trouble says what keeps the detector from hearing now, if anything.
func (w *Watcher) trouble(d *doubts) (check, detail string) {
	pending, _, _ := w.beats.Pending()
	limit := lagging
	if d.check == "ingest" {
		limit = lagOver
	}
	switch silent := w.link.silent(); {
	case !w.env.NC.IsConnected():
		return "connection", "not connected to NATS"
	case silent > linkPatience:
		return "connection", fmt.Sprintf("the NATS server has not answered for %s", silent.Round(time.Millisecond))
	case pending > limit:
		return "ingest", fmt.Sprintf("%d heartbeats wait to be read", pending)
	}
	return "", ""
}

// relieve ends a suspension.
func (w *Watcher) relieve(d *doubts) {
	grace := time.Duration(0)
	if n := w.env.NC.Stats().Reconnects; n != d.reconnects {
		d.reconnects, grace = n, w.cfg.Grace
	}
	stood := time.Since(d.since)
	w.env.Log.Info("verdicts resumed", "check", d.check, "after", stood, "grace", grace)
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return f.Resume(now, grace) })
	w.absolve(d.check, fmt.Sprintf("verdicts were suspended for %s, grace of %s follows", stood.Round(time.Millisecond), grace), stood)
	d.check = ""
}

// losses notices heartbeats that were lost without the clock standing still: a
// reconnect between two ticks, or a full buffer.
func (w *Watcher) losses(d *doubts) {
	if n := w.env.NC.Stats().Reconnects; n != d.reconnects {
		d.reconnects = n
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return f.Resume(now, w.cfg.Grace) })
		w.confess("connection", fmt.Sprintf("reconnected; grace of %s follows", w.cfg.Grace), 0)
	}
	if n, err := w.beats.Dropped(); err == nil && n != d.dropped {
		lost := n - d.dropped
		d.dropped = n
		w.metrics.dropped.Add(float64(lost))
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return f.Resume(now, 0) })
		w.confess("ingest", fmt.Sprintf("%d heartbeats were dropped: they came faster than they could be read", lost), 0)
	}
}
