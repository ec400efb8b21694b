package keeper

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
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

// follow listens to the agents that matter from now on, before their starts are
// ordered, and to those no longer that do not.
func (p *pulse) follow(out leader.Outcome) {
	for _, agent := range out.Deafen {
		p.unwatch(agent)
	}
	for _, agent := range out.Listen {
		p.watch(agent)
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
	leaves := hb.Status == contracts.StatusStopping || hb.Status == contracts.StatusStopped
	unwell := leaves || hb.Status == contracts.StatusStuck || hb.Status == contracts.StatusDegraded && k.opt.DegradedFails
	if _, st, ok := k.tree.Lookup(agent); ok && st.Phase == tree.Claiming && leaves {
		return arrival{}, false // it says that it is about to end
	}
	if !k.leader.News(agent, hb.Incarnation, unwell) {
		return arrival{}, false
	}
	word := "heartbeat"
	if hb.Status != "" {
		word += ", status " + string(hb.Status)
	}
	return arrival{Input: tree.Input{Kind: tree.Beat, Node: agent, Incarnation: hb.Incarnation, Unwell: unwell, Reason: word}}, true
}
