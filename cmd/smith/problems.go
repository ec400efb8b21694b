package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// problem reports whether a node is not well: it is down though nobody wants that,
// it failed lately and may do so again, it waits for something, it says so itself, or
// somebody must look at it.
func problem(n contracts.NodeView) bool {
	switch n.Status {
	case contracts.NodeFailed, contracts.NodeRestarting, contracts.NodeForeign, contracts.NodeSuspended:
		return true
	case contracts.NodeStarting, contracts.NodeStopping:
		return n.Kind == "agent" && n.Reason != "" || n.Unsteady != nil
	}
	return n.Outdated || n.Degraded || n.Unsteady != nil || len(n.Lacks) > 0
}

// stopped reports whether a node is kept from running, or from being restarted, by an
// operator's order.
func stopped(n contracts.NodeView) bool {
	return n.KeptDown || n.Status == contracts.NodeSuspended || n.ModeSet == "runtime" && n.Mode != "enforce"
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
		_, err := fmt.Fprintf(a.stdout, "tree %s: no node is terminated or suspended, or has another mode by order\n", tree.Tree)
		return err
	}
	for i, n := range found {
		if len(n.Orders) == 0 {
			continue // by an older supervisor
		}
		found[i].Reason = ""
		for _, o := range n.Orders {
			found[i].Reason = join(found[i].Reason, o.String())
		}
	}
	if err := a.listNodes(found); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "\ntree %s: %s; smith why NODE tells more. To take it back:\nsmith child restart, smith child resume, smith mode set NODE inherit\n", tree.Tree, plural(len(found), "node"))
	return err
}

// showProblems prints what is not well, and fails if anything is.
func (c *treeCmd) showProblems(a *app, tree contracts.TreeReply) error {
	found := pick(tree.Root, problem, []contracts.NodeView{})
	if c.JSON {
		if err := a.printJSON(found); err != nil {
			return err
		}
	} else if err := a.printProblems(tree, found, orders(tree)); err != nil {
		return err
	}
	if len(found) > 0 || tree.Trouble != "" {
		return errSilent
	}
	return nil
}

// printProblems lists problems, and says what operators keep from running: that is not
// a problem.
func (a *app) printProblems(tree contracts.TreeReply, found []contracts.NodeView, orders string) error {
	if len(found) == 0 {
		says := "nothing is wrong"
		if tree.Trouble != "" {
			says = "its supervisor can decide nothing; no node was known to be wrong before"
		}
		_, err := fmt.Fprintf(a.stdout, "tree %s: %s\n%s", tree.Tree, says, orders)
		return err
	}
	if err := a.listNodes(found); err != nil {
		return err
	}
	rolling := ""
	if r := tree.Rolling; r != nil && r.State == contracts.RollingStopped {
		rolling = rollingLine(r)
	}
	_, err := fmt.Fprintf(a.stdout, "\ntree %s: %s; smith why NODE tells more\n%s%s", tree.Tree, plural(len(found), "problem"), rolling, orders)
	return err
}

// orders is a line about what operators keep from running; empty if they keep nothing.
func orders(tree contracts.TreeReply) string {
	if tree.Root.KeptDown {
		what := "the tree is drained"
		if tree.Root.Parent != "" {
			what = tree.Root.Name + " is terminated"
		}
		return fmt.Sprintf("%s%s; smith child restart %s starts it\n", what, ordered(tree.Root), tree.Root.Name)
	}
	if down := pick(tree.Root, func(n contracts.NodeView) bool { return n.KeptDown }, nil); len(down) > 0 {
		return plural(len(down), "node") + " terminated by operators; smith tree --stopped lists them\n"
	}
	return ""
}

// ordered says since when, by whose order and why a node is down, as far as that is
// known.
func ordered(n contracts.NodeView) string {
	i := slices.IndexFunc(n.Orders, func(o contracts.StandingOrder) bool { return o.Order == "drain" || o.Order == "terminate" })
	if i < 0 {
		return ""
	}
	text, o := "", n.Orders[i]
	if o.At != nil {
		text += " since " + o.At.Local().Format("2006-01-02 15:04:05")
	}
	if o.By != nil {
		text += ", by " + o.By.String()
	}
	if o.Reason != "" {
		text += ", " + strconv.Quote(o.Reason)
	}
	return describe.Plain(text)
}

// listNodes prints a table of nodes with the reasons of their status.
func (a *app) listNodes(found []contracts.NodeView) error {
	rows := make([][]string, 0, len(found))
	for _, n := range found {
		reason := n.Reason
		if n.Unsteady != nil {
			reason = join(reason, n.Unsteady.Text(time.Now()))
		}
		if len(n.Lacks) > 0 {
			reason = join(reason, "runs on "+n.Runner+", which lacks "+strings.Join(labelsOf(n.Lacks), " and "))
		}
		if n.Degraded {
			reason = join(reason, "it reports itself degraded")
		}
		if n.Outdated {
			reason = join(reason, "it does not run as specified now")
		}
		if n.Until != nil {
			reason = join(reason, "until "+n.Until.Local().Format("15:04:05"))
		}
		rows = append(rows, []string{n.Name, string(n.Status), dash(n.Runner), describe.Plain(dash(reason))})
	}
	if width := a.width(); width > 0 {
		rows = wrapLast(problemColumns, rows, width)
	}
	return a.table(problemColumns, rows)
}

var problemColumns = []string{"NODE", "STATUS", "RUNNER", "REASON"}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
