package lint

import (
	"fmt"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// Rules about restart limits.
const (
	// LimitOutOfReach: what fails again and again never exceeds the limit.
	LimitOutOfReach Rule = "limit-out-of-reach"
	// HungStart: agents that never beat never exceed the limit.
	HungStart Rule = "hung-start"
	// LimitsMultiply: limits of nested supervisors make very many restarts.
	LimitsMultiply Rule = "limits-multiply"
	// SharedLimit: many agents share a small limit.
	SharedLimit Rule = "shared-limit"
	// EndlessRestarts: an agent is restarted fast and for ever.
	EndlessRestarts Rule = "endless-restarts"
)

// limited are the supervisors whose limit decides something.
func (c *checker) limited() []*sup {
	var out []*sup
	for _, s := range c.sups {
		if !s.Strategy.Escalates() && s.Escalation != config.EscalationIgnore && s.Policy.MaxRestarts > 0 {
			out = append(out, s)
		}
	}
	return out
}

// limitWords is a limit as people say it.
func limitWords(p config.RestartPolicy) string {
	return fmt.Sprintf("%s in %s", many(p.MaxRestarts, "restart"), dur(p.TimeWindow))
}

// hungAt is when n+1 starts without a heartbeat would have failed.
func (c *checker) hungAt(s *sup, a *config.Agent, l luck) time.Duration {
	n := s.Policy.MaxRestarts
	return capped(float64(times(n, a.StartDeadline)) + float64(c.delays(a.Policy, n, false, l).sum))
}

// hung lists the children that may hang at each start without their supervisor
// exceeding its limit, where crashes would exceed it.
func (c *checker) hung(s *sup) (first *config.Agent, names []string) {
	for _, k := range s.kids {
		if k.agent == nil || k.restart() == config.Temporary || k.agent.Heartbeats == config.ByRunner || c.hungAt(s, k.agent, shortest) <= s.Policy.TimeWindow {
			continue
		}
		l, _ := c.failing(s, k)
		if !c.limitOf(&l, s, k) {
			continue
		}
		if names = append(names, k.name()); first == nil {
			first = k.agent
		}
	}
	return first, names
}

func (c *checker) hungStart() {
	for _, s := range c.limited() {
		a, names := c.hung(s)
		if a == nil || s.crowded() {
			continue
		}
		n, at := s.Policy.MaxRestarts, c.hungAt(s, a, middling)
		advice := fmt.Sprintf("widen time_window to at least %s, or lower max_restarts", up(at))
		left := (s.Policy.TimeWindow - c.delays(a.Policy, n, false, middling).sum) / time.Duration(n)
		if left = left.Truncate(100 * time.Millisecond); left >= a.HeartbeatInterval && left > 0 {
			advice = fmt.Sprintf("lower start_deadline to %s at most, or widen time_window to at least %s", dur(left), up(at))
		}
		c.warn(c.limit(s), advice, "%q has %s for its first heartbeat, so %d starts without one take %s, longer than the %s in which %q allows %s: an agent that starts but never beats is tried again for ever%s",
			a.Name, dur(a.StartDeadline), n+1, dur(at), dur(s.Policy.TimeWindow), s.Name, many(n, "restart"), others(names))
	}
}

// tooManyRestarts is how many make a finding of limits that multiply.
const tooManyRestarts = 100

func (c *checker) limitsMultiply() {
	var worst loop
	paths := 0
	for _, s := range c.sups {
		found := false
		for _, k := range s.kids {
			if k.agent == nil || k.restart() == config.Temporary {
				continue
			}
			l := c.crash(s, k)
			if l.fate == outOfReach || l.doubt || levels(l) < 2 || l.failures-1 < tooManyRestarts {
				continue
			}
			found = true
			if l.failures > worst.failures || l.failures == worst.failures && l.starts > worst.starts {
				worst = l
			}
		}
		if found {
			paths++
		}
	}
	if paths == 0 {
		return
	}
	last := worst.path[len(worst.path)-1]
	also := ""
	switch {
	case paths == 2:
		also = "; there is another such path"
	case paths > 2:
		also = fmt.Sprintf("; there are %d more such paths", paths-1)
	}
	if worst.starts > worst.failures {
		also = fmt.Sprintf(" (%s starts of agents with those that restart with it)", num(worst.starts)) + also
	}
	end := fmt.Sprintf("%q gives up", last.Name)
	if worst.fate == setApart {
		end = fmt.Sprintf("%q sets %q apart", last.Name, worst.last().name())
	}
	c.warn(c.limit(worst.path[0]), "lower max_restarts of the inner supervisors (with 0 each failure goes to the next one up), or let one of them stop it with escalation: isolate, terminate or restart",
		"restart limits multiply through the levels: if %q crashes whenever it has come up, it is restarted %s times within %s before %s, by %s%s",
		worst.agent.Name, num(worst.failures-1), dur(worst.took), end, factors(worst), also)
}

// levels counts the supervisors of a path that restart by themselves.
func levels(l loop) int {
	n := 0
	for _, s := range l.path {
		if s.restarts() > 0 {
			n++
		}
	}
	return n
}

// restarts is how many a supervisor allows; one that ignores its limit, or
// escalates every failure, allows none that multiply.
func (s *sup) restarts() int {
	if s.Strategy.Escalates() || s.Escalation == config.EscalationIgnore {
		return 0
	}
	return s.Policy.MaxRestarts
}

// factors words how the limits of a path multiply, from the top.
func factors(l loop) string {
	var parts []string
	for i := len(l.path) - 1; i >= 0; i-- {
		if s := l.path[i]; s.restarts() > 0 {
			parts = append(parts, fmt.Sprintf("(%s+1 of %q)", num(float64(s.restarts())), s.Name))
		}
	}
	return strings.Join(parts, " × ") + " - 1"
}

// sharedFactor is how many times its restarts a supervisor may have agents.
const sharedFactor = 10

func (c *checker) sharedLimit() {
	for _, s := range c.limited() {
		if s.group() || s.isolates() {
			continue // a restart of the group counts once, or each child by itself
		}
		agents, n := s.restarted(), s.Policy.MaxRestarts
		if agents <= sharedFactor*n {
			continue
		}
		c.warn(c.limit(s), "raise max_restarts to as many as may fail together, or split the agents over several supervisors",
			"%d agents of %q share a limit of %s: when something that they share fails, the first %d of them to crash exceed it: %s", agents, s.Name, limitWords(s.Policy), n+1, s.consequence())
	}
}

// restarted counts the agents among a supervisor's children that are restarted.
func (s *sup) restarted() (agents int) {
	for _, k := range s.kids {
		if k.agent != nil && k.restart() != config.Temporary {
			agents += k.count
		}
	}
	return agents
}

// crowded reports whether a limit is there for many agents together, so that one
// alone need not exceed it.
func (s *sup) crowded() bool { return !s.group() && !s.isolates() && s.restarted() > 10 }

// consequence says what follows when a supervisor exceeds its limit.
func (s *sup) consequence() string {
	all := "all " + many(s.agents(), "agent")
	if s.agents() == 1 {
		all = "its agent"
	}
	switch {
	case s.Escalation == config.EscalationRestart:
		return fmt.Sprintf("%s stop for %s", all, dur(s.CoolOff))
	case s.Escalation == config.EscalationTerminate:
		return all + " stop until somebody starts them"
	case s.Restart != config.Permanent:
		return fmt.Sprintf("%s stop, and %q is not restarted", all, s.Name)
	}
	return fmt.Sprintf("%s stop, and %q decides what happens to them", all, s.parent.Name)
}

// frantic is the pace of restarts for ever that makes a finding.
const frantic = 200 * time.Millisecond

func (c *checker) endlessRestarts() {
	for _, s := range c.sups {
		if s.Strategy.Escalates() {
			continue
		}
		for _, k := range s.kids {
			l, fails := c.failing(s, k)
			if !fails || !c.endless(s, k, l) {
				continue
			}
			break
		}
	}
}

// endless reports a child of s that can be restarted fast for ever.
func (c *checker) endless(s *sup, k kid, l loop) bool {
	each, how := time.Duration(0), ""
	switch s.Escalation {
	case config.EscalationIgnore:
		each = l.took + c.delays(k.policy(), 1000, false, middling).last
		how = "ignores its limit"
	case config.EscalationRestart:
		if !c.limitOf(&l, s, k) {
			return false
		}
		each = l.took + s.CoolOff
		how = fmt.Sprintf("starts again %s after it exceeded its limit", dur(s.CoolOff))
	case config.EscalationIsolate:
		if exceeds := l; !c.limitOf(&exceeds, s, k) {
			return false
		}
		each = l.took + s.MaxCoolOff // the first failure of each trial
		how = fmt.Sprintf("tries what it set apart again after %s at most", dur(s.MaxCoolOff))
	default:
		return false
	}
	each = time.Duration(float64(each) / l.failures)
	if each >= frantic {
		return false
	}
	pace := "without a pause"
	if each > 0 {
		pace = "every " + dur(each)
	}
	c.warn(s.key("escalation"), "let the delays grow (backoff_strategy with a higher max_delay), lengthen the cool-off, or choose another escalation",
		"%q %s, and if %q crashes whenever it has come up, it is restarted %s for ever", s.Name, how, l.agent.Name, pace)
	return true
}
