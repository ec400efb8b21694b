package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// planFlags are those of commands that show what a file would change.
type planFlags struct {
	clientFlags
	File           string `arg:"" type:"path" help:"The configuration."`
	MaxUnavailable int    `placeholder:"N" help:"How many agents may be restarted at once (default 1)."`
	Keep           bool   `help:"Restart no agent: those that run something else are left, and shown as outdated."`
}

type configDiffCmd struct{ planFlags }

type configApplyCmd struct {
	planFlags
	DryRun bool   `help:"Show the plan and change nothing, as smith config diff does."`
	Reason string `help:"Recorded with the decision."`
}

func (configDiffCmd) Help() string {
	return "Nothing is changed. What would have become of the recorded past under the file tells smith rehearse.\n\n" +
		"Examples:\n  smith config diff supervision-config.yaml\n  smith config diff supervision-config.yaml --json\n  smith rehearse --config supervision-config.yaml --from 2h"
}

func (configApplyCmd) Help() string {
	return "The file is applied as one decision, or not at all. Agents whose command or environment changed are then restarted\n" +
		"one after the other, each only when the one before is up and verified; the first that does not come up stops that.\n" +
		"Exit code 0 means that all of it is done, and that what was removed has ended. What is applied lasts until another configuration is.\n\n" +
		"Examples:\n  smith config apply supervision-config.yaml\n  smith config apply supervision-config.yaml --max-unavailable 3\n" +
		"  smith config apply supervision-config.yaml --keep\n  smith config apply supervision-config.yaml --dry-run"
}

func (c *configDiffCmd) Run(a *app) error {
	nc, req, err := c.open(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	p, err := c.plan(a, nc, req)
	if err != nil {
		return err
	}
	return c.show(a, p)
}

func (c *configApplyCmd) Run(a *app) error {
	if c.DryRun {
		return (&configDiffCmd{c.planFlags}).Run(a)
	}
	nc, req, err := c.open(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	req.Reason = c.Reason
	p, err := c.plan(a, nc, req)
	if err != nil {
		return err
	}
	if !c.JSON {
		if err := c.show(a, p); err != nil {
			return err
		}
	}
	applied, err := c.apply(a, nc, req, p)
	if err != nil {
		return err
	}
	if err := refuse(a, applied, c.JSON); err != nil {
		return err
	}
	done, err := followRolling(a, c.clientFlags, nc, applied.Rolling, rollWords{"it is applied", "smith child restart --outdated to go on"})
	if applied.Rolling = done; err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(applied)
	}
	_, err = fmt.Fprintln(a.stdout, "applied")
	return err
}

// open reads the file and connects.
func (f planFlags) open(a *app) (*nats.Conn, *contracts.ConfigRequest, error) {
	if f.MaxUnavailable < 0 || f.Keep && f.MaxUnavailable > 0 {
		return nil, nil, usagef("--max-unavailable %d: at least 1, and not with --keep", f.MaxUnavailable)
	}
	text, err := os.ReadFile(f.File)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: cannot read the configuration: %w", errUsage, err)
	}
	if _, err := config.Parse(f.File, text); err != nil {
		fmt.Fprintln(a.stderr, err) // lines that begin with their place in the file
		return nil, nil, errSilent
	}
	sent, err := contracts.PackConfig(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w; put it where the supervisor reads it, and send that SIGHUP", f.File, err)
	}
	nc, err := f.connect(a)
	return nc, &contracts.ConfigRequest{
		ConfigText: sent, Name: f.File, Source: config.SourceOf(f.File), MaxUnavailable: f.MaxUnavailable, Keep: f.Keep, By: operator(),
	}, err
}

// plan asks what the file would change. One that is refused ends the command.
func (f planFlags) plan(a *app, nc *nats.Conn, req *contracts.ConfigRequest) (contracts.ConfigPlan, error) {
	p, err := askOn[contracts.ConfigPlan](a, f.clientFlags, nc, contracts.ServiceSupervisor, "plan", req)
	if err != nil {
		return p, err
	}
	return p, refuse(a, p, f.JSON)
}

// refuse ends a command whose configuration was refused, with all that is wrong.
func refuse(a *app, p contracts.ConfigPlan, asJSON bool) error {
	if len(p.Problems) == 0 {
		return nil
	}
	if asJSON {
		return errors.Join(a.printJSON(p), errSilent)
	}
	for _, problem := range p.Problems {
		line := problem.Place()
		for _, part := range []string{problem.Setting, problem.Message} {
			if line != "" && part != "" {
				line += ": "
			}
			line += part
		}
		fmt.Fprintln(a.stderr, shell.OneLine(line))
	}
	fmt.Fprintln(a.stderr, "smith: the configuration is refused; nothing is changed")
	return errSilent
}

// show prints a plan.
func (f planFlags) show(a *app, p contracts.ConfigPlan) error {
	if f.JSON {
		return a.printJSON(p)
	}
	var b strings.Builder
	for _, c := range p.Changes {
		b.WriteString(planned(c))
	}
	if p.Others > 0 {
		fmt.Fprintf(&b, "and %s more\n", plural(p.Others, "change"))
	}
	if len(p.Changes) > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "tree %s, decision %d: %s, %d the same\n", p.Tree, p.Decision, plural(len(p.Changes)+p.Others, "change"), p.Same)
	b.WriteString(scaledLines(p.Scaled))
	if len(p.Elsewhere) > 0 {
		fmt.Fprintf(&b, "other services read these only when they start; restart them for it: %s\n", strings.Join(p.Elsewhere, ", "))
	}
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
}

// planned is one change in lines of at most 80 columns or so.
func planned(c contracts.PlannedChange) string {
	line := fmt.Sprintf("%-8s  %s %s", c.Change, c.Kind, c.Node)
	switch {
	case c.From != "":
		line += " from " + c.From + " to " + c.To
	case c.To != "":
		line += " under " + c.To
	}
	line += ": " + string(c.Then) + after(c.After) + "\n"
	for _, f := range c.Fields {
		line += fieldLines(f)
	}
	if c.Alone != "" {
		line += "          alone: its group " + c.Alone + " is not restarted with it\n"
	}
	return line
}

// after says what a planned start waits for; empty for nothing.
func after(ends []string) string {
	switch n := len(ends); {
	case n == 0:
		return ""
	case n == 1:
		return " after " + ends[0] + " has ended"
	case n == contracts.MaxAfter: // there may be more
		return " after " + strings.Join(ends[:n-1], ", ") + " and others have ended"
	default:
		return " after " + strings.Join(ends[:n-1], ", ") + " and " + ends[n-1] + " have ended"
	}
}

// fieldLines shows how a setting differs: in a line if that has room for it, else with
// what is new below what was.
func fieldLines(f contracts.FieldDiff) string {
	const indent = 10
	line := strings.Repeat(" ", indent) + f.Field
	if f.From == "" && f.To == "" {
		return line + "\n"
	}
	line += ": "
	from, to := contrast(shell.OneLine(dash(f.From)), shell.OneLine(dash(f.To)), 78-len(line))
	between := " → "
	if len([]rune(line+between+from+to)) > 80 {
		between = " →\n" + strings.Repeat(" ", len(line))
	}
	return line + from + between + to + "\n"
}

func isConflict(err error) bool {
	var refused *shell.APIError
	return errors.As(err, &refused) && refused.Code == contracts.CodeConflict
}

// maxAgreed bounds the plans that one command agrees to.
const maxAgreed = 20

// apply applies the file, unless that would do more than the plan that was shown.
func (c *configApplyCmd) apply(a *app, nc *nats.Conn, req *contracts.ConfigRequest, shown contracts.ConfigPlan) (contracts.ConfigPlan, error) {
	req.Plan = shown.Plan
	for range maxAgreed {
		applied, err := askOn[contracts.ConfigPlan](a, c.clientFlags, nc, contracts.ServiceSupervisor, "apply", req)
		if !isConflict(err) {
			return applied, err
		}
		now, err := c.plan(a, nc, req)
		if err != nil {
			return now, err
		}
		// Of a plan that is cut it is not known what is new.
		more := contracts.Exceeding(now.Changes, shown.Changes)
		if len(more) > 0 || now.Others > 0 {
			return now, c.stale(a, shown, now, more)
		}
		if !c.JSON {
			c.dropped(a, shown, now)
		}
		req.Plan, shown = now.Plan, now
	}
	return shown, errors.New("the tree changes all the time, and with it the plan; nothing is changed. Apply again")
}

// stale shows what a plan does in excess of the one that was agreed to, and what it no
// longer does.
func (c *configApplyCmd) stale(a *app, shown, now contracts.ConfigPlan, more []contracts.PlannedChange) error {
	if c.JSON {
		now.Note = fmt.Sprintf("the tree has changed since decision %d; nothing is changed", shown.Decision)
		return errors.Join(a.printJSON(now), errSilent)
	}
	fmt.Fprintf(a.stderr, "smith: the tree has changed since decision %d, and with it the plan; nothing is changed. Apply again if this is what you want:\n", shown.Decision)
	c.dropped(a, shown, now)
	for _, change := range more {
		fmt.Fprint(a.stderr, "now       ", planned(change))
	}
	if len(more) == 0 {
		fmt.Fprintf(a.stderr, "smith: it has %s, more than are shown; smith config diff shows the first\n", plural(len(now.Changes)+now.Others, "change"))
	}
	return errSilent
}

// dropped shows what a plan did and no longer does.
func (c *configApplyCmd) dropped(a *app, shown, now contracts.ConfigPlan) {
	for _, change := range contracts.Exceeding(shown.Changes, now.Changes) {
		fmt.Fprint(a.stderr, "no longer ", planned(change))
	}
}
