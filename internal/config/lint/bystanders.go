package lint

import (
	"fmt"

	"github.com/mistersmith/mistersmith/internal/config"
)

// Bystanders: an agent that keeps failing stops others that do not depend on it.
const Bystanders Rule = "bystanders"

// end words what follows when the last supervisor of a path has decided.
func (l loop) end() string {
	last, k := l.path[len(l.path)-1], l.last()
	switch l.fate {
	case setApart:
		what := "it"
		if k.sup != nil {
			what = fmt.Sprintf("%q and all below it", k.name())
		}
		again := fmt.Sprintf("tries again after %s", dur(last.CoolOff))
		if last.MaxCoolOff > last.CoolOff {
			again += fmt.Sprintf(", later after %s at most", dur(last.MaxCoolOff))
		}
		return fmt.Sprintf("%q sets %s apart and %s", last.Name, what, again)
	case goesOn:
		return fmt.Sprintf("%s of %q stop for %s, over and over", last.all(), last.Name, dur(last.CoolOff))
	case vanished:
		return fmt.Sprintf("%q ends and is not restarted, and %s with it", last.Name, last.all())
	}
	return fmt.Sprintf("%q gives up: %s below it stop until somebody starts them", last.Name, last.all())
}

// all words the agents below a supervisor.
func (s *sup) all() string {
	if s.agents() == 1 {
		return "the agent"
	}
	return "all " + many(s.agents(), "agent")
}

// bystanders reports agents that stop because of one that keeps failing, though
// their supervisor's strategy says that they do not depend on it.
func (c *checker) bystanders() {
	type at struct{ first, last *sup }
	first := map[at]loop{}
	names := map[at][]string{}
	var order []at
	for _, s := range c.sups {
		for _, k := range s.kids {
			if k.agent == nil || k.restart() == config.Temporary {
				continue
			}
			l := c.crash(s, k)
			by, n := l.bystanders()
			if n == 0 || l.doubt || l.fate == outOfReach || l.fate == vanished {
				continue
			}
			key := at{by, l.path[len(l.path)-1]}
			if _, found := first[key]; !found {
				first[key] = l
				order = append(order, key)
			}
			names[key] = append(names[key], k.name())
		}
	}
	for _, key := range order {
		l := first[key]
		_, n := l.bystanders()
		setting := key.first.key("escalation")
		if !c.f.Gives(setting) {
			setting = c.limit(key.first)
		}
		isolate := fmt.Sprintf("set escalation of %q to isolate", key.first.Name)
		if key.first.parent == nil {
			isolate = "set root_policy to isolate"
		}
		likewise := ""
		if rest := names[key][1:]; len(rest) > 0 {
			likewise = fmt.Sprintf(" (likewise with %s)", list(rest))
		}
		c.warn(setting, isolate+", or say by its strategy that its children depend on one another",
			"if %q crashes whenever it has come up, others stop that do not depend on it (%s): %s%s",
			l.agent.Name, many(n, "agent"), c.prospect(l).Message, likewise)
	}
}

// bystanders counts the agents that stop with the one that fails though they do
// not depend on it, and names the first supervisor that stops such.
func (l loop) bystanders() (first *sup, n int) {
	child := kid{agent: l.agent, count: 1}
	for i, s := range l.path {
		last := i == len(l.path)-1
		stops := !last || l.fate == gaveUp || l.fate == vanished || l.fate == goesOn && s.Escalation == config.EscalationRestart
		if others := s.agents() - child.agents(); stops && s.Strategy.Single() && others > 0 {
			n += others
			if first == nil {
				first = s
			}
		}
		child = kid{sup: s, count: 1}
	}
	return first, n
}
