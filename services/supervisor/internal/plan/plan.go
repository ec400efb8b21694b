// Package plan tells what a configuration would change of a tree. It decides
// upon it, with the tree's own code, on a copy: what a plan says is what the
// tree would do.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/diagnosis"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Of returns what a Configure input changes of the tree of a snapshot, which it
// may keep parts of. What the tree objects to is returned apart; nothing is
// planned then.
func Of(s tree.Snapshot, in tree.Input, now tree.Instant) (p contracts.ConfigPlan, objections []tree.Objection, err error) {
	t, err := tree.Load(tree.Options{}, s)
	if err != nil {
		return p, nil, fmt.Errorf("plan: %w", err)
	}
	if objections = t.Objections(in.Specs); len(objections) > 0 {
		return p, objections, nil
	}
	var before *tree.Configured
	if root := t.Root(); root != "" {
		before = t.Configured()
	}
	order, wanted := children(t), wanted(t)
	in.Revision = 0
	for _, e := range t.Step(&in, now, nil) {
		if e.Refuses() {
			return p, []tree.Objection{{Node: t.Root(), Why: e.Reason}}, nil
		}
	}
	c := comparison{tree: t, before: s.Nodes, order: order, wanted: wanted}
	if in.Configuration != nil {
		c.restarts = in.Configuration.MaxUnavailable > 0
	}
	all := c.changes()
	p.Same = c.same
	p.Plan = digest(all)
	shown := fit(all)
	p.Changes, p.Others = all[:shown], len(all)-shown
	p.Scaled = scaled(t)
	p.Elsewhere = elsewhere(before, in.Configuration)
	return p, nil, nil
}

// digest stands for what must still hold of a plan when it is applied, see
// [contracts.PlannedChange.Binding].
func digest(changes []contracts.PlannedChange) string {
	binding := []contracts.PlannedChange{}
	for _, c := range changes {
		if c, binds := c.Binding(); binds {
			binding = append(binding, c)
		}
	}
	// What is removed has its place by whether it runs.
	slices.SortFunc(binding, func(a, b contracts.PlannedChange) int { return cmp.Compare(a.Node, b.Node) })
	raw, err := json.Marshal(binding)
	if err != nil {
		return "" // of strings and numbers there is always JSON
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// elsewhere lists the sections that differ from those of the configuration in
// force.
func elsewhere(before *tree.Configured, after *tree.Configuration) []string {
	if before == nil || after == nil || before.Sections == nil {
		return nil
	}
	var out []string
	for name := range after.Sections {
		if before.Sections[name] != after.Sections[name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// scaled lists the templates whose count by order stays.
func scaled(t *tree.Tree) (out []contracts.ScaledTemplate) {
	for _, id := range slices.Sorted(slices.Values(t.Names())) {
		if _, st, _ := t.Lookup(id); st.Supervisor != nil && !st.Discarded() {
			out = append(out, diagnosis.Scaled(&st)...)
		}
	}
	return out[:min(len(out), contracts.MaxPlannedChanges)]
}

func children(t *tree.Tree) map[string][]string {
	out := map[string][]string{}
	for _, id := range t.Names() {
		if kids := t.Children(id); len(kids) > 0 {
			out[id] = kids
		}
	}
	return out
}

// wanted holds the agents that run, or will without anybody's order.
func wanted(t *tree.Tree) map[string]bool {
	out := map[string]bool{}
	for _, id := range t.Names() {
		if t.Wanted(id) {
			out[id] = true
		}
	}
	return out
}

// comparison is a tree before and after.
type comparison struct {
	tree   *tree.Tree
	before map[string]*tree.Record
	// order are the children that supervisors had.
	order map[string][]string
	// wanted are the agents that ran, or were going to, and restarts is set where
	// those that are another program now are restarted.
	wanted   map[string]bool
	restarts bool
	same     int
}

// changes lists what differs: what is there in the tree's order, then what goes.
func (c *comparison) changes() []contracts.PlannedChange {
	out := []contracts.PlannedChange{}
	var walk func(id string, gone bool)
	walk = func(id string, gone bool) {
		_, st, _ := c.tree.Lookup(id)
		gone = gone || st.Discarded()
		if change, ok := c.of(id, gone); ok {
			out = append(out, change)
		}
		for _, child := range c.tree.Children(id) {
			walk(child, gone)
		}
	}
	walk(c.tree.Root(), false)
	for _, id := range slices.Sorted(maps.Keys(c.before)) {
		if !c.tree.Has(id) {
			out = append(out, c.removed(id))
		}
	}
	c.alone(out)
	return out
}

func (c *comparison) removed(id string) contracts.PlannedChange {
	r := c.before[id]
	p := contracts.PlannedChange{Node: id, Kind: kind(r.Spec), Change: contracts.PlanRemoved, Then: contracts.NothingRuns, Interrupts: c.wanted[id]}
	if !r.State.Phase.Down() && !r.State.Phase.Apart() {
		p.Then = contracts.WillStop
	}
	return p
}

// of compares a node that there is after the change, and that is about to go with
// all below it if gone is set.
func (c *comparison) of(id string, gone bool) (p contracts.PlannedChange, differs bool) {
	spec, st, _ := c.tree.Lookup(id)
	was := c.before[id]
	switch {
	case was == nil:
		return c.added(spec, st), true
	case gone && c.going(id):
		return p, false // as decided before
	case gone:
		return c.removed(id), true
	case c.going(id):
		return c.added(spec, st), true // it is to stay after all
	}
	p = contracts.PlannedChange{Node: id, Kind: kind(spec), Change: contracts.PlanChanged, Fields: fields(was.Spec, spec)}
	if reordered(c.order[id], c.staying(id)) {
		p.Fields = append(p.Fields, contracts.FieldDiff{Field: "order of children"})
	}
	rolls := rolling(&st)
	outdated := c.tree.Outdated(id)
	switch {
	case was.Spec.Parent != spec.Parent:
		p.Change, p.From, p.To = contracts.PlanMoved, was.Spec.Parent, spec.Parent
	case len(p.Fields) > 0:
	case rolls && !rolling(was.State):
		p.Change = contracts.PlanOutdated
	case c.due(was) && !st.Phase.Down():
		p.Change = contracts.PlanDue
	default:
		c.same++
		return p, false
	}
	p.Then = c.then(id, was, &st, p, rolls, outdated)
	p.Interrupts = c.restarts && c.wanted[id] && rebuilt(was, spec)
	return p, true
}

// going reports whether a node was about to go before the change.
func (c *comparison) going(id string) bool {
	for r := c.before[id]; r != nil; r = c.before[r.Spec.Parent] {
		if r.State.Discarded() {
			return true
		}
	}
	return false
}

// staying are the children of a node that are not about to go.
func (c *comparison) staying(id string) []string {
	return slices.DeleteFunc(c.tree.Children(id), func(child string) bool {
		_, st, _ := c.tree.Lookup(child)
		return st.Discarded()
	})
}

// rolling reports whether the rolling restart has yet to replace an agent.
func rolling(st *tree.State) bool {
	return st.Renewal != nil && (st.Renewal.Turn == tree.TurnWaits || st.Renewal.Turn == tree.TurnNow)
}

func (c *comparison) then(id string, was *tree.Record, st *tree.State, p contracts.PlannedChange, rolls, outdated bool) contracts.Consequence {
	waited := was.State.Phase == tree.Throttled || was.State.Phase == tree.Unplaced
	switch {
	case was.State.Phase.Down() && !st.Phase.Down() && !st.Phase.Apart(), waited && st.Phase == tree.Starting,
		was.State.End != "" && st.End == "" && c.tree.Starts(id): // in its turn
		return contracts.WillStart
	case leftDown(was.State.Phase, st.Phase):
		return contracts.StaysDown
	case waited, rolls && was.State.Phase.Down():
		return contracts.AtNextStart
	case rolls:
		return contracts.WillRestart
	case outdated:
		return contracts.StaysOutdated
	case was.State.Renewal != nil && was.State.Renewal.Build != "":
		return contracts.RunsAlready
	case p.Kind == "supervisor":
		return contracts.AtOnce
	case was.State.Phase.Down() && c.down(c.parent(id)):
		return contracts.WithItsSupervisor
	case was.State.Phase.Down(), slices.ContainsFunc(p.Fields, func(f contracts.FieldDiff) bool { return !current[f.Field] }):
		return contracts.AtNextStart
	}
	return contracts.AtOnce
}

// rebuilt reports whether a specification is of another program than an agent runs, or
// will when it starts the next time. A build that is not known is not another.
func rebuilt(was *tree.Record, spec *tree.Spec) bool {
	if was.Spec.Agent == nil || spec.Agent == nil {
		return false
	}
	runs := was.Spec.Agent.Build
	if r := was.State.Renewal; r != nil && r.Build != "" {
		runs = r.Build
	}
	return runs != "" && spec.Agent.Build != "" && runs != spec.Agent.Build
}

// due reports whether a node was down for a reason of its own: its start is then a
// change, and not only part of that of its supervisor.
func (c *comparison) due(was *tree.Record) bool {
	switch was.State.Phase {
	case tree.Waiting, tree.Isolated:
		return true
	case tree.Idle, tree.Gone:
		p := c.before[was.Spec.Parent]
		return p != nil && !p.State.Phase.Down()
	}
	return false
}

// leftDown reports whether a node that was to be started again is not.
func leftDown(was, is tree.Phase) bool {
	waited := was == tree.Waiting || was == tree.Isolated
	return is == tree.Gone && (waited || was == tree.Idle) || is == tree.Idle && waited
}

// parent names a node's supervisor, and down reports whether a node is down.
func (c *comparison) parent(id string) string {
	spec, _, _ := c.tree.Lookup(id)
	return spec.Parent
}

func (c *comparison) down(id string) bool {
	_, st, ok := c.tree.Lookup(id)
	return ok && st.Phase.Down()
}

func (c *comparison) added(spec *tree.Spec, st tree.State) contracts.PlannedChange {
	p := contracts.PlannedChange{Node: spec.ID, Kind: kind(spec), Change: contracts.PlanAdded, To: spec.Parent, Then: contracts.WithItsSupervisor}
	if !st.Phase.Down() || c.tree.Starts(spec.ID) {
		p.Then = contracts.WillStart
	}
	after := c.tree.AwaitsEnd(spec.ID)
	p.After = after[:min(len(after), contracts.MaxAfter)]
	return p
}

// reordered reports whether the children that are in both lists changed places.
func reordered(before, after []string) bool {
	both := func(a, b []string) []string {
		in := make(map[string]bool, len(b))
		for _, s := range b {
			in[s] = true
		}
		return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !in[s] })
	}
	return len(before) > 1 && !slices.Equal(both(before, after), both(after, before))
}

func kind(s *tree.Spec) string {
	if s.Supervisor != nil {
		return "supervisor"
	}
	return "agent"
}
