package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type runnersCmd struct {
	clientFlags
	Usage bool `help:"Show what the agents of each runner use together: processor time, memory and processes, and the longest of their uptimes."`
}

func (runnersCmd) Help() string {
	return "ROOM is how many more agents a runner takes, BOOT the beginning of the id that its host has until it boots again; --json has the whole.\n\nExamples:\n  smith runners\n  smith runners --usage\n  smith runners --json"
}

func (c *runnersCmd) Run(a *app) error {
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	reply, err := askOn[contracts.RunnersReply](a, c.clientFlags, nc, contracts.ServiceSupervisor, "runners", struct{}{})
	if err != nil {
		return err
	}
	if c.Usage {
		if err := c.addUsage(a, nc, reply.Runners); err != nil {
			fmt.Fprintln(a.stderr, "smith:", err)
		}
	}
	if c.JSON {
		return a.printJSON(reply)
	}
	header, rows := []string{"RUNNER", "STATE", "AGENTS", "ROOM"}, make([][]string, len(reply.Runners))
	if c.Usage {
		header = append(append(header, usageHeader...), "PROCESSES")
	} else {
		header = append(header, "LABELS", "BOOT", "SEEN")
	}
	for i, r := range reply.Runners {
		rows[i] = []string{r.Runner, runnerState(r), fmt.Sprint(r.Agents), room(r)}
		if c.Usage {
			rows[i] = append(append(rows[i], usageRow(r.Usage)...), processes(r.Usage))
		} else {
			rows[i] = append(rows[i], dash(labels(r.Labels)), dash(short(r.BootID)), since(&r.Seen))
		}
	}
	if err := a.table(header, rows); err != nil {
		return err
	}
	for _, r := range reply.Runners {
		if r.Comparison != nil && (r.Held || r.Comparison.Overdue) {
			fmt.Fprintln(a.stdout, comparison(r))
		}
	}
	return nil
}

// comparison says how far the comparison of a runner with the tree is, in lines
// of at most 80 columns as far as it goes.
func comparison(r contracts.RunnerView) string {
	c := r.Comparison
	text := fmt.Sprintf("\n%s\n  not compared with the tree yet; it began %s, %d entries are read", shell.OneLine(r.Runner), since(&c.Since), c.Entries)
	if r.Held {
		text += "\n  it takes no starts until then"
	}
	if c.Problem != "" {
		text += "\n  " + clip(shell.OneLine(c.Problem), 78)
	}
	return text
}

// runnerState is what the supervisor makes of a runner, in a word.
func runnerState(r contracts.RunnerView) string {
	switch {
	case r.Lost:
		return "lost"
	case r.NoResources:
		return "no resources"
	case r.Held && r.Comparison != nil && r.Comparison.Overdue:
		return "not compared"
	case r.Held:
		return "comparing"
	case r.Available && r.Kind == "goroutine":
		return "named only"
	case r.Available:
		return "available"
	}
	return "silent"
}

func room(r contracts.RunnerView) string {
	if r.Capacity == 0 {
		return "unbounded"
	}
	return fmt.Sprint(max(0, r.Capacity-r.Agents))
}

func labels(l map[string]string) string { return clip(strings.Join(labelsOf(l), ","), 16) }

// labelsOf lists labels as KEY=VALUE, in order.
func labelsOf(l map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(l)) {
		out = append(out, k+"="+l[k])
	}
	return out
}

// short is the beginning of an id.
func short(id string) string { return id[:min(8, len(id))] }
