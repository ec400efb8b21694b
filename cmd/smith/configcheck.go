package main

import (
	"errors"
	"fmt"

	"github.com/mistersmith/mistersmith/internal/config"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check a file and list everything that is wrong with it."`
}

type configCheckCmd struct {
	File string `arg:"" type:"path" help:"The file."`
	JSON bool   `help:"Print JSON."`
}

func (configCheckCmd) Help() string { return "Example:\n  smith config check supervision-config.yaml" }

func (c *configCheckCmd) Run(a *app) error {
	f, err := config.Load(c.File)
	if c.JSON {
		return c.printJSON(a, err)
	}
	if err != nil {
		fmt.Fprintln(a.stderr, err)
		return errSilent
	}
	supervisors, agents := count(&f.Tree.Root)
	_, err = fmt.Fprintf(a.stdout, "%s is fine: tree %s with %d supervisors and %d agents\n", c.File, f.Tree.Name, supervisors, agents)
	return err
}

// checkResult is the JSON form of a check.
type checkResult struct {
	File     string         `json:"file"`
	OK       bool           `json:"ok"`
	Problems []checkProblem `json:"problems"`
}

type checkProblem struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Setting string `json:"setting,omitempty"`
	Message string `json:"message"`
}

func (c *configCheckCmd) printJSON(a *app, err error) error {
	result := checkResult{File: c.File, OK: err == nil, Problems: []checkProblem{}}
	var problems config.Errors
	if errors.As(err, &problems) {
		for _, p := range problems {
			result.Problems = append(result.Problems, checkProblem{p.Line, p.Column, p.Path, p.Message})
		}
	} else if err != nil {
		result.Problems = append(result.Problems, checkProblem{Message: err.Error()})
	}
	if err := a.printJSON(result); err != nil {
		return err
	}
	if !result.OK {
		return errSilent
	}
	return nil
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
