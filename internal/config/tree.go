package config

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// readTree reads the tree and what concerns its root.
func readTree(top *object, f *File) {
	t := &treeReader{f: f, names: map[string]Position{}, templates: map[string]bool{}}
	root := &f.Tree.Root
	top.id("name", &f.Tree.Name)
	enum(top, "root_strategy", strategies, &root.Strategy)
	if p, name, ok := top.policy("root_restart_policy", f, true); ok {
		root.Policy, root.PolicyName, root.policyGiven = p, name, true
	} else {
		root.Policy, root.PolicyName = f.PolicyFor(RootName, true, nil)
	}
	readRootPolicy(top, f)
	root.Mode = top.mode("root_mode")
	readCoolOff(top, "root_", "root_policy", root)
	if root.Strategy.Escalates() {
		top.at("root_strategy").fail("the root has no parent to escalate to; use one_for_one, one_for_all or rest_for_one")
	}
	if v, ok := top.get("tree"); ok {
		root.Children, f.tree = t.children(v, root), !v.isNull()
	}
	t.checkRunners()
}

// readRootPolicy reads what happens when the root exceeds its limit, and
// helps those who put a restart policy there.
func readRootPolicy(top *object, f *File) {
	const key = "root_policy"
	v := top.at(key)
	if _, isPolicy := f.RestartPolicies[v.node.Value]; top.has(key) && isPolicy {
		top.known = append(top.known, key)
		v.fail("%q is a restart policy: name it with root_restart_policy; root_policy says what happens when the root exceeds its limit: %s", v.node.Value, orWords(rootPolicies))
		return
	}
	readEscalation(top, key, "root_strategy", rootPolicies, EscalationTerminate, &f.Tree.Root)
}

// readEscalation reads what happens when a supervisor exceeds its limit. By
// default one_for_one isolates, and a group, none of whose children can be set
// apart, does as a whole what is given.
func readEscalation(o *object, key, strategy string, known []Escalation, group Escalation, n *Node) {
	if n.Escalation = EscalationIsolate; !n.Strategy.Single() {
		n.Escalation = group
	}
	enum(o, key, known, &n.Escalation)
	if n.Escalation == EscalationIsolate && !n.Strategy.Single() {
		o.at(key).fail("isolate sets a single child apart, which %s: %s cannot do; use %s, or %s: one_for_one",
			strategy, n.Strategy, orWords(known[1:]), strategy)
		n.Escalation = group
	}
}

// readCoolOff reads how long what exceeded a limit is left down.
func readCoolOff(o *object, prefix, escalation string, n *Node) {
	key, most := prefix+"cool_off", prefix+"max_cool_off"
	isolates := n.Escalation == EscalationIsolate
	if n.CoolOff = DefaultCoolOff; isolates {
		n.CoolOff = DefaultIsolation
	}
	o.duration(key, &n.CoolOff, time.Millisecond, longest)
	if o.has(key) && !isolates && n.Escalation != EscalationRestart {
		o.at(key).fail("a cool-off is kept only with %s: isolate or restart, and here it is %s; remove one or change the other", escalation, n.Escalation)
	}
	if n.MaxCoolOff = 0; isolates {
		n.MaxCoolOff = max(DefaultMaxIsolation, n.CoolOff)
	}
	o.duration(most, &n.MaxCoolOff, time.Millisecond, longest)
	switch {
	case !o.has(most):
	case !isolates:
		o.at(most).fail("cool-offs grow only with %s: isolate, and here it is %s; remove one or change the other", escalation, n.Escalation)
	case n.MaxCoolOff < n.CoolOff:
		o.at(most).fail("%s %v is below %s %v; raise it or lower the other", most, n.MaxCoolOff, key, n.CoolOff)
	}
}

// treeReader reads children and keeps what must be unique among them.
type treeReader struct {
	f         *File
	names     map[string]Position
	templates map[string]bool // names of agents with a count
	runners   []runnerRef
	agents    int
}

type runnerRef struct {
	name string
	v    value
}

func (t *treeReader) children(v value, parent *Node) []Child {
	var out []Child
	for _, e := range v.list("agents and supervisors") {
		o := e.object()
		if isNode(o) {
			if n := t.node(o, parent); n != nil {
				out = append(out, Child{Node: n})
			}
			continue
		}
		for _, a := range t.agent(o, parent) {
			out = append(out, Child{Agent: a})
		}
	}
	return out
}

var nodeKeys = []string{"children", "strategy", "auto_shutdown", "escalation", "cool_off", "max_cool_off"}

// isNode tells supervisors from agents: what has a command is an agent, what
// has a supervisor's keys is a supervisor.
func isNode(o *object) bool {
	if o.has("command") {
		return false
	}
	for _, k := range nodeKeys {
		if o.has(k) {
			return true
		}
	}
	return false
}

// name reads a child's name and reports one that is taken. A child without a
// good name is read on, for its other problems.
func (t *treeReader) name(o *object) string {
	var name string
	if !o.has("name") {
		o.fail("a name is missing; every agent and supervisor has one")
	}
	o.id("name", &name)
	if name == RootName {
		o.at("name").fail("%q is the name of the top supervisor; choose another", name)
	}
	return name
}

// claim takes a name for the child at v.
func (t *treeReader) claim(name string, v value) {
	if name == "" {
		return
	}
	if at, taken := t.names[name]; taken {
		v.fail("the name %q is taken by line %d; names are unique in the tree", name, at.Line)
		return
	}
	t.names[name] = position(v)
}

func position(v value) Position {
	return Position{Line: int32(v.node.Line), Column: int32(v.node.Column)}
}

func (t *treeReader) node(o *object, parent *Node) *Node {
	n := &Node{
		Name:         t.name(o),
		Strategy:     OneForOne,
		Restart:      Permanent,
		AutoShutdown: AutoShutdownNever,
		Pos:          position(o.value),
		Setting:      o.path,
	}
	t.claim(n.Name, o.at("name"))
	enum(o, "strategy", strategies, &n.Strategy)
	enum(o, "auto_shutdown", autoShutdowns, &n.AutoShutdown)
	readEscalation(o, "escalation", "strategy", escalations, EscalationEscalate, n)
	readCoolOff(o, "", "escalation", n)
	readRestart(o, &n.Restart, &n.Significant, parent)
	n.Mode = o.mode("mode")
	explicit := false
	if n.Policy, n.PolicyName, explicit = o.policy("policy", t.f, true); !explicit {
		n.Policy, n.PolicyName = t.f.PolicyFor("supervisor", true, nil)
	}
	n.policyGiven = explicit
	readNodeTimeout(o, n)
	if v, ok := o.get("children"); ok {
		n.Children = t.children(v, n)
	}
	t.checkNode(o, n)
	o.done(func(key string) string {
		if contains(agentKeys, key) {
			return fmt.Sprintf("it belongs to agents, and this is a supervisor because it has %s", firstOf(o, nodeKeys))
		}
		return ""
	})
	return n
}

// readNodeTimeout reads a supervisor's shutdown timeout, where infinity is no
// bound and the default.
func readNodeTimeout(o *object, n *Node) {
	v, ok := o.scalar("shutdown_timeout", `a duration such as "30s" or infinity`)
	if ok && fold(v.node.Value) != "infinity" {
		v.duration(&n.ShutdownTimeout, time.Millisecond, longest)
	}
}

// readRestart reads what a child's end means to its parent.
func readRestart(o *object, r *Restart, significant *bool, parent *Node) {
	enum(o, "restart", restarts, r)
	o.boolean("significant", significant)
	switch {
	case !*significant:
	case *r == Permanent:
		o.at("significant").fail("a permanent child always restarts, so its end cannot end its supervisor; set restart to transient or temporary, or significant to false")
	case parent.AutoShutdown == AutoShutdownNever && parent.Name == RootName:
		o.at("significant").fail("the root never shuts down by itself; put the child under a supervisor with auto_shutdown any_significant or all_significant")
	case parent.AutoShutdown == AutoShutdownNever:
		o.at("significant").fail("supervisor %q has auto_shutdown never; set that to any_significant or all_significant, or significant to false", parent.Name)
	}
}

// checkNode reports what does not fit between a supervisor and its children.
func (t *treeReader) checkNode(o *object, n *Node) {
	if n.AutoShutdown != AutoShutdownNever && len(n.Children) > 0 && !anySignificant(n) {
		o.at("auto_shutdown").fail("no child is significant, so it can never act; mark a child significant: true or remove auto_shutdown")
	}
	for _, c := range n.Children {
		if a := c.Agent; a != nil && n.ShutdownTimeout > 0 && a.ShutdownTimeout > n.ShutdownTimeout {
			o.at("shutdown_timeout").fail("%v is shorter than the %v that agent %q may take to stop; raise it or write infinity", n.ShutdownTimeout, a.ShutdownTimeout, a.Name)
			break
		}
	}
}

func anySignificant(n *Node) bool {
	for _, c := range n.Children {
		if c.Agent != nil && c.Agent.Significant || c.Node != nil && c.Node.Significant {
			return true
		}
	}
	return false
}

// checkRunners reports runners named like an agent or supervisor: they share
// one space of ids, since a runner beats too.
func (t *treeReader) checkRunners() {
	for _, r := range t.runners {
		if at, taken := t.names[r.name]; taken {
			r.v.fail("%q is the name of line %d, and runners share their names' space; rename one", r.name, at.Line)
		}
	}
}

func firstOf(o *object, keys []string) string {
	for _, k := range keys {
		if o.has(k) {
			return k
		}
	}
	return ""
}

// expand makes the agents of a template: one, or count of them numbered from 1.
func (t *treeReader) expand(o *object, a *Template, count int) []*Agent {
	if t.agents += max(1, count); t.agents > maxAgents {
		if t.agents-max(1, count) <= maxAgents {
			o.at("count").fail("the tree has more than %d agents; split it", maxAgents)
		}
		return nil
	}
	t.claim(a.Name, o.at("name"))
	if !o.has("count") {
		return []*Agent{{Name: a.Name, Template: a}}
	}
	if last := fmt.Sprintf("%s-%d", a.Name, count); a.Name != "" && len(last) > contracts.MaxIDLength {
		o.at("name").fail("with a count the last agent is %q of %d bytes; at most %d are allowed", clip(last), len(last), contracts.MaxIDLength)
		return nil
	}
	out := make([]*Agent, count)
	for i := range out {
		c := &Agent{Index: i + 1, Template: a}
		if a.Name != "" {
			c.Name = fmt.Sprintf("%s-%d", a.Name, c.Index)
		}
		t.claim(c.Name, o.at("name"))
		out[i] = c
	}
	return out
}
