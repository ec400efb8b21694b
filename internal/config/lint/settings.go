package lint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// Rules about settings that do not do what they seem to.
const (
	// NoEffect: a setting changes nothing.
	NoEffect Rule = "no-effect"
	// OddName: a label or runner is spelled unlike the others.
	OddName Rule = "odd-name"
	// NoTaker: no agent takes the tasks of a type.
	NoTaker Rule = "no-taker"
	// TooManyAgents: the tree leaves no place for agents from elsewhere.
	TooManyAgents Rule = "too-many-agents"
)

func (c *checker) noEffect() {
	d := c.f.FailureDetection
	detection := "supervision_tree.failure_detection."
	for key, bound := range map[string]time.Duration{"min_std_deviation": d.MinStdDeviation, "max_std_deviation": d.MaxStdDeviation} {
		if d.Algorithm != config.AlgorithmNormal && bound > 0 && c.f.Gives(detection+key) {
			c.warn(detection+key, "remove it, or set algorithm to normal", "it has no effect: only algorithm normal estimates a deviation, and here it is %s", d.Algorithm)
		}
	}
	if d.Algorithm == config.AlgorithmFixed && c.f.Gives(detection+"phi_threshold") && c.f.Gives(detection+"failure_threshold") {
		c.warn(detection+"failure_threshold", "remove phi_threshold, or this", "it has no effect: with algorithm fixed, phi_threshold counts missed heartbeats where it is given, so an agent that beats every %s is taken for dead after %s",
			dur(d.HeartbeatInterval), dur(capped(d.PhiThreshold*float64(d.HeartbeatInterval))))
	}
	for _, s := range c.sups {
		c.idleEscalation(s)
		for _, k := range s.kids {
			if k.agent != nil {
				c.idleSettings(s, k.agent)
			}
		}
	}
}

// idleEscalation reports what a supervisor that escalates every failure never
// uses.
func (c *checker) idleEscalation(s *sup) {
	if !s.Strategy.Escalates() {
		return
	}
	if key := s.key("escalation"); c.f.Gives(key) {
		c.warn(key, "remove it, or choose another strategy", "it has no effect: with strategy escalate %q fails with its first child, before any limit is exceeded", s.Name)
	}
	if key := s.key("policy") + ".max_restarts"; c.f.Gives(key) {
		c.warn(key, "remove it, or choose another strategy", "it has no effect: with strategy escalate %q restarts no child, so there is nothing to limit", s.Name)
	}
}

// idleSettings reports settings of an agent that nothing looks at.
func (c *checker) idleSettings(s *sup, a *config.Agent) {
	policy := a.Setting + ".policy"
	switch {
	case !c.f.Gives(policy):
	case a.Restart == config.Temporary:
		c.warn(policy, "remove it, or make the agent transient or permanent", "it has no effect: %q is temporary, and never restarted", a.Name)
	case s.Strategy.Escalates():
		c.warn(policy, "remove it", "it has no effect: %q has strategy escalate and restarts no child by itself", s.Name)
	case c.f.Gives(policy + ".max_restarts"):
		c.warn(policy+".max_restarts", fmt.Sprintf("remove it, or put %q under a supervisor of its own with this limit", a.Name),
			"it has no effect: of an agent's policy only the delays count; the limit is that of %q, %s for all its children together", s.Name, limitWords(s.Policy))
	}
	if key := a.Setting + ".on_return"; a.Runner != config.AnyRunner && c.f.Gives(key) {
		c.warn(key, "remove it, or name no runner", "it has no effect: %q runs on %q only, so when that host is lost it waits there and goes nowhere else", a.Name, a.Runner)
	}
}

// oddName looks for spellings of one name that differ.
func (c *checker) oddName() {
	keys, runners := spellings{}, spellings{}
	values := map[string]spellings{}
	for _, k := range c.agents() {
		a := k.agent
		if a.Runner != config.AnyRunner {
			runners.add(a.Runner, a.Setting+".runner")
		}
		for key, value := range a.RunnerLabels {
			at := a.Setting + ".runner_labels." + key
			keys.add(key, at)
			if values[key] == nil {
				values[key] = spellings{}
			}
			values[key].add(value, at)
		}
	}
	c.odd(runners, "runner", "names are exact, so an agent that names a runner which never comes waits for it for ever", false)
	c.odd(keys, "label", "labels are exact, so an agent that asks for one which no runner has waits for ever", true)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		c.odd(values[key], fmt.Sprintf("value of label %q", key), "labels are exact, so an agent that asks for one which no runner has waits for ever", false)
	}
}

// spellings are where names are given.
type spellings map[string][]string

func (s spellings) add(name, at string) { s[name] = append(s[name], at) }

// mostNames bounds how many names are compared letter by letter.
const mostNames = 200

// odd reports names that are likely meant to be another, more common one: they
// differ from it in case and separators only or, with slips, in a slip of the
// hand.
func (c *checker) odd(names spellings, what, then string, slips bool) {
	byUse := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(names[b]), len(names[a])), strings.Compare(a, b))
	})
	common := map[string]string{} // by what is left without case and separators
	for i, name := range byUse {
		folded := fold(name)
		other, found := common[folded]
		for _, before := range byUse[:min(i, mostNames)] {
			if !found && slips && slip(folded, fold(before)) {
				other, found = before, true
			}
		}
		if !found {
			common[folded] = name
			continue
		}
		slices.Sort(names[name])
		c.warn(names[name][0], fmt.Sprintf("write %q if that is meant", other), "%s %q is almost %q, which others have; %s", what, name, other, then)
	}
}

var separators = strings.NewReplacer("_", "", "-", "", " ", "", ".", "")

func fold(s string) string { return strings.ToLower(separators.Replace(s)) }

// slip reports whether a word of some length may be another mistyped: a letter too
// many, too few, or two swapped. Another letter may well be another name.
func slip(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	if a == b || len(a) < 4 || len(a)-len(b) > 1 {
		return a == b
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	if len(a) > len(b) {
		return (a[i] < '0' || a[i] > '9') && a[i+1:] == b[i:]
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

func (c *checker) noTaker() {
	agents := c.agents()
	if len(agents) == 0 {
		return // they come from elsewhere
	}
	for _, name := range slices.Sorted(maps.Keys(c.f.Routing.Types)) {
		setting := "supervision_tree.routing.types." + name
		route := c.f.Routing.Types[name]
		if !c.f.Gives(setting) || slices.ContainsFunc(agents, func(k kid) bool { return takes(route, k.agent) }) {
			continue
		}
		then := "they wait until one from elsewhere takes them"
		if c.f.Routing.DefaultAgent != "" {
			then = fmt.Sprintf("all go to %q, the default agent", c.f.Routing.DefaultAgent)
		}
		c.warn(setting, "give agents the type and capabilities it asks for, or correct it", "no agent of the tree can do tasks of type %q (%s); %s", name, wanted(route), then)
	}
	if d := c.f.Routing.DefaultAgent; d != "" && !slices.ContainsFunc(c.f.Tree.Agents(), func(a config.Agent) bool { return a.Name == d }) {
		c.warn("supervision_tree.routing.default_agent", "name an agent of the tree (with a count its names end in -1, -2 and so on)", "the tree has no agent %q; tasks that nobody else can do wait until one of that name comes from elsewhere", d)
	}
}

func takes(r config.Route, a *config.Agent) bool {
	if len(r.AgentTypes) > 0 && !slices.Contains(r.AgentTypes, a.Type) {
		return false
	}
	return !slices.ContainsFunc(r.Capabilities, func(want string) bool { return !slices.Contains(a.Capabilities, want) })
}

// wanted words what a route asks for.
func wanted(r config.Route) string {
	var parts []string
	if len(r.AgentTypes) > 0 {
		parts = append(parts, "type "+strings.Join(r.AgentTypes, " or "))
	}
	if len(r.Capabilities) > 0 {
		parts = append(parts, "with "+strings.Join(r.Capabilities, " and "))
	}
	return strings.Join(parts, ", ")
}

func (c *checker) tooManyAgents() {
	if n, most := c.root.agents(), c.f.Limits.MaxAgents; n >= most {
		c.warn("supervision_tree.limits.max_agents", fmt.Sprintf("set it well above %d", n),
			"the %d agents of the tree, which are always known, leave none of the %d places that the router has for agents: one from elsewhere, of which it knows only by its heartbeats, never gets a task", n, most)
	}
}
