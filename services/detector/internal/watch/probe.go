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
	runner      string // to be asked about it, unless empty
}

// probeOf is the probe that a finding wants.
func probeOf(fd fleet.Finding) probe {
	q := probe{agent: fd.Agent, incarnation: fd.Incarnation}
	if fd.OfRunner {
		q.runner = fd.About.Runner
	}
	return q
}

func newProber(w *Watcher) *prober {
	return &prober{w: w, queue: make(chan probe, probesWaiting)}
}

// ask queues a probe; it never blocks.
func (p *prober) ask(q probe) {
	select {
	case p.queue <- q:
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
					if q.runner != "" {
						p.askRunner(ctx, q)
						continue
					}
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

// askRunner asks a runner what it has of an agent, and tells the core.
func (p *prober) askRunner(ctx context.Context, q probe) {
	ctx, cancel := context.WithTimeout(ctx, p.w.cfg.ProbeTimeout)
	defer cancel()
	body, err := json.Marshal(contracts.ListCommand{Agent: q.agent})
	if err != nil {
		return
	}
	answer, result := answerOK, fleet.RunnerSilent
	msg, err := p.w.env.NC.RequestWithContext(ctx, contracts.RunnerSubject(q.runner, "list"), body)
	switch {
	case err == nil:
		result = runnerAnswer(q, msg.Data)
	case errors.Is(err, nats.ErrNoResponders):
		answer = answerNobody
	default:
		answer = answerTimedOut
	}
	p.w.metrics.probes.WithLabelValues("runner_" + answer).Inc()
	p.w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		return f.AskedRunner(now, q.agent, q.incarnation, result)
	})
}

// runnerAnswer is what a runner's list says of an agent; one that cannot be read
// says nothing.
func runnerAnswer(q probe, body []byte) fleet.RunnerAnswer {
	list, _, err := contracts.DecodeRunnerList(q.runner, body)
	if err != nil {
		return fleet.RunnerSilent
	}
	for _, a := range list.Agents {
		switch {
		case a.Agent != q.agent || a.Incarnation != q.incarnation:
			continue
		case a.State == contracts.AgentRunning:
			return fleet.RunnerRuns
		case a.State == contracts.AgentStopping:
			return fleet.RunnerStops
		}
		return fleet.RunnerEnded
	}
	if list.More { // an older runner's, which does not choose
		return fleet.RunnerSilent
	}
	return fleet.RunnerHasNot
}

// pong is what an answer says of an incarnation. Whoever answers is alive,
// whatever the words, unless they are those of another life or say that it is stuck.
func pong(body []byte, incarnation uint64) fleet.Answer {
	var reply contracts.PingReply
	if json.Unmarshal(body, &reply) == nil && (reply.Status == contracts.StatusStuck || reply.Incarnation != 0 && reply.Incarnation != incarnation) {
		return fleet.Silent
	}
	return fleet.Alive
}
