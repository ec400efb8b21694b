package main

import (
	"fmt"
	"strings"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type modeCmd struct {
	Set  modeSetCmd  `cmd:"" help:"Give a node and all below it another mode: off, shadow or enforce."`
	Diff modeDiffCmd `cmd:"" help:"List what was proposed in shadow mode, and what really happened then."`
}

type modeSetCmd struct {
	clientFlags
	Node      string `arg:"" help:"The agent or supervisor node; root for the whole tree."`
	Mode      string `arg:"" enum:"off,shadow,enforce,inherit" help:"off: decide nothing; shadow: decide and propose, do nothing; enforce: decide and do; inherit: take back what was set here."`
	Percent   int    `placeholder:"N" help:"With enforce: only this share of the agents, chosen by their names, so that a larger one only adds agents."`
	Otherwise string `enum:",off,shadow" default:"" help:"Mode of the other agents with --percent: shadow (default) or off."`
	Reason    string `help:"Recorded with the decision."`
}

func (modeSetCmd) Help() string {
	return "The setting is kept with the tree until it is taken back or the configuration gives the node another mode than it did.\n\n" +
		"Examples:\n  smith mode set research shadow --reason 'first week'\n  smith mode set research enforce --percent 25\n  smith mode set crawler-1 off\n  smith mode set research inherit"
}

func (c *modeSetCmd) Run(a *app) error {
	return c.changeNode(a, "mode", c.Node, &contracts.ModeRequest{Node: c.Node, Mode: c.Mode, Percent: c.Percent, Otherwise: c.Otherwise, Reason: c.Reason})
}

type modeDiffCmd struct {
	clientFlags
	Node  string `arg:"" optional:"" help:"Only what is about this node and all below it."`
	From  *place `placeholder:"TIME|SEQ" help:"From here on: a time, a duration ago such as 24h, or a sequence of the event stream. Left out: from the tree's beginning."`
	To    *place `placeholder:"TIME|SEQ" help:"Up to here. Left out: now."`
	Limit int    `default:"1000" help:"At most so many, the latest."`
}

func (modeDiffCmd) Help() string {
	return "Sets every proposal beside the first sign of the agent after it.\n\n" +
		"Examples:\n  smith mode diff\n  smith mode diff research --from 24h\n  smith mode diff --from 4711 --to 4800 --json"
}

func (c *modeDiffCmd) Run(a *app) error {
	if c.Limit < 1 {
		return usagef("--limit is at least 1")
	}
	reply, err := ask[contracts.ProposalsReply](a, c.clientFlags, contracts.ServiceSupervisor, "proposals",
		contracts.ProposalsRequest{Node: c.Node, From: c.From.moment(), To: c.To.moment(), Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(reply)
	}
	var rows [][]string
	for _, p := range reply.Proposals {
		really := p.Really
		if p.After > 0 {
			really += ", " + round(p.After.D()) + " later"
		}
		rows = append(rows, []string{p.At.Local().Format("2006-01-02 15:04:05.000"), p.Node, p.Action, describe.Plain(p.Reason), string(p.Outcome), really})
	}
	if len(rows) > 0 {
		header := []string{"TIME", "NODE", "PROPOSED", "BECAUSE", "OUTCOME", "REALLY"}
		if err := a.table(header, clipColumn(3, header, rows, a.width())); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
	}
	_, err = fmt.Fprintln(a.stdout, summary(reply))
	return err
}

// summary counts proposals by outcome.
func summary(r contracts.ProposalsReply) string {
	s := fmt.Sprintf("tree %s: %d proposals", r.Tree, r.Total)
	if r.From.Decision > 0 {
		s = fmt.Sprintf("tree %s from %s to %s: %d proposals", r.Tree, mark(r.From), mark(r.To), r.Total)
	}
	var parts []string
	for _, o := range []contracts.ProposalOutcome{
		contracts.OutcomeSame, contracts.OutcomeRecovered, contracts.OutcomeAlive, contracts.OutcomeOther, contracts.OutcomeNothing,
	} {
		if n := r.Outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	if hidden := r.Total - len(r.Proposals); hidden > 0 {
		s += fmt.Sprintf("; %d older ones are not listed", hidden)
	}
	return s
}
