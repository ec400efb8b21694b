package watch

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// inlet is a subscription to heartbeats, in which they wait until they are read.
type inlet struct {
	sub  *nats.Subscription
	read atomic.Int64 // how many were read to the end
	wait waiting      // of the ticking goroutine
}

// take subscribes to heartbeats.
func (w *Watcher) take(subject string, hear nats.MsgHandler) error {
	in := &inlet{}
	sub, err := w.env.NC.Subscribe(subject, func(m *nats.Msg) {
		hear(m)
		in.read.Add(1)
	})
	if err != nil {
		return err
	}
	in.sub = sub
	w.inlets = append(w.inlets, in)
	if err := sub.SetPendingLimits(w.cfg.MaxUnread, pendingBytes); err != nil {
		return err
	}
	return w.env.NC.Flush()
}

// backlog is how many heartbeats wait to be read, and how many were dropped.
func (w *Watcher) backlog() (pending, dropped int) {
	for _, in := range w.inlets {
		waiting, _, _ := in.sub.Pending()
		lost, _ := in.sub.Dropped()
		pending, dropped = pending+waiting, dropped+lost
	}
	return pending, dropped
}

// behind is how long the oldest heartbeat that is not read has been waiting,
// as of the last look, which every tick takes.
func (w *Watcher) behind(now fleet.Instant) (longest time.Duration) {
	for _, in := range w.inlets {
		read := in.read.Load()
		delivered, _ := in.sub.Delivered()
		pending, _, _ := in.sub.Pending()
		arrived := delivered + int64(pending)
		if delivered > read && pending > 0 {
			arrived-- // the one being read counts as both
		}
		longest = max(longest, in.wait.look(now, arrived, read))
	}
	return longest
}

// waiting tells how long the first in a queue has been in it, from nothing but
// how many ever came and how many were read: messages bear no time of arrival,
// and stamping each would cost more than reading it. The answer is right to one
// look or a hundredth, and too short rather than too long.
type waiting struct {
	// marks are in order; what arrived up to one was there at its instant.
	marks []mark
}

type mark struct {
	arrived int64
	at      fleet.Instant
}

// sharp is the part of the wait by which marks differ at least: about a thousand
// of them do for an hour.
const sharp = 128

func (q *waiting) look(now fleet.Instant, arrived, read int64) time.Duration {
	if arrived <= read {
		q.marks = q.marks[:0]
		return 0
	}
	unread := slices.IndexFunc(q.marks, func(m mark) bool { return m.arrived > read })
	if unread < 0 {
		unread = len(q.marks)
	}
	q.marks = slices.Delete(q.marks, 0, unread)
	if len(q.marks) == 0 {
		q.marks = append(q.marks, mark{arrived, now})
	}
	first, last := q.marks[0], q.marks[len(q.marks)-1]
	if arrived > last.arrived && (now-last.at)*sharp >= now-first.at {
		q.marks = append(q.marks, mark{arrived, now})
	}
	return now - first.at
}
