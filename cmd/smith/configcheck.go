package main

import (
	"errors"
	"fmt"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/config/lint"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type configCmd struct {
	Diff  configDiffCmd  `cmd:"" help:"Show what a file would change of the running tree."`
	Apply configApplyCmd `cmd:"" help:"Apply a file to the running tree, and restart what changed, a few agents at a time."`
	Check configCheckCmd `cmd:"" help:"Check a file and list what is wrong with it, and what will not work out as it seems."`
}

// tooLong is the rule of a file that supervisors read, and that cannot be sent to one.
const tooLong lint.Rule = "too-long-to-send"

type configCheckCmd struct {
	File   string `arg:"" type:"path" help:"The file."`
	Strict bool   `help:"Fail when there are warnings."`
	JSON   bool   `help:"Print JSON."`
}

func (configCheckCmd) Help() string {
	return "Errors are what no service would accept: exit code 1. Warnings are what services accept, and what will\n" +
		"not work out as the file makes one think: exit code 0, or 1 with --strict. It also says what becomes of\n" +
		"an agent that crashes again and again: when its supervisor gives up on it, and who else stops then.\n\nExamples:\n" +
		"  smith config check supervision-config.yaml\n" +
		"  smith config check --strict supervision-config.yaml"
}

func (c *configCheckCmd) Run(a *app) error {
	f, err := config.Load(c.File)
	var warnings []lint.Finding
	var outlooks []lint.Outlook
	if err == nil {
		warnings, outlooks = lint.Check(f), lint.Outlooks(f)
		if _, err := contracts.PackConfig(f.Text()); err != nil {
			warnings = append(warnings, lint.Finding{
				Rule: tooLong, File: c.File, Setting: config.TreeSetting, Message: err.Error() + ", so smith config diff, apply and rehearse refuse it",
				Advice: "put it where the supervisor reads it, and send that SIGHUP; templates and anchors make it shorter",
			})
		}
	}
	if c.JSON {
		if err := a.printJSON(c.result(err, warnings, outlooks)); err != nil {
			return err
		}
	} else if err := c.print(a, f, err, warnings, outlooks); err != nil {
		return err
	}
	if err != nil || c.Strict && len(warnings) > 0 {
		return errSilent
	}
	return nil
}

func (c *configCheckCmd) print(a *app, f *config.File, err error, warnings []lint.Finding, outlooks []lint.Outlook) error {
	if err != nil {
		fmt.Fprintln(a.stderr, err)
		return nil
	}
	for _, w := range warnings {
		fmt.Fprintln(a.stderr, w)
	}
	supervisors, agents := count(&f.Tree.Root)
	verdict := "fine"
	switch len(warnings) {
	case 0:
	case 1:
		verdict = "valid, with 1 warning"
	default:
		verdict = fmt.Sprintf("valid, with %d warnings", len(warnings))
	}
	if _, err = fmt.Fprintf(a.stdout, "%s is %s: tree %s with %d supervisors and %d agents\n", c.File, verdict, f.Tree.Name, supervisors, agents); err != nil {
		return err
	}
	return printOutlooks(a, outlooks)
}

// checkResult is the JSON form of a check. OK tells that services accept the
// file.
type checkResult struct {
	File     string         `json:"file"`
	OK       bool           `json:"ok"`
	Problems []checkProblem `json:"problems"`
	Outlooks []outlook      `json:"outlooks,omitempty"`
}

// checkProblem is an error or a warning; a warning has a rule and an advice.
type checkProblem struct {
	Severity string    `json:"severity"`
	Line     int       `json:"line,omitempty"`
	Column   int       `json:"column,omitempty"`
	Setting  string    `json:"setting,omitempty"`
	Rule     lint.Rule `json:"rule,omitempty"`
	Message  string    `json:"message"`
	Advice   string    `json:"advice,omitempty"`
}

func (c *configCheckCmd) result(err error, warnings []lint.Finding, outlooks []lint.Outlook) checkResult {
	result := checkResult{File: c.File, OK: err == nil, Problems: []checkProblem{}}
	var problems config.Errors
	if errors.As(err, &problems) {
		for _, p := range problems {
			result.Problems = append(result.Problems, checkProblem{Severity: "error", Line: p.Line, Column: p.Column, Setting: p.Path, Message: p.Message})
		}
	} else if err != nil {
		result.Problems = append(result.Problems, checkProblem{Severity: "error", Message: err.Error()})
	}
	for _, w := range warnings {
		result.Problems = append(result.Problems, checkProblem{"warning", w.Line, w.Column, w.Setting, w.Rule, w.Message, w.Advice})
	}
	result.Outlooks = outlooksOf(outlooks)
	return result
}

// count gives the supervisors and agents of a subtree.
func count(n *config.Node) (supervisors, agents int) {
	supervisors = 1
	for _, child := range n.Children {
		if child.Node == nil {
			agents++
			continue
		}
		s, g := count(child.Node)
		supervisors, agents = supervisors+s, agents+g
	}
	return supervisors, agents
}
