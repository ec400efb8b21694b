package supervisor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// specs returns the configured tree as the core knows it, parents first.
func specs(f *config.File) ([]*tree.Spec, error) {
	var out []*tree.Spec
	var errs []error
	var walk func(n *config.Node, parent string)
	walk = func(n *config.Node, parent string) {
		out = append(out, nodeSpec(n, parent))
		for _, c := range n.Children {
			if c.Node != nil {
				walk(c.Node, n.Name)
				continue
			}
			s, err := agentSpec(c.Agent, n.Name, nil)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out = append(out, s)
		}
	}
	walk(&f.Tree.Root, "")
	count(out)
	var shared tree.Shared
	for _, s := range out {
		shared.Spec(s)
	}
	out[0].Supervisor.Budget = budget(f.RestartBudget)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, tree.ValidateTree(out)
}

func nodeSpec(n *config.Node, parent string) *tree.Spec {
	return &tree.Spec{
		ID: n.Name, Parent: parent, Restart: tree.Restart(n.Restart), Significant: n.Significant,
		Mode: rollout(n.Mode), Backoff: n.Policy.Delays(), ShutdownTimeout: n.ShutdownTimeout,
		Supervisor: &tree.Supervisor{
			Strategy: tree.Strategy(n.Strategy), MaxRestarts: n.Policy.MaxRestarts, Period: n.Policy.TimeWindow,
			AutoShutdown: tree.AutoShutdown(n.AutoShutdown), Escalation: tree.Escalation(n.Escalation), CoolOff: n.CoolOff, MaxCoolOff: n.MaxCoolOff,
		},
	}
}

// count tells every instance of a template how many there are.
func count(specs []*tree.Spec) {
	counts := map[string]int{}
	for _, s := range specs {
		counts[s.Template]++
	}
	for _, s := range specs {
		if s.Template != "" {
			s.Instances = counts[s.Template]
		}
	}
}

// rollout is a configured mode; nil where the file gives none.
func rollout(m *config.Mode) *tree.Rollout {
	if m == nil {
		return nil
	}
	return &tree.Rollout{Enforce: m.Enforce, Otherwise: tree.Mode(m.Otherwise)}
}

// listen is how long an agent may be silent that somebody else keeps.
func listen(interval time.Duration) time.Duration {
	if d := 3 * interval; d != tree.DefaultListen {
		return d
	}
	return 0
}

// budget bounds the restarts of all agents; nil bounds none.
func budget(c config.RestartBudget) *tree.Budget {
	b := &tree.Budget{}
	if c.FleetRestarts > 0 {
		b.Fleet = tree.Allowance{Restarts: c.FleetRestarts, Per: c.FleetWindow}
	}
	if c.RunnerRestarts > 0 {
		b.Runner = tree.Allowance{Restarts: c.RunnerRestarts, Per: c.RunnerWindow}
	}
	if *b == (tree.Budget{}) {
		return nil
	}
	return b
}

// agentSpec leaves the agent's environment out: it may hold secrets, and the
// tree's specifications are in the event log. An environment that the configuration
// has not validated is.
func agentSpec(a *config.Agent, parent string, env map[string]string) (*tree.Spec, error) {
	s := &tree.Spec{
		ID: a.Name, Parent: parent, Restart: tree.Restart(a.Restart), Significant: a.Significant,
		Mode: rollout(a.Mode), Backoff: a.Policy.Delays(), ShutdownTimeout: a.ShutdownTimeout,
		Agent: &tree.Agent{
			Runner: a.Runner, Labels: a.RunnerLabels, Return: a.OnReturn == config.OnReturnReturn,
			Verify: true, StartDeadline: a.StartDeadline, Stabilisation: a.Stabilisation, Listen: listen(a.HeartbeatInterval),
		},
	}
	if a.Index > 0 {
		s.Template, s.Index = a.Template.Name, a.Index
	}
	err := startCommand(s, contracts.StartCommand{
		Command: a.Command, Env: env, Dir: a.Dir, Expand: a.Expand, Type: a.Type, Capabilities: a.Capabilities, Capacity: a.Capacity,
		HeartbeatInterval: contracts.Duration(a.HeartbeatInterval), Heartbeats: string(a.Heartbeats),
		StopSignal: a.StopSignal, LeaveChildren: a.LeaveChildren, Health: a.Health, Execution: a.Execution,
	})
	return s, err
}

// startCommand puts into the spec what a runner will be told, but for the
// environment.
func startCommand(s *tree.Spec, c contracts.StartCommand) error {
	c.Agent, c.Incarnation = s.ID, 1
	c.Capabilities = slices.Compact(slices.Sorted(slices.Values(c.Capabilities))) // a set
	c.StartDeadline = contracts.Duration(s.Agent.StartDeadline)
	c.ShutdownTimeout = contracts.Duration(s.ShutdownTimeout)
	if c.StopSignal == contracts.StopTERM {
		c.StopSignal = "" // the same start as one that does not say it
	}
	if c.Health != nil {
		h := c.Health.Complete()
		c.Health = &h
	}
	check := c
	if len(check.Command) == 0 && s.Agent.Runner != tree.AnyRunner {
		check.Command = []string{s.ID} // that runner knows the agent by its name
	}
	if err := check.Validate(); err != nil {
		return fmt.Errorf("agent %.80q: %w", s.ID, err)
	}
	c.Agent, c.Incarnation, c.Env = "", 0, nil
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("agent %.80q: %w", s.ID, err)
	}
	s.Agent.Start = raw
	return nil
}

// environments returns the configured environment of every agent and template, with
// what its command refers to.
func environments(f *config.File) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, a := range f.Tree.Agents() {
		vars := reference.Join(a.Env, a.Vars)
		if len(vars) == 0 {
			continue
		}
		out[a.Name] = vars
		if a.Index > 0 {
			out[a.Template.Name] = vars // for instances beyond the configured ones
		}
	}
	return out
}

// child returns the spec of an agent to be added at run time, with the file's
// defaults for what it leaves out, and apart from it the agent's environment.
func child(f *config.File, req contracts.AddRequest) (*tree.Spec, map[string]string, error) {
	c := req.Child
	var errs []error
	for _, id := range [][2]string{{"parent", req.Parent}, {"child.name", c.Name}} {
		if err := contracts.ValidateID(id[1]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id[0], err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err // all else would complain of the same again
	}
	c.Type = cmp.Or(c.Type, config.DefaultType)
	policy, _ := f.PolicyFor(c.Type, false, parentNode(f, req.Parent))
	if c.Policy != "" {
		var known bool
		if policy, known = f.RestartPolicies[c.Policy]; !known {
			errs = append(errs, fmt.Errorf("child.policy: there is no restart policy %.80q", c.Policy))
		}
	}
	c.Runner = cmp.Or(c.Runner, tree.AnyRunner)
	if err := contracts.ValidateID(c.Runner); err != nil {
		errs = append(errs, fmt.Errorf("child.runner: %w", err))
	}
	if len(c.RunnerLabels) > 0 && c.Runner != tree.AnyRunner {
		errs = append(errs, fmt.Errorf("child.runner_labels: runner names %.64q, so there is nothing to choose", c.Runner))
	}
	if len(c.RunnerLabels) > 32 {
		errs = append(errs, fmt.Errorf("child.runner_labels: %d labels; at most 32", len(c.RunnerLabels)))
	}
	s, err := agentSpec(&config.Agent{Name: c.Name, Template: &config.Template{
		Restart: config.Restart(cmp.Or(c.Restart, string(tree.Permanent))), Significant: c.Significant,
		Policy: policy, ShutdownTimeout: cmp.Or(c.ShutdownTimeout.D(), contracts.DefaultShutdownTimeout),
		Runner: c.Runner, RunnerLabels: c.RunnerLabels, OnReturn: f.Placement.OnReturn,
		StartDeadline: cmp.Or(c.StartDeadline.D(), f.Verification.StartDeadline), Stabilisation: cmp.Or(c.Stabilisation.D(), f.Verification.Stabilisation),
		Command: c.Command, Dir: c.Dir, Type: c.Type, Capabilities: c.Capabilities, Capacity: cmp.Or(c.Capacity, 1),
		HeartbeatInterval: cmp.Or(c.HeartbeatInterval.D(), f.FailureDetection.HeartbeatInterval), Heartbeats: config.Heartbeats(c.Heartbeats),
		StopSignal: c.StopSignal, LeaveChildren: c.LeaveChildren, Health: c.Health, Execution: c.Execution,
	}}, req.Parent, c.Env)
	errs = append(errs, s.Validate(), err)
	return s, c.Env, errors.Join(errs...)
}

// parentNode is the configured supervisor of that name, or nil.
func parentNode(f *config.File, name string) *config.Node {
	for _, n := range f.Tree.Nodes() {
		if n.Name == name {
			return &n
		}
	}
	return nil
}
