package watch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

const (
	defaultPage, maxPage = 500, 5000
	// pageBytes bounds a page, below what a NATS message may have.
	pageBytes = 512 << 10
	// degraded is what an agent says that works, but not well.
	degraded = fleet.Status(contracts.StatusDegraded)
)

// Serve answers smith.detector.{status,agents,monitor,unmonitor,probe,explain,recording}.
func (w *Watcher) Serve(api *shell.API) error {
	return errors.Join(
		shell.Handle(api, "status", w.status),
		shell.Handle(api, "agents", w.list),
		shell.Handle(api, "monitor", w.monitor),
		shell.Handle(api, "unmonitor", w.unmonitor),
		shell.Handle(api, "probe", w.probe),
		shell.Handle(api, "explain", w.explain),
		shell.Handle(api, "recording", w.recording),
	)
}

func checkAgent(agent string) error {
	if err := contracts.ValidateID(agent); err != nil {
		return shell.Errorf(contracts.CodeBadRequest, "agent: %v", err)
	}
	return nil
}

func unknown(agent string) error {
	return shell.Errorf(contracts.CodeNotFound, "agent %s is not known to the detector: nobody announced it and it does not beat", agent)
}

func (w *Watcher) view(agent string) (fleet.View, error) {
	if err := checkAgent(agent); err != nil {
		return fleet.View{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v, known := w.fleet.Agent(w.now(), agent)
	if !known {
		return v, unknown(agent)
	}
	return v, nil
}

func (w *Watcher) status(_ context.Context, r contracts.AgentRequest) (contracts.AgentView, error) {
	v, err := w.view(r.Agent)
	if err != nil {
		return contracts.AgentView{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown(v, time.Now()), nil
}

// shown is a view as it is answered. Called with mu held.
func (w *Watcher) shown(v fleet.View, wall time.Time) contracts.AgentView {
	a := agentView(v, wall)
	a.Held = w.crowd.Held(v.Agent)
	return a
}

func agentView(v fleet.View, wall time.Time) contracts.AgentView {
	a := contracts.AgentView{
		Agent: v.Agent, Type: v.About.Type, Runner: v.About.Runner, Incarnation: v.Incarnation,
		Health: health[v.Band], Status: contracts.AgentStatus(v.About.Status),
		Phi: v.Evidence.Phi, Threshold: v.Evidence.Threshold,
		Interval: contracts.Duration(v.Evidence.Interval), Samples: v.Evidence.Samples,
		Silence: contracts.Duration(v.Silence), DegradedAfter: contracts.Duration(v.DegradedAfter), FailedAfter: contracts.Duration(v.FailedAfter),
		Rule: string(v.Evidence.Rule), Mistakes: v.Mistakes, AwaitsRunner: v.Waits,
		Stopping: contracts.Duration(v.Evidence.Stopping), MayStop: contracts.Duration(v.Evidence.MayStop),
		Capabilities: v.About.Capabilities, InFlight: v.About.InFlight, Capacity: v.About.Capacity,
	}
	if v.Failed {
		a.Failure = contracts.FailureReason(v.Reason)
	}
	if v.Evidence.Since == fleet.SinceHeartbeat {
		at := wall.Add(-v.Evidence.Elapsed).UTC()
		a.LastHeartbeat = &at
	}
	return a
}

func (w *Watcher) list(_ context.Context, r contracts.AgentsRequest) (contracts.AgentsReply, error) {
	if r.Limit < 0 || r.Limit > maxPage {
		return contracts.AgentsReply{}, shell.Errorf(contracts.CodeBadRequest, "limit: %d is outside 1 to %d", r.Limit, maxPage)
	}
	limit := r.Limit
	if limit == 0 {
		limit = defaultPage
	}
	if r.Status != "" && !slices.Contains(contracts.AgentStatuses(), r.Status) {
		return contracts.AgentsReply{}, shell.Errorf(contracts.CodeBadRequest, "status: %.32q is none", string(r.Status))
	}
	filter := fleet.Filter{After: r.After, Type: r.Type, Status: fleet.Status(r.Status)}
	if r.Health != "" {
		band, known := bandOf(r.Health)
		if !known {
			return contracts.AgentsReply{}, shell.Errorf(contracts.CodeBadRequest, "health: %.32q is none", string(r.Health))
		}
		filter.Band = &band
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now, wall := w.now(), time.Now()
	reply := contracts.AgentsReply{Agents: []contracts.AgentView{}, Total: w.fleet.Len(), Degraded: w.fleet.Reporting(degraded)}
	names := w.fleet.Names(filter, limit+1)
	size := 0
	for i, name := range names {
		if i == limit || size > pageBytes {
			reply.Next = names[i-1]
			break
		}
		v, _ := w.fleet.Agent(now, name)
		a := w.shown(v, wall)
		for _, c := range a.Capabilities {
			size += len(c) + 4
		}
		size += 500
		reply.Agents = append(reply.Agents, a)
	}
	return reply, nil
}

func (w *Watcher) monitor(ctx context.Context, r contracts.MonitorRequest) (contracts.OK, error) {
	if err := checkMonitorRequest(r); err != nil {
		return contracts.OK{}, err
	}
	if err := w.order(ctx, r.Agent, ruleOf(r)); err != nil {
		return contracts.OK{}, err
	}
	w.env.Log.Info("agent monitored by request", "agent", r.Agent)
	return contracts.OK{OK: true}, nil
}

func (w *Watcher) unmonitor(ctx context.Context, r contracts.AgentRequest) (contracts.OK, error) {
	if _, err := w.view(r.Agent); err != nil {
		return contracts.OK{}, err
	}
	if err := w.order(ctx, r.Agent, contracts.DetectorRule{Ignored: true}); err != nil {
		return contracts.OK{}, err
	}
	w.env.Log.Info("agent not monitored any more, by request", "agent", r.Agent)
	return contracts.OK{OK: true}, nil
}

func (w *Watcher) probe(ctx context.Context, r contracts.AgentRequest) (contracts.ProbeReply, error) {
	v, err := w.view(r.Agent)
	if err != nil {
		return contracts.ProbeReply{}, err
	}
	answer, took := w.prober.ping(ctx, probe{agent: r.Agent, incarnation: v.Incarnation})
	if v, err = w.view(r.Agent); err != nil {
		return contracts.ProbeReply{}, err
	}
	return contracts.ProbeReply{Agent: r.Agent, Answer: answer, Took: contracts.Duration(took), Health: health[v.Band]}, nil
}
