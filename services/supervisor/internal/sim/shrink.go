package sim

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Shrink gives a smaller scenario that breaks the same invariant: fewer faults,
// fewer nodes, less that goes wrong. It is as deterministic as the runs.
//
// It is not left to rapid, which shrinks the random numbers that a test draws: in
// a run they are drawn as it goes, and with one left out the rest would tell
// another story. Here whole faults and nodes are left out of a scenario that is
// data, and the rest stays much as it was, since everybody draws from a [stream]
// of their own.
func Shrink(s Scenario, opt Options) (Scenario, Result) {
	opt.Tell = nil
	r := Run(s, opt)
	if r.Violation == nil {
		return s, r
	}
	opt.Only = r.Violation.Invariant
	for {
		smaller := false
		for _, try := range s.smaller() {
			if again := Run(try, opt); again.Violation != nil {
				s, r, smaller = try, again, true
				break
			}
		}
		if !smaller {
			return s, r
		}
	}
}

// smaller lists what could be left out, the most first.
func (s Scenario) smaller() []Scenario {
	var all []Scenario
	change := func(f func(*Scenario)) {
		c := s
		c.Faults, c.Specs = slices.Clone(s.Faults), slices.Clone(s.Specs)
		f(&c)
		all = append(all, c)
	}
	for n := len(s.Faults); n > 0; n /= 2 {
		for from := 0; from < len(s.Faults); from += n {
			change(func(c *Scenario) { c.Faults = slices.Delete(c.Faults, from, min(from+n, len(c.Faults))) })
		}
	}
	for i := len(s.Specs) - 1; i > 0; i-- {
		if id := s.Specs[i].ID; !slices.ContainsFunc(s.Specs, func(n *tree.Spec) bool { return n.Parent == id }) {
			change(func(c *Scenario) {
				c.Specs = slices.Delete(c.Specs, i, i+1)
				c.Faults = slices.DeleteFunc(c.Faults, func(f Fault) bool { return f.Node == id })
			})
		}
	}
	if last := s.Supervisors - 1; last > 0 {
		change(func(c *Scenario) {
			c.Supervisors = last
			c.Faults = slices.DeleteFunc(c.Faults, func(f Fault) bool { return f.ofSupervisor() && f.Of == last })
		})
	}
	if last := s.Runners - 1; last > 0 && !slices.ContainsFunc(s.Specs, func(n *tree.Spec) bool { return n.Agent != nil && n.Agent.Runner == runnerName(last) }) {
		change(func(c *Scenario) {
			c.Runners = last
			c.Faults = slices.DeleteFunc(c.Faults, func(f Fault) bool { return f.ofRunner() && f.Of == last })
		})
	}
	for _, n := range []func(*Scenario) *int{
		func(c *Scenario) *int { return &c.Loss }, func(c *Scenario) *int { return &c.Twice },
		func(c *Scenario) *int { return &c.Late }, func(c *Scenario) *int { return &c.Flaky },
	} {
		if *n(&s) > 0 {
			change(func(c *Scenario) { *n(c) = 0 })
		}
	}
	if s.MaxChanged < everything || s.Part < everything {
		change(func(c *Scenario) { c.MaxChanged, c.Part = everything, everything })
	}
	if end := s.lastFault() + time.Second; end < s.Calm {
		change(func(c *Scenario) { c.Calm = end })
	}
	return all
}

func (s Scenario) lastFault() time.Duration {
	if len(s.Faults) == 0 {
		return 0
	}
	return s.Faults[len(s.Faults)-1].At
}

func (f Fault) ofSupervisor() bool {
	return f.Kind == CrashSupervisor || f.Kind == PauseSupervisor || f.Kind == SkewClock || f.Kind == CutSupervisor
}

func (f Fault) ofRunner() bool {
	return f.Kind == CrashRunner || f.Kind == RebootHost || f.Kind == CutRunner || f.Kind == LoseHost || f.Kind == RestartContainer || f.Kind == WithdrawAgents || f.Kind == Starve
}
