package main

import (
	"fmt"
	"strconv"

	"github.com/alecthomas/kong"

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
			name, change := n.Node, n.Change
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
