package main

import (
	"fmt"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type rebalanceCmd struct {
	clientFlags
	Node           string `arg:"" optional:"" help:"Only agents at and below this node."`
	DryRun         bool   `help:"Only show what would be moved."`
	MaxUnavailable int    `placeholder:"N" help:"How many agents may be down for it at once (default 1)."`
	Reason         string `help:"Recorded with the decision."`
}

func (rebalanceCmd) Help() string {
	return "Moves agents with runner: any from runners that lack a label that they ask for, and from the fullest runners to the emptiest: each is stopped and started elsewhere, and the next one only when it is up and verified. The first that does not come up ends it.\n\n" +
		"Examples:\n  smith rebalance --dry-run\n  smith rebalance research --max-unavailable 2 --reason 'a new host'"
}

func (c *rebalanceCmd) Run(a *app) error {
	if c.MaxUnavailable < 0 {
		return usagef("--max-unavailable %d: at least 1", c.MaxUnavailable)
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	reply, err := askOn[contracts.RebalanceReply](a, c.clientFlags, nc, contracts.ServiceSupervisor, "rebalance", contracts.RebalanceRequest{
		Node: c.Node, DryRun: c.DryRun, MaxUnavailable: c.MaxUnavailable, Reason: c.Reason, By: operator(),
	})
	if err != nil {
		return err
	}
	if !c.DryRun {
		done, err := followRolling(a, c.clientFlags, nc, &reply.Rolling, rollWords{"the others are moved", "smith rebalance to go on"})
		if err != nil {
			return err
		}
		reply.Rolling = *done
	}
	if c.JSON {
		return a.printJSON(reply)
	}
	return c.print(a, reply)
}

func (c *rebalanceCmd) print(a *app, reply contracts.RebalanceReply) error {
	if len(reply.Moves) == 0 {
		_, err := fmt.Fprintln(a.stdout, "rebalance: nothing to do")
		return err
	}
	rows := make([][]string, 0, len(reply.Moves))
	for _, m := range reply.Moves {
		rows = append(rows, []string{m.Agent, m.From, m.To})
	}
	if err := a.table([]string{"AGENT", "FROM", "TO"}, rows); err != nil {
		return err
	}
	end := "done"
	if c.DryRun {
		end = "nothing is moved yet"
	}
	_, err := fmt.Fprintf(a.stdout, "\nrebalance: %s\n", end)
	return err
}
