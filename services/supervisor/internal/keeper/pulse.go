package keeper

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// maxBeats is how many heartbeats may wait: when everything starts at once, one
// of each agent.
const maxBeats = 16_384

// pulse hears the heartbeats of agents whose start is being verified, or that
// may run already, and of no others: a fleet's heartbeats are the detector's matter.
type pulse struct {
	env   shell.Env
	beats chan *nats.Msg
	subs  map[string]*nats.Subscription
}

func newPulse(env shell.Env) *pulse {
	return &pulse{env: env, beats: make(chan *nats.Msg, maxBeats), subs: map[string]*nats.Subscription{}}
}

func (p *pulse) watch(agent string) {
	if p.subs[agent] != nil {
		return
	}
	sub, err := p.env.NC.ChanSubscribe(contracts.HeartbeatSubject(agent), p.beats)
	if err != nil {
		p.env.Log.Warn("heartbeat not watched", "agent", agent, "error", err)
		return
	}
	p.subs[agent] = sub
}

func (p *pulse) unwatch(agent string) {
	if sub := p.subs[agent]; sub != nil {
		delete(p.subs, agent)
		unsubscribe(sub)
	}
}

func (p *pulse) close() {
	for agent := range p.subs {
		p.unwatch(agent)
	}
}

// watch follows changed nodes: whoever is coming up is listened to, before its
// start is ordered.
func (k *Keeper) watch(changes []tree.Change) {
	for _, c := range changes {
		switch {
		case c.Removed:
			k.pulse.unwatch(c.ID)
			delete(k.began, c.ID)
		case c.State != nil && c.State.Supervisor == nil:
			k.watchState(c.ID, c.State)
		}
	}
}

func (k *Keeper) watchState(agent string, st *tree.State) {
	switch phase := st.Phase; {
	case phase == tree.Claiming:
		k.pulse.watch(agent)
	case phase == tree.Starting && st.Runner == "":
		// Its start can be ordered only when there is a runner. A subscription for
		// each of ten thousand that wait would take longer than the decision.
		k.pulse.unwatch(agent)
	case phase == tree.Starting, phase == tree.Verifying, phase == tree.Stabilising:
		if spec, _, ok := k.tree.Lookup(agent); ok && spec.Agent.Verify {
			k.pulse.watch(agent)
		}
	default:
		k.pulse.unwatch(agent)
	}
}

func (k *Keeper) watchAll() {
	for id, r := range k.tree.Snapshot().Nodes {
		if r.Spec.Agent != nil {
			k.watchState(id, r.State)
		}
	}
}

// heardBeat turns a heartbeat into an input, if it says anything new.
func (k *Keeper) heardBeat(ctx context.Context, m *nats.Msg) (arrival, bool) {
	agent, err := contracts.ParseHeartbeatSubject(m.Subject)
	if err != nil {
		return arrival{}, false
	}
	hb, err := contracts.DecodeHeartbeat(m.Data)
	if err != nil {
		k.opt.Rejects.Reject(ctx, shell.Message{Kind: "heartbeat", Subject: m.Subject, Body: m.Data}, err)
		return arrival{}, false
	}
	unwell := hb.Status == contracts.StatusStopping || hb.Status == contracts.StatusStopped ||
		hb.Status == contracts.StatusDegraded && k.opt.DegradedFails
	_, st, ok := k.tree.Lookup(agent)
	switch {
	case ok && st.Phase == tree.Claiming && unwell && hb.Status != contracts.StatusDegraded:
		return arrival{}, false // it says that it is about to end
	case ok && st.Phase == tree.Claiming:
	case !ok || hb.Incarnation != 0 && hb.Incarnation != st.Incarnation:
		return arrival{}, false
	case st.Phase == tree.Starting && st.Beat && st.Unwell == unwell, st.Phase == tree.Stabilising && st.Unwell == unwell:
		return arrival{}, false
	}
	word := "heartbeat"
	if hb.Status != "" {
		word += ", status " + string(hb.Status)
	}
	return arrival{Input: tree.Input{Kind: tree.Beat, Node: agent, Incarnation: hb.Incarnation, Unwell: unwell, At: k.now(), Reason: word}}, true
}

// startCommand is what a runner is told about an agent, without what differs
// from start to start.
func startCommand(spec *tree.Spec) contracts.StartCommand {
	var c contracts.StartCommand
	// It was made by this program; what cannot be read shows as empty, and
	// fails the start with a reason.
	_ = json.Unmarshal(spec.Agent.Start, &c)
	return c
}
