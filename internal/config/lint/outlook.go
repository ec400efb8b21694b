package lint

import (
	"fmt"
	"math"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/strategy"
)

// Outlook is what becomes of an agent that crashes whenever it has come up, while
// all others are well.
type Outlook struct {
	// Agent is the first of Alike agents, children of one supervisor, of which
	// it holds.
	Agent string
	Alike int
	// Supervisor decides it in the end, after so many restarts of the agent
	// within After. Endless restarts have no end, and After is then the time
	// from one to the next in the long run. Stops and starts are taken to be done
	// at once, and restart budgets to have room.
	Supervisor string
	Restarts   float64
	Endless    bool
	After      time.Duration
	// Slowest is After, at most, where all that stops with the agent takes all the
	// time that it has, and for what is then restarted for ever, from one restart
	// to the next; 0 where that changes nothing or is not certain.
	Slowest time.Duration
	// StopsWithin is how long each agent that stops with it may take for that at
	// most, if it is restarted for ever should they take all their time. It is nil
	// where it does not depend on that.
	StopsWithin *time.Duration
	// FailsWithin is how long after each restart was due the next failure may come
	// at most, whatever takes the time; later, it may be restarted for ever. 0:
	// that makes no difference.
	FailsWithin time.Duration
	// Message says all of that, and what then happens to the agent and others.
	Message string
}

// Outlooks are those of all agents that are restarted when they crash, in the
// order of the file.
func Outlooks(f *config.File) []Outlook {
	c := newChecker(f)
	var out []Outlook
	known := map[likeness]int{}
	said := map[*sup]map[string]int{}
	for _, s := range c.sups {
		said[s] = map[string]int{}
		for i, k := range s.kids {
			if k.agent == nil || k.restart() == config.Temporary {
				continue
			}
			key := likenessOf(s, i)
			at, found := known[key]
			if !found {
				o := c.outlook(s, k)
				if at, found = said[s][o.Message]; !found {
					at = len(out)
					said[s][o.Message] = at
					out = append(out, o)
				}
				known[key] = at
			}
			out[at].Alike += k.count
		}
	}
	return out
}

// likeness is what children of a supervisor have in common that have one outlook.
type likeness struct {
	s               *sup
	policy          config.RestartPolicy
	stops, deadline time.Duration
	runner          string
	several         bool
	// at is the child's place, where that makes a difference.
	at int
}

func likenessOf(s *sup, i int) likeness {
	a := s.kids[i].agent
	key := likeness{s: s, policy: a.Policy, stops: a.ShutdownTimeout, deadline: a.StartDeadline, runner: a.Runner, several: s.kids[i].count > 1}
	if s.Strategy.Reach() == strategy.Later {
		key.at = i
	}
	return key
}

// outlook is what becomes of an agent in a crash loop, whatever time it takes to
// stop others.
func (c *checker) outlook(s *sup, k kid) Outlook {
	if o, ok := c.spaced(s, k); ok {
		return o
	}
	l := c.crash(s, k)
	o := c.prospect(l)
	c.stopsSlowly(&o, s, k, l)
	if !o.Endless && o.Restarts > 0 {
		c.failsSlowly(&o, s, k, l)
		o.Message += c.spacing(l)
	}
	return o
}

// prospect words what becomes of an agent in a crash loop.
func (c *checker) prospect(l loop) Outlook {
	last := l.path[len(l.path)-1]
	o := Outlook{Agent: l.agent.Name, Supervisor: last.Name, Restarts: l.failures - 1, After: l.took}
	if l.fate == outOfReach || l.fate == goesOn && last.Escalation == config.EscalationIgnore {
		o.Restarts, o.Endless = 0, true
		o.After = time.Duration(float64(c.cycle(l)) / l.failures)
		why := "ignores its limit"
		if l.fate == outOfReach {
			why = "never exceeds its limit"
		}
		o.Message = fmt.Sprintf("it is restarted for ever, %s, since %q %s", c.pace(l), last.Name, why)
		return o
	}
	switch {
	case o.Restarts == 0:
		o.Message = "it is not restarted: " + l.end()
	case o.Restarts == 1:
		o.Message = fmt.Sprintf("it is restarted once, and %s later %s", dur(o.After), l.end())
	case o.After == 0:
		o.Message = fmt.Sprintf("it is restarted %s times without a pause, and then %s", num(o.Restarts), l.end())
	default:
		o.Message = fmt.Sprintf("it is restarted %s times within %s, and then %s", num(o.Restarts), dur(o.After), l.end())
	}
	if l.doubt {
		o.Message += "; or it is restarted for ever, if its delays happen to be long"
	}
	return o
}

// stopsSlowly adds what it makes of an outlook when others take their time to
// stop. A supervisor that runs longer may begin with its first delay again, which
// makes up for some of that: what is said to end does so without that, too, and
// what is said to be endless is so with it.
func (c *checker) stopsSlowly(o *Outlook, s *sup, k kid, l loop) {
	soonest := c.crashSlowly(s, k, slow{stops: forever})
	latest := c.crashSlowly(s, k, slow{stops: forever, as: l.resets})
	never := soonest.fate == outOfReach
	switch {
	case o.Endless && l.fate == outOfReach && !never:
		o.Message += fmt.Sprintf("; if the agents that stop with it take their time, %q may exceed its limit after all", o.Supervisor)
	case o.Endless:
		if o.Slowest = c.prospect(soonest).After; o.Slowest == o.After {
			o.Slowest = 0
			return
		}
		o.Message += fmt.Sprintf("; if the agents that stop with it take all their time, %s", c.pace(soonest))
	case latest.fate != l.fate:
		within := c.slowest(s, k, l, c.longestStop(), func(each time.Duration) slow { return slow{stops: each} })
		o.StopsWithin = &within
		o.Message = fmt.Sprintf("if every agent that stops with it does so within %s, %s; if they take all their time, it ", down(within), o.Message)
		if !never || soonest.stopsOnce() || k.count > 1 && s.Strategy.Reach() == strategy.Later {
			o.Message += "may be restarted for ever" // fewer stop with the later ones, or the next time
			return
		}
		last := c.prospect(soonest)
		o.Slowest = last.After
		o.Message += fmt.Sprintf("is restarted for ever, %s, since %q never exceeds its limit", c.pace(soonest), last.Supervisor)
	case latest.took != l.took:
		o.Slowest = latest.took
		o.Message += fmt.Sprintf("; if the agents that stop with it take all their time, that takes up to %s", dur(o.Slowest))
	}
}

// longestStop is the longest time that any agent has to stop.
func (c *checker) longestStop() (most time.Duration) {
	for _, k := range c.agents() {
		most = max(most, k.agent.ShutdownTimeout)
	}
	return most
}

// failsSlowly adds how late failures may come for an outlook to hold.
func (c *checker) failsSlowly(o *Outlook, s *sup, k kid, l loop) {
	within := c.slowest(s, k, l, forever, func(life time.Duration) slow { return slow{life: life} })
	if within >= forever/2 {
		return
	}
	o.FailsWithin = within
	o.Message += fmt.Sprintf("; if each failure comes more than %s after its restart was due, it may be restarted for ever", down(within))
	if k.agent.Heartbeats != config.ByRunner && k.agent.StartDeadline > within {
		o.Message += fmt.Sprintf(", as when it never beats (start_deadline %s)", dur(k.agent.StartDeadline))
	}
}

// spaced is the outlook of an agent whose restarts the budget alone keeps below
// the limit of its supervisor. It is false if that is not certain.
func (c *checker) spaced(s *sup, k kid) (Outlook, bool) {
	b, n := c.f.RestartBudget, s.limit()
	if b.FleetRestarts == 0 || n == 0 || s.Escalation == config.EscalationIgnore {
		return Outlook{}, false
	}
	one := k
	one.count = 1
	_, along := s.restartedWith(one)
	if s.isolates() {
		along = 0
	}
	// The last of the restarts that the limit allows may be the first of its round.
	restarts := float64(n-1)*(1+along) + 1
	rounds := math.Ceil(restarts/float64(b.FleetRestarts)) - 1
	if rounds*float64(b.FleetWindow) <= float64(s.Policy.TimeWindow) {
		return Outlook{}, false
	}
	o := Outlook{Agent: k.agent.Name, Supervisor: s.Name, Endless: true, After: capped(float64(b.FleetWindow) * (1 + along) / float64(b.FleetRestarts))}
	o.Message = fmt.Sprintf("it is restarted for ever, every %s at most, since the restart budget of the fleet, %s in %s, keeps it below the limit of %q",
		dur(o.After), num(float64(b.FleetRestarts)), dur(b.FleetWindow), s.Name)
	return o, true
}

// spacing words that budgets may space out the restarts of a loop.
func (c *checker) spacing(l loop) string {
	b, restarts := c.f.RestartBudget, l.starts-1
	switch {
	case b.FleetRestarts > 0 && restarts > float64(b.FleetRestarts):
		return fmt.Sprintf("; the restart budget of the fleet, %s in %s, may space the restarts out", num(float64(b.FleetRestarts)), dur(b.FleetWindow))
	case b.RunnerRestarts > 0 && restarts > float64(b.RunnerRestarts):
		return fmt.Sprintf("; the restart budget of a runner, %s in %s, may space the restarts out", num(float64(b.RunnerRestarts)), dur(b.RunnerWindow))
	}
	return ""
}
