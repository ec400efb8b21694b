package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// place is a moment of a tree's past on the command line: a time, a duration
// ago, a sequence of the event stream, or now.
type place struct{ contracts.Moment }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *place) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "now" {
		p.Moment = contracts.Moment{}
		return nil
	}
	if seq, err := strconv.ParseUint(s, 10, 64); err == nil && seq > 0 {
		p.Moment = contracts.Moment{Sequence: seq}
		return nil
	}
	var m moment
	if err := m.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, a sequence of the event stream such as 4711, nor now", err)
	}
	p.Moment = contracts.Moment{At: m.ptr()}
	return nil
}

func (p *place) moment() contracts.Moment {
	if p == nil {
		return contracts.Moment{}
	}
	return p.Moment
}

// span is two moments, given as two arguments of one flag.
type span struct{ From, To place }

// Decode implements kong.MapperValue.
func (s *span) Decode(ctx *kong.DecodeContext) error {
	for _, p := range []*place{&s.From, &s.To} {
		var text string
		if err := ctx.Scan.PopValueInto("moment", &text); err != nil {
			return fmt.Errorf("it takes two moments, such as 10m now: %w", err)
		}
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// showDiff prints how the tree differs between two moments.
func (c *treeCmd) showDiff(a *app) error {
	diff, err := ask[contracts.DiffReply](a, c.clientFlags, contracts.ServiceSupervisor, "diff",
		contracts.DiffRequest{Node: c.Node, From: c.Diff.From.Moment, To: c.Diff.To.Moment})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(diff)
	}
	if len(diff.Nodes) > 0 {
		var rows [][]string
		for _, n := range diff.Nodes {
			name, change := n.Node, string(n.Change)
			for _, f := range n.Fields {
				rows = append(rows, []string{name, change, f.Field, dash(f.From), dash(f.To)})
				name, change = "", ""
			}
		}
		if err := a.table([]string{"NODE", "CHANGE", "FIELD", "FROM", "TO"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
	}
	_, err = fmt.Fprintf(a.stdout, "tree %s from %s to %s: %d nodes differ, %d are the same\n",
		diff.Tree, mark(diff.From), mark(diff.To), len(diff.Nodes), diff.Same)
	return err
}

func mark(m contracts.TreeMark) string {
	s := fmt.Sprintf("decision %d (sequence %d", m.Decision, m.Sequence)
	if !m.At.IsZero() {
		s += ", " + m.At.Local().Format("2006-01-02 15:04:05.000")
	}
	return s + ")"
}

type rehearseCmd struct {
	clientFlags
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration to try out."`
	From   *place `placeholder:"TIME|SEQ" help:"From here on: a time, a duration ago such as 2h, or a sequence of the event stream. Left out: from the tree's beginning."`
	To     *place `placeholder:"TIME|SEQ" help:"Up to here. Left out: now."`
	Beyond string `enum:"run,repeat" default:"run" help:"What becomes of starts that the record has no counterpart for: run on, or repeat the agent's last recorded end (${enum})."`
}

func (rehearseCmd) Help() string {
	return "Decides the past again under another configuration and sets the two side by side. Nothing is started or stopped.\n\n" +
		"Examples:\n  smith rehearse --config new.yaml --from 2h\n  smith rehearse --config new.yaml --from 4711 --to 4800 --json"
}

func (c *rehearseCmd) Run(a *app) error {
	text, err := os.ReadFile(c.Config)
	if err != nil {
		return fmt.Errorf("%w: --config: %w", errUsage, err)
	}
	name := filepath.Base(c.Config)
	if _, err := config.Parse(name, text); err != nil {
		return fmt.Errorf("%w: --config:\n%w", errUsage, err)
	}
	sent, err := contracts.PackConfig(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", c.Config, err)
	}
	reply, err := ask[contracts.RehearseReply](a, c.clientFlags, contracts.ServiceSupervisor, "rehearse", contracts.RehearseRequest{
		ConfigText: sent, Name: name, From: c.From.moment(), To: c.To.moment(), Beyond: c.Beyond,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(reply)
	}
	return c.print(a, reply)
}

func (c *rehearseCmd) print(a *app, r contracts.RehearseReply) error {
	row := func(what string, f func(contracts.RehearsalTotals) any) []string {
		return []string{what, fmt.Sprint(f(r.Recorded)), fmt.Sprint(f(r.Rehearsed))}
	}
	fmt.Fprintf(a.stdout, "tree %s from %s to %s: %d decisions\n\n", r.Tree, mark(r.From), mark(r.To), r.Decisions)
	if err := a.table([]string{"", "RECORDED", "REHEARSED"}, [][]string{
		row("starts", func(t contracts.RehearsalTotals) any { return t.Starts }),
		row("restarts", func(t contracts.RehearsalTotals) any { return t.Restarts }),
		row("isolations", func(t contracts.RehearsalTotals) any { return t.Isolations }),
		row("escalations", func(t contracts.RehearsalTotals) any { return t.Escalations }),
		row("give-ups", func(t contracts.RehearsalTotals) any { return t.GiveUps }),
		row("budget waits", func(t contracts.RehearsalTotals) any { return t.BudgetWaits }),
		row("proposals", func(t contracts.RehearsalTotals) any { return t.Proposals }),
		row("downtime", func(t contracts.RehearsalTotals) any { return round(t.Downtime.D()) }),
		row("  of it waiting", func(t contracts.RehearsalTotals) any { return round(t.Waiting.D()) }),
		row("  of that for budget", func(t contracts.RehearsalTotals) any { return round(t.BudgetWaited.D()) }),
		row("down at the end", func(t contracts.RehearsalTotals) any { return t.Down }),
	}); err != nil {
		return err
	}
	var rows [][]string
	for _, g := range r.Agents {
		x, y := g.Recorded, g.Rehearsed
		rows = append(rows, []string{
			g.Agent, versus(x.Restarts, y.Restarts), versus(round(x.Downtime.D()), round(y.Downtime.D())),
			versus(round(x.Waiting.D()), round(y.Waiting.D())), versus(budgetWaits(x), budgetWaits(y)), versus(dash(x.Phase), dash(y.Phase)),
		})
	}
	if len(rows) > 0 {
		fmt.Fprintln(a.stdout)
		if err := a.table([]string{"AGENT", "RESTARTS", "DOWNTIME", "WAITING", "BUDGET WAITS", "AT THE END"}, rows); err != nil {
			return err
		}
	}
	return c.explain(a, r)
}

// explain says where the two part, and what the figures rest on.
func (c *rehearseCmd) explain(a *app, r contracts.RehearseReply) error {
	var b strings.Builder
	if f := r.First; f == nil {
		b.WriteString("\nno decision differs\n")
	} else {
		fmt.Fprintf(&b, "\nfirst difference at %s", f.At.Local().Format("2006-01-02 15:04:05.000"))
		if f.Decision > 0 {
			fmt.Fprintf(&b, ", decision %d (sequence %d)", f.Decision, f.Sequence)
		}
		for _, part := range []struct {
			name  string
			lines []string
		}{{"upon", f.Inputs}, {"recorded", f.Recorded}, {"rehearsed", f.Rehearsed}} {
			for _, line := range part.lines {
				fmt.Fprintf(&b, "\n  %-10s %s", part.name, line)
			}
		}
		b.WriteString("\n")
	}
	if n := r.Assumed; n != (contracts.RehearsalAssumed{}) {
		fmt.Fprintf(&b, "\nassumed: %d inputs at another time than recorded, %d starts that the record does not have (%s), "+
			"%d agents that were stopped and go on, %d stops of unknown duration; %d recorded ends never come\n",
			n.Shifted, n.Starts, c.Beyond, n.Unended, n.Stops, n.Dropped)
	}
	if !r.Faithful {
		fmt.Fprintf(&b, "\nwarning: decision %d comes out differently under its own configuration, too: "+
			"another version of the supervisor made it, or the log lacks something; the figures are rough from there on\n", r.Deviation)
	}
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
}

// budgetWaits renders how often and how long an agent waited for restart budget.
func budgetWaits(l contracts.RehearsalLife) string {
	if l.BudgetWaits == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", l.BudgetWaits, round(l.BudgetWaited.D()))
}

// versus renders two values, or one where they are the same.
func versus[T comparable](recorded, rehearsed T) string {
	if recorded == rehearsed {
		return fmt.Sprint(recorded)
	}
	return fmt.Sprintf("%v → %v", recorded, rehearsed)
}
