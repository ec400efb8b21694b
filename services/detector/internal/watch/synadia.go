package watch

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// hearSynadia takes one heartbeat of the Synadia Agent Protocol.
func (w *Watcher) hearSynadia(m *nats.Msg) {
	h, err := w.cfg.Synadia.Decode(m.Subject, m.Data)
	if err != nil {
		w.rejects.reject(shell.Message{Kind: "synadia_heartbeat", Subject: m.Subject, Body: m.Data}, err)
		return
	}
	w.metrics.heartbeats.Inc()
	beat := []fleet.Beat{{Agent: h.Agent, Instance: h.Instance, About: fleet.About{Type: h.Type, Interval: h.Interval}}}
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		w.record(now, beat)
		return f.Beats(now, beat)
	})
}

// tellInstances reports that two processes beat under one name.
func (w *Watcher) tellInstances(now fleet.Instant, fd fleet.Finding) {
	w.env.Log.Warn("two processes beat under one name", "agent", fd.Agent, "instances", fd.Instances)
	w.metrics.conflicts.Inc()
	if !w.peers.speaks(now, fd.Agent) {
		return
	}
	w.post(fd, w.env.Event(contracts.AgentConflict, fd.Agent).Data(contracts.AgentConflictData{
		Agent: fd.Agent, Incarnation: fd.Incarnation,
		Detail: fmt.Sprintf("two processes beat as %s: instance %.64q, which counts, and %.64q, which was there before; give one of them another name, or put {instance} into synadia.agent_id",
			fd.Agent, fd.Instances[0], fd.Instances[1]),
	}))
}
