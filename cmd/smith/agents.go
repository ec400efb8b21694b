package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type agentsCmd struct {
	clientFlags
	Type      string        `help:"Only agents of this type."`
	Health    string        `enum:",unknown,healthy,degraded,unhealthy" default:"" help:"Only agents in this health, which the detector judges by silence: unknown, healthy, degraded or unhealthy."`
	Status    string        `enum:",running,busy,degraded,stuck,stopping,stopped" default:"" help:"Only agents that report this status of themselves: running, busy, degraded, stuck, stopping or stopped."`
	Usage     bool          `xor:"columns" help:"Show how long each agent has been up and what it uses, the most memory first: processor time, memory and processes."`
	Suspicion bool          `xor:"columns" help:"Show how suspicious each agent's silence is, from which evidence, and when it will be too much. On a terminal it stays up to date."`
	Every     time.Duration `placeholder:"DURATION" help:"Show it again and again, such as every 5s."`
}

func (agentsCmd) Help() string {
	return "Examples:\n  smith agents\n  smith agents --health unhealthy --json\n  smith agents --status degraded\n  smith agents --usage\n  smith agents --suspicion\n  smith agents --suspicion --every 5s"
}

// refresh is how often a terminal is brought up to date.
const refresh = time.Second

func (c *agentsCmd) Run(a *app) error {
	if c.Every < 0 {
		return usagef("--every: %s is negative", c.Every)
	}
	if c.Every == 0 && c.Suspicion && !c.JSON && a.terminal() {
		c.Every = refresh
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	for {
		agents, degraded, err := c.agents(a, nc, contracts.AgentsRequest{Type: c.Type, Health: contracts.Health(c.Health), Status: contracts.AgentStatus(c.Status)})
		if err != nil {
			return err
		}
		if c.Usage {
			if err := c.addUsage(a, nc, agents); err != nil {
				fmt.Fprintln(a.stderr, "smith:", err)
			}
		}
		if c.Every > 0 && a.terminal() && !c.JSON {
			fmt.Fprint(a.stdout, "\x1b[H\x1b[2J") // from the top of an empty screen
		}
		if err := c.print(a, agents, degraded); err != nil || c.Every == 0 {
			return err
		}
		select {
		case <-a.ctx.Done():
			return nil
		case <-time.After(c.Every):
		}
	}
}

// agents asks the detector for all pages of agents, and how many of all that it knows
// report themselves degraded.
func (f clientFlags) agents(a *app, nc *nats.Conn, req contracts.AgentsRequest) (agents []contracts.AgentView, degraded int, err error) {
	for {
		page, err := askOn[contracts.AgentsReply](a, f, nc, contracts.ServiceDetector, "agents", req)
		if err != nil {
			return nil, 0, err
		}
		agents = append(agents, page.Agents...)
		if page.Next == "" {
			return agents, page.Degraded, nil
		}
		req.After = page.Next
	}
}

func (c *agentsCmd) print(a *app, agents []contracts.AgentView, degraded int) error {
	if err := c.printAgents(a, agents); err != nil || c.JSON || degraded == 0 || c.Status == string(contracts.StatusDegraded) {
		return err
	}
	// Those that beat as they should are healthy, so that --health does not find them.
	reports, them := "agents report themselves", "them"
	if degraded == 1 {
		reports, them = "agent reports itself", "it"
	}
	_, err := fmt.Fprintf(a.stdout, "\n%d %s degraded; smith agents --status degraded lists %s\n", degraded, reports, them)
	return err
}

func (c *agentsCmd) printAgents(a *app, agents []contracts.AgentView) error {
	switch {
	case c.JSON && c.Every > 0:
		return a.printLine(agents)
	case c.JSON:
		return a.printJSON(agents)
	case c.Suspicion:
		return suspicions(a, agents)
	case c.Usage:
		return usageTable(a, agents)
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

// suspicions shows the most suspicious silence first.
func suspicions(a *app, agents []contracts.AgentView) error {
	share := func(v contracts.AgentView) float64 { return v.Phi / max(v.Threshold, 1e-9) }
	slices.SortStableFunc(agents, func(x, y contracts.AgentView) int { return cmp.Compare(share(y), share(x)) })
	rows := make([][]string, len(agents))
	for i, v := range agents {
		rows[i] = []string{
			v.Agent, string(v.Health), fmt.Sprintf("%.2f / %.2f", v.Phi, v.Threshold), round(v.Silence.D()), v.Interval.String(),
			round(v.DegradedAfter.D()), round(v.FailedAfter.D()), dash(v.Rule), fmt.Sprint(v.Samples), fmt.Sprint(v.Mistakes),
		}
	}
	return a.table([]string{"AGENT", "HEALTH", "PHI", "SILENCE", "INTERVAL", "DEGRADED AFTER", "FAILED AFTER", "EVIDENCE", "SAMPLES", "MISTAKES"}, rows)
}
