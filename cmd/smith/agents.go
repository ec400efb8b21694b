package main

import (
	"fmt"
	"strings"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type agentsCmd struct {
	clientFlags
	Type   string `help:"Only agents of this type."`
	Health string `enum:",unknown,healthy,degraded,unhealthy" default:"" help:"Only agents in this health: unknown, healthy, degraded or unhealthy."`
}

func (agentsCmd) Help() string {
	return "Examples:\n  smith agents\n  smith agents --health unhealthy --json"
}

func (c *agentsCmd) Run(a *app) error {
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	req := contracts.AgentsRequest{Type: c.Type, Health: contracts.Health(c.Health)}
	var agents []contracts.AgentView
	for {
		page, err := askOn[contracts.AgentsReply](a, c.clientFlags, nc, contracts.ServiceDetector, "agents", req)
		if err != nil {
			return err
		}
		agents = append(agents, page.Agents...)
		if page.Next == "" {
			break
		}
		req.After = page.Next
	}
	if c.JSON {
		return a.printJSON(agents)
	}
	rows := make([][]string, len(agents))
	for i, v := range agents {
		rows[i] = []string{
			v.Agent, dash(v.Type), string(v.Health), dash(string(v.Status)), fmt.Sprint(v.Incarnation),
			fmt.Sprintf("%.2f", v.Phi), v.Interval.String(), since(v.LastHeartbeat), fmt.Sprintf("%d/%d", v.InFlight, v.Capacity),
			dash(strings.Join(v.Capabilities, ",")),
		}
	}
	return a.table([]string{"AGENT", "TYPE", "HEALTH", "STATUS", "INCARNATION", "PHI", "INTERVAL", "LAST BEAT", "TASKS", "CAPABILITIES"}, rows)
}

type whyCmd struct {
	clientFlags
	Agent string `arg:"" help:"The agent."`
}

func (whyCmd) Help() string {
	return "Prints the causal chain of the agent's last restart, oldest first: what was seen, what was decided, what was done.\n\nExample:\n  smith why crawler-1"
}

func (c *whyCmd) Run(a *app) error {
	why, err := ask[contracts.WhyReply](a, c.clientFlags, contracts.ServiceEventStore, "why", contracts.AgentRequest{Agent: c.Agent})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(why)
	}
	return describe.Why(a.stdout, why)
}
