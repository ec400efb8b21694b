package lint

import (
	"cmp"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// Rules about how supervisors and their children end.
const (
	// VanishingSupervisor: one that gives up is not restarted.
	VanishingSupervisor Rule = "vanishing-supervisor"
	// LoopingShutdown: one that shuts itself down is restarted.
	LoopingShutdown Rule = "looping-shutdown"
	// ShortShutdown: its children need longer to stop than it allows.
	ShortShutdown Rule = "short-shutdown"
)

func (c *checker) vanishingSupervisor() {
	for _, s := range c.sups {
		byStrategy := s.Strategy.Escalates()
		if s.parent == nil || s.Restart == config.Permanent || s.agents() == 0 ||
			!byStrategy && s.Escalation != config.EscalationEscalate || byStrategy && s.Restart == config.Transient {
			continue
		}
		if _, ok := c.quickest(s); !ok {
			continue
		}
		when := fmt.Sprintf("exceeds its limit of %s", limitWords(s.Policy))
		if byStrategy {
			when = "has a child that fails"
		}
		setting := s.Setting + ".restart"
		all, them := "its agent is", "it"
		if n := s.agents(); n > 1 {
			all, them = "its "+many(n, "agent")+" are", "them"
		}
		if s.Restart == config.Temporary {
			c.warn(setting, "make it permanent, or set escalation to terminate if that is meant, or to restart for another try after a cool-off",
				"when %q %s it ends, and being temporary it is not restarted by %q: %s down until somebody starts %s", s.Name, when, s.parent.Name, all, them)
			continue
		}
		c.warn(setting, "make it permanent, or set escalation to terminate if that is meant, or to restart for another try after a cool-off",
			"when %q %s it ends with shutdown, which is an ordinary end; being transient it is not restarted by %q, and %s down until somebody starts %s", s.Name, when, s.parent.Name, all, them)
	}
}

func (c *checker) loopingShutdown() {
	for _, s := range c.sups {
		if s.parent == nil || s.AutoShutdown == config.AutoShutdownNever || s.Restart != config.Permanent {
			continue
		}
		n, p := s.parent.restarts(), s.parent
		then := fmt.Sprintf("; the %s such end within %s is more than %q allows", ordinal(n+1), dur(p.Policy.TimeWindow), p.Name)
		if p.Strategy.Escalates() {
			then = fmt.Sprintf("; %q fails with it", p.Name)
		} else if p.Escalation == config.EscalationIgnore {
			then = ""
		}
		c.warn(s.Setting+".auto_shutdown", "make it restart: transient, so that it stays down when its work is done",
			"when its significant children have ended, %q shuts down, and being permanent it is started again by %q %s later: its work is done over and over%s",
			s.Name, p.Name, dur(s.Policy.Delays().WaitAt(0, 0)), then)
	}
}

func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}

// stopping is how long a child may take to stop: as many agents as it stands for
// take as long as one when they stop side by side.
func (k kid) stopping() time.Duration { return k.stoppingIn(forever) }

// stoppingIn is the same where no agent needs longer than each.
func (k kid) stoppingIn(each time.Duration) time.Duration {
	if k.agent != nil {
		return min(each, k.agent.ShutdownTimeout)
	}
	all := k.sup.stoppingIn(each)
	if own := k.sup.ShutdownTimeout; own > 0 {
		return min(own, all)
	}
	return all
}

// stopping is how long all below a supervisor may take to stop: the children of
// a group stop one after the other, others side by side.
func (s *sup) stopping() time.Duration { return s.stoppingIn(forever) }

func (s *sup) stoppingIn(each time.Duration) time.Duration {
	return s.stoppingOf(each, func(k kid, _ int) int { return k.count })
}

// stoppingOf is how long some of the agents and supervisors below a supervisor
// take to stop: as many of each child, at its index, as count says.
func (s *sup) stoppingOf(each time.Duration, count func(k kid, at int) int) time.Duration {
	var all time.Duration
	for i, k := range s.kids {
		n := count(k, i)
		switch {
		case s.group():
			all = min(forever, all+times(n, k.stoppingIn(each)))
		case n > 0:
			all = max(all, k.stoppingIn(each))
		}
	}
	return all
}

func (c *checker) shortShutdown() {
	for _, s := range c.sups {
		bound := s.ShutdownTimeout
		if bound == 0 || s.stopping() <= bound {
			continue
		}
		setting := s.Setting + ".shutdown_timeout"
		if k, own := s.longer(); own > 0 {
			lower := fmt.Sprintf("that of %q", k.name())
			if k.sup.ShutdownTimeout == 0 {
				lower = fmt.Sprintf("those of the children of %q", k.name())
			}
			c.warn(setting, fmt.Sprintf("raise it to at least %s, or lower %s", up(own), lower),
				"all of %q has %s to stop, but %q below it may take %s; what still runs after %s is killed", s.Name, dur(bound), k.name(), dur(own), dur(bound))
			continue
		}
		first, cut := s.cut(bound)
		killed := "it is killed"
		if cut > 1 {
			killed = fmt.Sprintf("it and %s are killed", many(cut-1, "other"))
		}
		c.warn(setting, fmt.Sprintf("raise it to at least %s or write infinity, or lower the children's", up(s.stopping())),
			"the children of a group stop one after the other, the last first, and those of %q may take %s together; if each takes its time, the %s are up before %q has had its own, and %s",
			s.Name, dur(s.stopping()), dur(bound), first, killed)
	}
}

// longer is a supervisor below s that may take longer to stop than s, by itself.
func (s *sup) longer() (kid, time.Duration) {
	for _, k := range s.kids {
		if k.sup != nil && (!s.group() || k.sup.ShutdownTimeout > s.ShutdownTimeout) && k.stopping() > s.ShutdownTimeout {
			return k, k.stopping()
		}
	}
	return kid{}, 0
}

// cut says which agent, in the order of stopping, is the first that does not
// get all of its own time before the bound, and how many do not.
func (s *sup) cut(bound time.Duration) (first string, count int) {
	for i := len(s.kids) - 1; i >= 0; i-- {
		k, name, n := s.kids[i], "", 0
		switch need := capped(float64(k.count) * float64(k.stopping())); {
		case first != "" && s.group():
			n = k.agents()
		case s.group() && need <= bound:
			bound -= need
		case k.stopping() <= bound && !s.group():
		case k.sup != nil:
			name, n = k.sup.cut(bound)
		case s.group():
			n = k.count - int(bound/k.agent.ShutdownTimeout)
			name = k.instance(n)
		default:
			n, name = k.count, k.instance(k.count)
		}
		first, count = cmp.Or(first, name), count+n
	}
	return first, count
}

// instance names the n-th of the agents that a child stands for.
func (k kid) instance(n int) string {
	if k.agent.Index > 0 {
		return fmt.Sprintf("%s-%d", k.agent.Template.Name, n)
	}
	return k.agent.Name
}
