package shell

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Rejects counts messages that could not be understood, reports them as
// system.message_rejected events, and sets them aside. Reports of one kind are
// limited to one in reportEvery, so a flood of bad messages is one event with a
// count, not a flood of events.
type Rejects struct {
	env     Env
	counter *prometheus.CounterVec
	now     func() time.Time

	mu    sync.Mutex
	kinds map[string]*rejectKind
}

type rejectKind struct {
	last       time.Time
	suppressed int
}

const reportEvery = 10 * time.Second

// NewRejects registers smith_messages_rejected_total{service,kind}.
func NewRejects(env Env) *Rejects {
	return &Rejects{
		env: env, now: time.Now, kinds: map[string]*rejectKind{},
		counter: Counter(env.Metrics, prometheus.CounterOpts{
			Name: "smith_messages_rejected_total", Help: "Messages that could not be understood and were set aside.",
			ConstLabels: prometheus.Labels{"service": env.Service},
		}, "kind"),
	}
}

// Message is a message to be rejected.
type Message struct {
	// Kind groups reports: heartbeat, event, task, command, …
	Kind     string
	Subject  string
	Sequence uint64
	Body     []byte
	// SetAsideOn is the subject under smith.dead. that shall hold it; empty
	// keeps no copy.
	SetAsideOn string
	// SetAside is the subject under smith.dead. that already holds it, for
	// those who set aside themselves.
	SetAside string
}

// Reject takes note of a message that could not be understood because of
// cause, and gives the subject under which a copy is safe now, or "". It never
// fails: what cannot be reported is logged.
func (r *Rejects) Reject(ctx context.Context, m Message, cause error) (setAside string) {
	r.counter.WithLabelValues(m.Kind).Inc()
	origin := contracts.Clip(m.Subject, 256)
	r.env.Log.Debug("message rejected", "kind", m.Kind, "subject", origin, "sequence", m.Sequence, "error", cause)
	setAside = r.setAside(ctx, m, origin, cause)
	suppressed, report := r.due(m.Kind)
	if !report {
		return setAside
	}
	r.env.Emit(ctx, r.env.Event(contracts.SystemMessageRejected, r.env.Service).Data(contracts.SystemRejectedData{
		Service: r.env.Service, Origin: origin, Sequence: m.Sequence, Size: len(m.Body),
		Cause: contracts.Clip(cause.Error(), 1024), SetAside: setAside, Suppressed: suppressed,
	}))
	return setAside
}

// setAside stores a copy and gives its subject, or "" when none is kept.
func (r *Rejects) setAside(ctx context.Context, m Message, origin string, cause error) string {
	if m.SetAsideOn == "" {
		return m.SetAside
	}
	msg := nats.NewMsg(m.SetAsideOn)
	msg.Data = m.Body
	if len(msg.Data) > contracts.MaxEventBytes {
		msg.Data = msg.Data[:contracts.MaxEventBytes]
	}
	msg.Header.Set("Smith-Origin", origin)
	msg.Header.Set("Smith-Cause", contracts.Clip(OneLine(cause.Error()), 1024))
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := r.env.JS.PublishMsg(ctx, msg); err != nil {
		r.env.Log.Warn("rejected message not set aside", "subject", origin, "error", err)
		return ""
	}
	return m.SetAsideOn
}

func (r *Rejects) due(kind string) (suppressed int, report bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kinds[kind]
	if k == nil {
		k = &rejectKind{}
		r.kinds[kind] = k
	}
	now := r.now()
	if !k.last.IsZero() && now.Sub(k.last) < reportEvery {
		k.suppressed++
		return 0, false
	}
	suppressed = k.suppressed
	k.last, k.suppressed = now, 0
	return suppressed, true
}
