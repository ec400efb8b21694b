package watch

import (
	"context"

	"github.com/mistersmith/mistersmith/internal/shell"
)

// rejecter reports malformed messages without holding up the others.
type rejecter struct {
	rejects *shell.Rejects
	metrics *metrics
	queue   chan rejected
}

type rejected struct {
	msg   shell.Message
	cause error
}

func newRejecter(env shell.Env, m *metrics) *rejecter {
	return &rejecter{rejects: shell.NewRejects(env), metrics: m, queue: make(chan rejected, 256)}
}

// reject queues a report; in a flood some are only counted.
func (r *rejecter) reject(m shell.Message, cause error) {
	r.metrics.malformed.WithLabelValues(m.Kind).Inc()
	select {
	case r.queue <- rejected{m, cause}:
	default:
	}
}

func (r *rejecter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-r.queue:
			r.rejects.Reject(ctx, x.msg, x.cause)
		}
	}
}
