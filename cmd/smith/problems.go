package main

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// problem reports whether a node is not well: it is down though nobody wants that,
// it waits for something, or somebody must look at it.
func problem(n contracts.NodeView) bool {
	switch n.Status {
	case contracts.NodeFailed, contracts.NodeRestarting, contracts.NodeForeign, contracts.NodeSuspended:
		return true
	case contracts.NodeStarting, contracts.NodeStopping:
		return n.Kind == "agent" && n.Reason != ""
	}
	return n.Outdated
}

// stopped reports whether a node is kept from running, or from restarting what is
// below it, by an operator's order.
func stopped(n contracts.NodeView) bool {
	return n.KeptDown || n.Status == contracts.NodeSuspended
}

// pick appends the nodes at and below one that are of interest, without their
// children, parents first.
func pick(n contracts.NodeView, interests func(contracts.NodeView) bool, found []contracts.NodeView) []contracts.NodeView {
	if interests(n) {
		bare := n
		bare.Children = nil
		found = append(found, bare)
	}
	for _, c := range n.Children {
		found = pick(c, interests, found)
	}
	return found
}

// showStopped prints what operators keep from running.
func (c *treeCmd) showStopped(a *app, tree contracts.TreeReply) error {
	found := pick(tree.Root, stopped, []contracts.NodeView{})
	if c.JSON {
		return a.printJSON(found)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintf(a.stdout, "tree %s: no node is terminated or suspended\n", tree.Tree)
		return err
	}
	if err := a.listNodes(found); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "\ntree %s: %s; smith why NODE tells who ordered it,\nsmith child restart NODE starts it\n", tree.Tree, plural(len(found), "node"))
	return err
}

// showProblems prints what is not well, and fails if anything is.
func (c *treeCmd) showProblems(a *app, tree contracts.TreeReply) error {
	found := pick(tree.Root, problem, []contracts.NodeView{})
	if c.JSON {
		if err := a.printJSON(found); err != nil {
			return err
		}
	} else if err := a.printProblems(tree, found); err != nil {
		return err
	}
	if len(found) > 0 {
		return errSilent
	}
	return nil
}

func (a *app) printProblems(tree contracts.TreeReply, found []contracts.NodeView) error {
	if len(found) == 0 {
		_, err := fmt.Fprintf(a.stdout, "tree %s: nothing is wrong\n", tree.Tree)
		return err
	}
	if err := a.listNodes(found); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "\ntree %s: %s; smith why NODE tells more\n", tree.Tree, plural(len(found), "problem"))
	return err
}

// listNodes prints a table of nodes with the reasons of their status.
func (a *app) listNodes(found []contracts.NodeView) error {
	var rows [][]string
	for _, n := range found {
		reason := n.Reason
		if n.Outdated {
			reason = join(reason, "it does not run as specified now")
		}
		rows = append(rows, []string{n.Name, string(n.Status), dash(n.Runner), dash(withUntil(reason, n.Until, 44))})
	}
	return a.table([]string{"NODE", "STATUS", "RUNNER", "REASON"}, rows)
}

// withUntil adds to a reason when a wait ends, which is never cut off.
func withUntil(reason string, until *time.Time, most int) string {
	if until == nil {
		return clip(reason, most)
	}
	end := "until " + until.Local().Format("15:04:05")
	return join(clip(reason, most-len("; ")-len(end)), end)
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
