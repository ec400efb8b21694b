package watch

import (
	"cmp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// Heartbeats wait in the subscription while the detector is busy; beyond that
// they are lost, which makes the detector doubt itself.
const (
	maxUnread    = 1_000_000
	pendingBytes = 256 << 20
)

// ingest collects heartbeats that arrive faster than one by one: the core takes
// many at once in less time than each alone. None waits for one that is not
// there yet. Only the subscription's goroutine uses it.
type ingest struct {
	decoder contracts.HeartbeatDecoder
	batch   []fleet.Beat
	sure    int // how many more messages are known to come at once
}

// batchSize is how many heartbeats go to the core at once at most.
const batchSize = 64

// hear takes one heartbeat.
func (w *Watcher) hear(m *nats.Msg) {
	more := w.ingest.another(m.Sub)
	agent, err := contracts.ParseHeartbeatSubject(m.Subject)
	if err != nil {
		w.deliver() // a canary says that all before it is known
		if w.heardCanary(m) {
			return
		}
	}
	var h contracts.Heartbeat
	if err == nil {
		h, err = w.ingest.decoder.Decode(m.Data)
	}
	if err != nil {
		w.rejects.reject(shell.Message{Kind: "heartbeat", Subject: m.Subject, Body: m.Data}, err)
	} else {
		w.ingest.batch = append(w.ingest.batch, w.beatOf(agent, &h))
	}
	if len(w.ingest.batch) == batchSize || !more {
		w.deliver()
	}
}

// another tells whether there is a message to come at once, after the present
// one, which counts as pending. It is asked once for each.
func (i *ingest) another(sub *nats.Subscription) bool {
	if i.sure > 0 {
		i.sure--
		return true
	}
	pending, _, err := sub.Pending()
	if err != nil || pending <= 1 {
		return false
	}
	i.sure = pending - 2 // without the present one and the next
	return true
}

// deliver gives the core what was collected.
func (w *Watcher) deliver() {
	batch := w.ingest.batch
	if len(batch) == 0 {
		return
	}
	w.metrics.heartbeats.Add(float64(len(batch)))
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		w.record(now, batch)
		return f.Beats(now, batch)
	})
	w.ingest.batch = batch[:0]
}

// maxBusy keeps times of day from the far ends of the calendar within what the
// core can count.
const maxBusy = 10 * 365 * 24 * time.Hour

// beatOf puts a heartbeat into the core's terms. Only busy_until is a time of
// day; it is taken relative to this host's.
func (w *Watcher) beatOf(agent string, h *contracts.Heartbeat) fleet.Beat {
	b := fleet.Beat{
		Agent: agent, Incarnation: h.Incarnation, Seq: h.Seq, Progress: h.Progress, Detail: h.Detail,
		About: fleet.About{
			Type: h.Type, Runner: h.Runner, Status: fleet.Status(cmp.Or(h.Status, contracts.StatusRunning)), Capabilities: h.Capabilities,
			InFlight: h.InFlight, Capacity: h.Capacity, Interval: h.Interval.D(),
		},
	}
	if h.BusyUntil != nil {
		b.Promise = h.BusyUntil.UnixMicro()
		b.Busy, b.BusyUntil = true, w.now()+min(max(time.Until(*h.BusyUntil), -maxBusy), maxBusy)
	}
	return b
}
