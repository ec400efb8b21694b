package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// usages is what agents use, as their runners say.
type usages map[string]contracts.RunnerAgent

// of returns what an incarnation of an agent uses; nil if that is not known.
func (u usages) of(agent string, incarnation uint64) *contracts.Usage {
	if a := u[agent]; a.Incarnation == incarnation {
		return a.Usage
	}
	return nil
}

// usages asks runners what their agents use. An error says of which this is not known.
func (f clientFlags) usages(a *app, nc *nats.Conn, runners []string) (usages, error) {
	on, err := f.usagesOfAll(a, nc, runners)
	found := usages{}
	for _, agents := range on {
		for _, agent := range agents {
			found[agent.Agent] = agent
		}
	}
	return found, err
}

// usagesOfAll returns the agents that live on each runner, with what they use.
func (f clientFlags) usagesOfAll(a *app, nc *nats.Conn, runners []string) (map[string][]contracts.RunnerAgent, error) {
	f.Timeout = min(f.Timeout, outputPatience)
	var mu sync.Mutex
	var errs []error
	on := map[string][]contracts.RunnerAgent{}
	var g errgroup.Group
	g.SetLimit(16)
	slices.Sort(runners)
	for _, runner := range slices.Compact(runners) {
		if runner == "" {
			continue
		}
		g.Go(func() error {
			agents, err := f.usagesOn(a, nc, runner)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("what agents on runner %s use is not known: %w", shell.OneLine(runner), err))
				return nil
			}
			on[runner] = slices.DeleteFunc(agents, func(agent contracts.RunnerAgent) bool { return agent.Usage == nil })
			return nil
		})
	}
	_ = g.Wait()
	return on, errors.Join(errs...)
}

// usagesOn reads all pages of one runner's list.
func (f clientFlags) usagesOn(a *app, nc *nats.Conn, runner string) (agents []contracts.RunnerAgent, err error) {
	for cmd := (contracts.ListCommand{Usage: true}); ; {
		ctx, cancel := f.request(a)
		page, err := shell.Call[contracts.RunnerList](ctx, nc, contracts.RunnerSubject(runner, "list"), cmd)
		cancel()
		if err != nil {
			return agents, err
		}
		agents = append(agents, page.Agents...)
		if !page.More || len(page.Agents) == 0 {
			return agents, nil
		}
		cmd.After = page.Agents[len(page.Agents)-1].Agent
	}
}

// usageHeader names the columns of usageRow.
var usageHeader = []string{"UPTIME", "CPU", "MEMORY"}

func usageRow(u *contracts.Usage) []string {
	if u == nil {
		return []string{"-", "-", "-"}
	}
	return []string{round(u.Uptime.D()), round(u.CPU.D()), contracts.FormatBytes(u.Memory)}
}

func processes(u *contracts.Usage) string {
	if u == nil {
		return "-"
	}
	return fmt.Sprint(u.Processes)
}

// addUsage adds to agents what they use.
func (c *agentsCmd) addUsage(a *app, nc *nats.Conn, agents []contracts.AgentView) error {
	runners := make([]string, len(agents))
	for i, v := range agents {
		runners[i] = v.Runner
	}
	found, err := c.usages(a, nc, runners)
	for i, v := range agents {
		agents[i].Usage = found.of(v.Agent, v.Incarnation)
	}
	return err
}

// usageTable shows the agent with the most memory first.
func usageTable(a *app, agents []contracts.AgentView) error {
	memory := func(v contracts.AgentView) int64 {
		if v.Usage == nil {
			return -1
		}
		return v.Usage.Memory
	}
	slices.SortStableFunc(agents, func(x, y contracts.AgentView) int { return cmp.Compare(memory(y), memory(x)) })
	rows := make([][]string, len(agents))
	for i, v := range agents {
		rows[i] = append(append([]string{v.Agent, string(v.Health), dash(v.Runner)}, usageRow(v.Usage)...), processes(v.Usage))
	}
	return a.table(append(append([]string{"AGENT", "HEALTH", "RUNNER"}, usageHeader...), "PROCESSES"), rows)
}

// addTreeUsage adds to the agents of a tree what they use.
func (f clientFlags) addTreeUsage(a *app, nc *nats.Conn, root *contracts.NodeView) error {
	var runners []string
	var collect, add func(n *contracts.NodeView)
	collect = func(n *contracts.NodeView) {
		runners = append(runners, n.Runner)
		for i := range n.Children {
			collect(&n.Children[i])
		}
	}
	collect(root)
	found, err := f.usages(a, nc, runners)
	add = func(n *contracts.NodeView) {
		n.Usage = found.of(n.Name, n.Incarnation)
		for i := range n.Children {
			add(&n.Children[i])
		}
	}
	add(root)
	return err
}

// addUsage adds to runners what their agents use together.
func (c *runnersCmd) addUsage(a *app, nc *nats.Conn, views []contracts.RunnerView) error {
	runners := make([]string, len(views))
	for i, v := range views {
		runners[i] = v.Runner
	}
	on, err := c.usagesOfAll(a, nc, runners)
	for i, v := range views {
		agents, known := on[v.Runner]
		if !known || v.Kind == "goroutine" { // which are parts of one process
			continue
		}
		sum := &contracts.Usage{}
		for _, agent := range agents {
			u := agent.Usage
			sum.Uptime = max(sum.Uptime, u.Uptime)
			sum.CPU += u.CPU
			sum.Memory += u.Memory
			sum.Processes += u.Processes
		}
		views[i].Usage = sum
	}
	return err
}
