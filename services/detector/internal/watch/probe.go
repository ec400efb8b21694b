package watch

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

const (
	probesAtOnce   = 32
	probesWaiting  = 4096
	answerOK       = "ok"
	answerNobody   = "no_responders"
	answerTimedOut = "timeout"
)

// prober pings agents. It is bounded in itself: so many at once, so many
// waiting, each for so long; what comes beyond is not asked, for a probe only
// adds to what silence says anyway. There is no breaker, because every agent is
// a downstream of its own.
type prober struct {
	w     *Watcher
	queue chan probe
}

type probe struct {
	agent       string
	incarnation uint64
}

func newProber(w *Watcher) *prober {
	return &prober{w: w, queue: make(chan probe, probesWaiting)}
}

// ask queues a probe; it never blocks.
func (p *prober) ask(agent string, incarnation uint64) {
	select {
	case p.queue <- probe{agent, incarnation}:
	default:
		p.w.metrics.probes.WithLabelValues("skipped").Inc()
	}
}

func (p *prober) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range probesAtOnce {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case q := <-p.queue:
					p.ping(ctx, q)
				}
			}
		})
	}
	wg.Wait()
}

// ping asks an agent and tells the core what came of it.
func (p *prober) ping(ctx context.Context, q probe) (answer string, took time.Duration) {
	sent := p.w.now()
	ctx, cancel := context.WithTimeout(ctx, p.w.cfg.ProbeTimeout)
	defer cancel()
	msg, err := p.w.env.NC.RequestWithContext(ctx, contracts.AgentPingSubject(q.agent), nil)
	took = p.w.now() - sent
	result := fleet.Silent
	switch {
	case err == nil:
		answer, result = answerOK, pong(msg.Data, q.incarnation)
	case errors.Is(err, nats.ErrNoResponders):
		answer, result = answerNobody, fleet.Nobody
	default:
		answer = answerTimedOut
	}
	p.w.metrics.probes.WithLabelValues(answer).Inc()
	p.w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		return f.Probed(now, sent, q.agent, q.incarnation, result)
	})
	return answer, took
}

// pong is what an answer says of an incarnation. Whoever answers is alive,
// whatever the words, unless they are those of another life.
func pong(body []byte, incarnation uint64) fleet.Answer {
	var reply contracts.PingReply
	if json.Unmarshal(body, &reply) == nil && reply.Incarnation != 0 && reply.Incarnation != incarnation {
		return fleet.Silent
	}
	return fleet.Alive
}
