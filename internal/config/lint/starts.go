package lint

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/strategy"
)

// Rules about starts, heartbeats and hosts.
const (
	// SlowGroup: a group may take longer to start than its window is.
	SlowGroup Rule = "slow-group"
	// BudgetBelowGroup: a group needs more restarts than the budget has.
	BudgetBelowGroup Rule = "budget-below-group"
	// HastyVerdict: one late or lost heartbeat is a failure.
	HastyVerdict Rule = "hasty-verdict"
	// LateLoss: agents of a lost host move later than lost_after.
	LateLoss Rule = "late-loss"
)

// starting is how long a child may take to come up. In a group each waits for
// the one before it to beat; elsewhere all start at once.
func (k kid) starting() time.Duration {
	if k.agent == nil {
		return k.sup.starting()
	}
	if k.agent.Heartbeats == config.ByRunner {
		return k.agent.HeartbeatInterval // its runner beats as soon as the process is there
	}
	return k.agent.StartDeadline
}

func (s *sup) starting() (d time.Duration) {
	for _, k := range s.kids {
		if s.group() {
			d = capped(float64(d) + float64(k.count)*float64(k.starting()))
		} else {
			d = max(d, k.starting())
		}
	}
	return d
}

func (c *checker) slowGroup() {
	for _, s := range c.limited() {
		whole := s.starting()
		// With rest_for_one only those after the one that fails start again.
		if _, hung := c.hung(s); s.Strategy.Reach() != strategy.All || s.members() < 2 || whole <= s.Policy.TimeWindow || len(hung) > 0 {
			continue
		}
		c.warn(c.limit(s), fmt.Sprintf("widen time_window to at least %s, lower start_deadline, or make the group smaller", up(whole)),
			"%q starts its %d children one after the other, each when the one before beats; within their deadlines that may take %s, longer than its time_window of %s: as slow as that, a group that never comes up is tried again for ever",
			s.Name, s.members(), dur(whole), dur(s.Policy.TimeWindow))
	}
}

// members counts the children of a supervisor.
func (s *sup) members() (n int) {
	for _, k := range s.kids {
		n += k.count
	}
	return n
}

// together is how many agents the largest restart within a group starts: in all,
// and of those that name one and the same runner.
func (s *sup) together() (all int, named map[string]int) {
	named = map[string]int{}
	var add func(k kid)
	add = func(k kid) {
		if k.sup != nil {
			for _, below := range k.sup.kids {
				add(below)
			}
			return
		}
		all += k.count
		if k.agent.Runner != config.AnyRunner {
			named[k.agent.Runner] += k.count
		}
	}
	for _, k := range s.kids {
		if k.restart() != config.Temporary {
			add(k)
		}
	}
	return all, named
}

func (c *checker) budgetBelowGroup() {
	b := c.f.RestartBudget
	for _, s := range c.sups {
		if !s.group() {
			continue
		}
		all, named := s.together()
		c.overBudget(s, "fleet", "the fleet", all, b.FleetRestarts, b.FleetWindow)
		most, runner := 0, ""
		for r, n := range named {
			if n > most || n == most && r < runner {
				most, runner = n, r
			}
		}
		c.overBudget(s, "runner", fmt.Sprintf("runner %q", runner), most, b.RunnerRestarts, b.RunnerWindow)
	}
}

func (c *checker) overBudget(s *sup, scope, whose string, need, budget int, window time.Duration) {
	if budget == 0 || need <= budget {
		return
	}
	rounds := (need+budget-1)/budget - 1
	c.warn("supervision_tree.restart_budget."+scope+"_restarts", fmt.Sprintf("raise it to at least %d, shorten %s_window, or make the group smaller", need, scope),
		"a restart of the group %q restarts up to %s, and the budget of %s is %s in %s: even if nothing else is restarted, the group is not whole again before %s have passed",
		s.Name, many(need, "agent"), whose, many(budget, "restart"), dur(window), dur(time.Duration(rounds)*window))
}

func (c *checker) hastyVerdict() {
	d := c.f.FailureDetection
	until := fmt.Sprintf("until %d of its heartbeats were seen", d.MinSamples)
	if d.Algorithm == config.AlgorithmFixed {
		until = "at any time"
	}
	if d.FailureThreshold == 1 && (d.Algorithm != config.AlgorithmFixed || d.PhiThreshold == 0) {
		c.warn("supervision_tree.failure_detection.failure_threshold", "set it to 2 at least; 3 is the default",
			"with 1 an agent that beats every %s is taken for dead, %s, when a heartbeat is only late: it is killed and restarted though it is well", dur(d.HeartbeatInterval), until)
	}
	for _, k := range c.agents() {
		a := k.agent
		if key := a.Setting + ".failure_threshold"; a.FailureThreshold == 1 && c.f.Gives(key) {
			c.warn(key, "set it to 2 at least; 3 is the default", "with 1 agent %q, which beats every %s, is taken for dead, %s, when a heartbeat is only late: it is killed and restarted though it is well",
				a.Name, dur(a.HeartbeatInterval), until)
		}
		if a.StartDeadline < 2*a.HeartbeatInterval {
			key := a.Setting + ".start_deadline"
			c.warn(key, fmt.Sprintf("set it to at least %s", dur(2*a.HeartbeatInterval)), "agent %q beats every %s and has %s for its first heartbeat: if that one is lost the next comes too late, and a good start counts as a failed one",
				a.Name, dur(a.HeartbeatInterval), dur(a.StartDeadline))
		}
	}
}

// agents are all agents of the tree, alike ones once.
func (c *checker) agents() []kid {
	var out []kid
	for _, s := range c.sups {
		for _, k := range s.kids {
			if k.agent != nil {
				out = append(out, k)
			}
		}
	}
	return out
}

func (c *checker) lateLoss() {
	after := c.f.Placement.LostAfter
	if after == 0 {
		return
	}
	var worst *config.Agent
	var names []string
	verdict := func(a *config.Agent) time.Duration {
		return time.Duration(a.FailureThreshold) * a.HeartbeatInterval
	}
	for _, k := range c.agents() {
		if k.agent.Runner != config.AnyRunner || verdict(k.agent) <= after {
			continue
		}
		names = append(names, k.agent.Name)
		if worst == nil || verdict(k.agent) > verdict(worst) {
			worst = k.agent
		}
	}
	if worst == nil {
		return
	}
	c.warn("supervision_tree.placement.lost_after", fmt.Sprintf("let them beat at least every %s, or say how long it takes: lost_after: %s",
		dur(after/time.Duration(worst.FailureThreshold)), dur(verdict(worst))),
		"an agent of a lost host starts elsewhere only when it has been taken for dead itself, and %q, which beats every %s, may take %d missed heartbeats, %s, for that: not %s%s",
		worst.Name, dur(worst.HeartbeatInterval), worst.FailureThreshold, dur(verdict(worst)), dur(after), alike(names, worst.Name))
}

// alike words that a finding holds for more than the one it names.
func alike(names []string, but string) string {
	var rest []string
	for _, n := range names {
		if n != but {
			rest = append(rest, n)
		}
	}
	if len(rest) == 0 {
		return ""
	}
	return " (nor " + list(rest) + ")"
}
