package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// briefTimeout bounds a question whose answer only adds to what is shown.
const briefTimeout = time.Second

// briefly returns the flags for such a question.
func (f clientFlags) briefly() clientFlags {
	f.Timeout = min(f.Timeout, briefTimeout)
	return f
}

// markDegraded marks the agents at and below a node that report themselves degraded.
// The detector hears that, and the supervisor does not. The error says that it is not
// known.
func (f clientFlags) markDegraded(a *app, nc *nats.Conn, root *contracts.NodeView) error {
	agents, _, err := f.briefly().agents(a, nc, contracts.AgentsRequest{Status: contracts.StatusDegraded})
	if err != nil {
		return fmt.Errorf("which agents report themselves degraded is not known: %w", err)
	}
	reports := make(map[string]contracts.AgentView, len(agents))
	for _, v := range agents {
		reports[v.Agent] = v
	}
	setDegraded(root, reports)
	return nil
}

func setDegraded(n *contracts.NodeView, reports map[string]contracts.AgentView) {
	v, reported := reports[n.Name]
	n.Degraded = reported && degraded(*n, v)
	for i := range n.Children {
		setDegraded(&n.Children[i], reports)
	}
}

// degraded reports whether an agent runs, or comes up, and says of itself that it is
// degraded. What a former process of it said no longer holds.
func degraded(n contracts.NodeView, v contracts.AgentView) bool {
	switch n.Status {
	case contracts.NodeRunning, contracts.NodeStarting, contracts.NodeWatched:
		return n.Kind == "agent" && v.Status == contracts.StatusDegraded && v.Incarnation == n.Incarnation
	}
	return false
}

// detail asks an agent why it is degraded; empty if it does not say.
func (f clientFlags) detail(a *app, nc *nats.Conn, n contracts.NodeView) string {
	ctx, cancel := f.briefly().request(a)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, contracts.AgentPingSubject(n.Name), nil)
	if err != nil {
		return "" // it need not answer
	}
	var says contracts.PingReply
	if json.Unmarshal(m.Data, &says) != nil || says.Status != contracts.StatusDegraded || says.Incarnation != n.Incarnation {
		return ""
	}
	return contracts.Clip(says.Detail, 512)
}
