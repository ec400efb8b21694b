// Package lint finds what a valid configuration says that will not work out as
// its author may think: limits that are never reached, supervisors that vanish,
// times that do not fit together, settings without effect.
//
// It promises that each finding is a fact about what the services would do, with
// the figures computed from the file; where that needs an assumption, such as an
// agent that crashes whenever it has come up, the finding says so. It never
// refuses a file: what cannot be at all is refused by package config.
package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// Rule names a kind of finding.
type Rule string

// Finding is one thing to think again about.
type Finding struct {
	Rule Rule
	// File, Line and Column say where; Line 0 is the file as a whole.
	File         string
	Line, Column int
	// Setting is what it is about, such as "supervision_tree.tree[0].policy".
	Setting string
	// Message is what will happen, Advice what to change.
	Message, Advice string
}

// String returns one line: file:line:column: warning: setting: message; advice.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	fmt.Fprintf(&b, ": warning: %s: %s; %s [%s]", f.Setting, f.Message, f.Advice, f.Rule)
	return b.String()
}

// rules are all that is looked for.
var rules = []struct {
	name  Rule
	check func(*checker)
}{
	{LimitOutOfReach, (*checker).limitOutOfReach},
	{HungStart, (*checker).hungStart},
	{LimitsMultiply, (*checker).limitsMultiply},
	{SharedLimit, (*checker).sharedLimit},
	{EndlessRestarts, (*checker).endlessRestarts},
	{Bystanders, (*checker).bystanders},
	{VanishingSupervisor, (*checker).vanishingSupervisor},
	{LoopingShutdown, (*checker).loopingShutdown},
	{ShortShutdown, (*checker).shortShutdown},
	{SlowGroup, (*checker).slowGroup},
	{BudgetBelowGroup, (*checker).budgetBelowGroup},
	{HastyVerdict, (*checker).hastyVerdict},
	{LateLoss, (*checker).lateLoss},
	{EmptyShare, (*checker).emptyShare},
	{SplitGroup, (*checker).splitGroup},
	{NoEffect, (*checker).noEffect},
	{OddName, (*checker).oddName},
	{NoTaker, (*checker).noTaker},
	{TooManyAgents, (*checker).tooManyAgents},
	{ShortRetention, (*checker).shortRetention},
	{ShellSyntax, (*checker).shellSyntax},
	{EmptyFile, (*checker).emptyFile},
}

// Rules lists every rule.
func Rules() []Rule {
	out := make([]Rule, len(rules))
	for i, r := range rules {
		out[i] = r.name
	}
	return out
}

// Check returns every finding in a configuration, in the order of the file.
func Check(f *config.File) []Finding {
	c := newChecker(f)
	for _, r := range rules {
		c.rule = r.name
		r.check(c)
	}
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Setting, b.Setting), cmp.Compare(a.Rule, b.Rule))
	})
	return c.found
}

// checker is one check of a file.
type checker struct {
	f    *config.File
	root *sup
	sups []*sup // parents first
	sums map[row]span
	// fails is the least time from a supervisor's start to its failure.
	fails map[*sup]time.Duration
	rule  Rule
	found []Finding
}

// sup is a supervisor with what is around it.
type sup struct {
	*config.Node
	parent *sup
	kids   []kid
	below  int // agents
}

// kid is a child: a supervisor, or as many agents as are alike.
type kid struct {
	sup   *sup
	agent *config.Agent
	count int
}

func newChecker(f *config.File) *checker {
	c := &checker{f: f, sums: map[row]span{}, fails: map[*sup]time.Duration{}}
	c.root = c.supervisor(&f.Tree.Root, nil)
	return c
}

func (c *checker) supervisor(n *config.Node, parent *sup) *sup {
	s := &sup{Node: n, parent: parent}
	c.sups = append(c.sups, s)
	for _, child := range n.Children {
		if child.Node != nil {
			k := kid{sup: c.supervisor(child.Node, s), count: 1}
			s.kids = append(s.kids, k)
			s.below += k.sup.below
			continue
		}
		s.below++
		if last := len(s.kids) - 1; child.Agent.Index > 1 && last >= 0 && s.kids[last].agent != nil && s.kids[last].agent.Template == child.Agent.Template {
			s.kids[last].count++
			continue
		}
		s.kids = append(s.kids, kid{agent: child.Agent, count: 1})
	}
	return s
}

// warn adds a finding about a setting.
func (c *checker) warn(setting, advice, format string, args ...any) {
	at := c.f.Place(setting)
	c.found = append(c.found, Finding{
		Rule: c.rule, File: c.f.Path, Line: int(at.Line), Column: int(at.Column), Setting: setting,
		Message: fmt.Sprintf(format, args...), Advice: advice,
	})
}

// key is the setting of a supervisor: the root's have names of their own.
func (s *sup) key(key string) string {
	if s.parent != nil {
		return s.Setting + "." + key
	}
	switch key {
	case "policy":
		key = "root_restart_policy"
	case "escalation":
		key = "root_policy"
	case "children":
		key = "tree"
	default:
		key = "root_" + key
	}
	return s.Setting + "." + key
}

// limit is the setting that gives a supervisor its limit, or the supervisor.
func (c *checker) limit(s *sup) string {
	if key := s.key("policy"); c.f.Gives(key) || s.parent == nil {
		return key
	}
	return s.Setting
}

// agents are all that are below a supervisor.
func (s *sup) agents() int { return s.below }

func (k kid) agents() int {
	if k.sup != nil {
		return k.sup.agents()
	}
	return k.count
}

// group reports whether a supervisor starts its children one after the other.
func (s *sup) group() bool {
	return s.Strategy.Group()
}

// isolates reports whether a supervisor counts its limit for each child, and sets
// apart the one that exceeds it.
func (s *sup) isolates() bool { return s.Escalation == config.EscalationIsolate }

func (k kid) name() string {
	if k.sup != nil {
		return k.sup.Name
	}
	return k.agent.Name
}

func (k kid) restart() config.Restart {
	if k.sup != nil {
		return k.sup.Restart
	}
	return k.agent.Restart
}

func (k kid) policy() config.RestartPolicy {
	if k.sup != nil {
		return k.sup.Policy
	}
	return k.agent.Policy
}
