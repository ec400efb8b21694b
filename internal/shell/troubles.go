package shell

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// troubleEvery is how often one and the same trouble is logged at most.
	troubleEvery = 10 * time.Second
	// maxTroubles bounds how many are told apart; those beyond count as one.
	maxTroubles = 256
)

// troubles logs what the NATS client reports asynchronously. Under load the
// client does so thousands of times a second, for each time that a subscription
// whose buffer was full has room and is full again: each trouble is logged
// once in a while, with how often it was not.
type troubles struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[trouble]*repeated
}

type trouble struct{ subject, text string }

type repeated struct {
	at         time.Time
	suppressed int
}

func newTroubles(log *slog.Logger) *troubles {
	return &troubles{log: log, last: map[trouble]*repeated{}}
}

// report is a nats.ErrHandler.
func (t *troubles) report(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	suppressed, due := t.due(trouble{subject, err.Error()}, time.Now())
	if !due {
		return
	}
	attrs := []any{"subject", subject, "error", err}
	if suppressed > 0 {
		attrs = append(attrs, "suppressed", suppressed)
	}
	if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
		if dropped, err := sub.Dropped(); err == nil {
			attrs = append(attrs, "dropped_so_far", dropped)
		}
	}
	t.log.Warn("NATS reports", attrs...)
}

// due tells whether a trouble is to be logged now, and how often it was not
// since the last time.
func (t *troubles) due(which trouble, now time.Time) (suppressed int, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.last[which]; !known && len(t.last) >= maxTroubles {
		for other, r := range t.last {
			if now.Sub(r.at) >= troubleEvery {
				delete(t.last, other)
			}
		}
		if len(t.last) >= maxTroubles {
			which = trouble{}
		}
	}
	r := t.last[which]
	if r == nil {
		t.last[which] = &repeated{at: now}
		return 0, true
	}
	if now.Sub(r.at) < troubleEvery {
		r.suppressed++
		return 0, false
	}
	suppressed = r.suppressed
	*r = repeated{at: now}
	return suppressed, true
}
