package watch

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const (
	lanes = 16
	// maxMinor is how many waiting events of a lane leave no room for minor
	// ones: changes of band, and discoveries, which are found again. Verdicts
	// always have room.
	maxMinor  = 512
	rarely    = 10 * time.Second
	firstWait = 50 * time.Millisecond
	mostWait  = time.Second
)

// letter is an event to be stored.
type letter struct {
	event       contracts.Event
	agent       string
	incarnation uint64
}

// outbox stores events, each until it is acknowledged. The events of one agent
// keep their order, those of others do not wait for them.
type outbox struct {
	needless func(letter) bool
	publish  func(context.Context, contracts.Event) error
	log      *slog.Logger
	metrics  *metrics
	seed     maphash.Seed
	lanes    [lanes]lane

	mu   sync.Mutex
	told map[string]time.Time
}

type lane struct {
	mu      sync.Mutex
	waiting []letter
	more    chan struct{}
}

func newOutbox(needless func(letter) bool, publish func(context.Context, contracts.Event) error, log *slog.Logger, m *metrics) *outbox {
	o := &outbox{needless: needless, publish: publish, log: log, metrics: m, seed: maphash.MakeSeed(), told: map[string]time.Time{}}
	for i := range o.lanes {
		o.lanes[i].more = make(chan struct{}, 1)
	}
	return o
}

// add queues a letter; it never blocks.
func (o *outbox) add(l letter) {
	n := o.lane(l.agent)
	n.mu.Lock()
	n.waiting = append(n.waiting, l)
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

func (o *outbox) lane(agent string) *lane { return &o.lanes[maphash.String(o.seed, agent)%lanes] }

// room tells whether a minor event about an agent has a place.
func (o *outbox) room(agent string) bool {
	n := o.lane(agent)
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.waiting) < maxMinor
}

// due tells whether it is time for one more event of a kind that is told rarely,
// and notes that it is told now.
func (o *outbox) due(kind string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if last, before := o.told[kind]; before && now.Sub(last) < rarely {
		return false
	}
	o.told[kind] = now
	return true
}

func (o *outbox) waiting() (n int) {
	for i := range o.lanes {
		l := &o.lanes[i]
		l.mu.Lock()
		n += len(l.waiting)
		l.mu.Unlock()
	}
	return n
}

// flush waits until nothing waits or ctx ends, and gives what is left.
func (o *outbox) flush(ctx context.Context) int {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		left := o.waiting()
		if left == 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return left
		case <-look.C:
		}
	}
}

// run stores letters until ctx ends.
func (o *outbox) run(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range o.lanes {
		wg.Go(func() { o.work(ctx, &o.lanes[i]) })
	}
	wg.Wait()
}

func (o *outbox) work(ctx context.Context, n *lane) {
	for {
		n.mu.Lock()
		empty := len(n.waiting) == 0
		var l letter
		if !empty {
			l = n.waiting[0]
		}
		n.mu.Unlock()
		if empty {
			select {
			case <-ctx.Done():
				return
			case <-n.more:
			}
			continue
		}
		if !o.deliver(ctx, l) {
			return
		}
		n.mu.Lock()
		if n.waiting = n.waiting[1:]; len(n.waiting) == 0 {
			n.waiting = nil
		}
		n.mu.Unlock()
	}
}

// deliver stores a letter, for as long as it takes; false when ctx ended first.
func (o *outbox) deliver(ctx context.Context, l letter) bool {
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		if o.needless(l) {
			return true
		}
		err := o.publish(ctx, l.event)
		if err == nil {
			return true
		}
		o.metrics.retries.Inc()
		o.log.Debug("event not stored yet", "type", string(l.event.Type), "agent", l.agent, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}
