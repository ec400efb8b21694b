package diagnosis

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// placement explains why no runner takes an agent.
func (e *explainer) placement(spec *tree.Spec) contracts.Placement {
	a := spec.Agent
	p := contracts.Placement{Runner: a.Runner, Labels: a.Labels, Ending: e.tree.Lingers(spec.ID)}
	p.Gathering = e.tree.Gathering() && a.Runner == tree.AnyRunner
	missing := maps.Clone(a.Labels)
	for _, v := range e.runners {
		r := tree.Runner{Name: v.Runner, Capacity: v.Capacity, Named: v.Kind == "goroutine", Labels: v.Labels}
		maps.DeleteFunc(missing, func(k, want string) bool { have, ok := r.Labels[k]; return ok && have == want })
		switch e.tree.Misfit(r, a) {
		case tree.Full:
			put(&p.Full, r.Name, r.Capacity)
		case tree.LacksLabels, tree.NamedOnly:
			p.Unfit++
		case tree.Fits:
			switch {
			case v.Available: // it was not, when the agent was placed last
			case v.NoResources && e.now.Sub(v.Seen) <= contracts.RunnerTimeout:
				p.NoResources = append(p.NoResources, r.Name)
			case e.now.Sub(v.Seen) <= contracts.RunnerTimeout:
				p.NotReady = append(p.NotReady, r.Name)
				if c := v.Comparison; c != nil {
					put(&p.Comparing, r.Name, *c)
				}
			default:
				put(&p.Silent, r.Name, v.Seen)
			}
		}
	}
	if len(missing) > 0 {
		p.Missing = missing
	}
	return p
}

// misplaced adds that an agent runs where it would not be started now.
func (e *explainer) misplaced() {
	m, ok := e.tree.Misplaced(e.spec.ID)
	if !ok {
		return
	}
	if e.d.Reason != "" {
		e.d.Reason += "; "
	}
	e.d.Reason += "it runs on " + m.Runner + ", which lacks " + strings.Join(pairs(m.Lacks), " and ")
	if m.To == "" {
		e.d.Reason += "; no runner that is available would take it"
	} else {
		e.d.Reason += "; smith rebalance moves it to one that has it"
	}
}

func put[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

// unplaced says why there is no runner, the first reason that suffices first.
func unplaced(p contracts.Placement) string {
	labels := pairs(p.Labels)
	switch {
	case len(p.Ending) > 0:
		return "an older copy of it runs on runner " + strings.Join(p.Ending[:min(len(p.Ending), maxNames)], " and on ") + ", and is being ended first"
	case p.Gathering:
		why := "it may run already: not every runner that is there has been compared with the tree"
		for _, r := range names(p.Comparing) {
			why += "; runner " + r + " " + notReady(p, r)
		}
		return why
	case p.Runner != tree.AnyRunner && len(p.NoResources) > 0:
		return "it names runner " + p.Runner + ", which " + noResources
	case p.Runner != tree.AnyRunner && len(p.NotReady) > 0:
		return fmt.Sprintf("it names runner %s, which %s", p.Runner, notReady(p, p.Runner))
	case p.Runner != tree.AnyRunner && len(p.Silent) == 0:
		return fmt.Sprintf("it names runner %s, which was never heard", p.Runner)
	case p.Runner != tree.AnyRunner:
		return fmt.Sprintf("it names runner %s, which is silent%s", p.Runner, since(p.Silent[p.Runner]))
	case len(p.Missing) > 0:
		return "no runner has the label " + strings.Join(pairs(p.Missing), " nor ")
	}
	var why []string
	for _, r := range names(p.Silent) {
		why = append(why, "runner "+r+" is silent"+since(p.Silent[r]))
	}
	for _, r := range p.NoResources[:min(len(p.NoResources), maxNames)] {
		why = append(why, "runner "+r+" "+noResources)
	}
	for _, r := range p.NotReady[:min(len(p.NotReady), maxNames)] {
		why = append(why, "runner "+r+" "+notReady(p, r))
	}
	for _, r := range names(p.Full) {
		why = append(why, fmt.Sprintf("runner %s is full with %d agents", r, p.Full[r]))
	}
	with := ""
	if len(labels) > 0 {
		with = " with " + strings.Join(labels, " and ")
	}
	switch {
	case len(why) > 0:
		return "no runner" + with + " can take it: " + strings.Join(why, "; ")
	case p.Unfit > 0 && len(labels) > 0:
		return "no runner has all of " + strings.Join(labels, " and ")
	case p.Unfit > 0:
		return "every runner takes only agents that name it"
	}
	return "no runner was heard"
}

// noResources says why a runner declines starts; it is asked again before long.
const noResources = "takes no starts for a while: its host lacks descriptors, processes, memory or disk"

// notReady says what a runner that is heard does before it takes starts.
func notReady(p contracts.Placement, runner string) string {
	c, ok := p.Comparing[runner]
	switch {
	case !ok:
		return "is not ready yet"
	case c.Problem != "":
		return fmt.Sprintf("is not compared with the tree%s: %s", since(c.Since), c.Problem)
	}
	return fmt.Sprintf("is being compared with the tree%s, %d entries read", since(c.Since), c.Entries)
}

// maxNames bounds how many runners a sentence names.
const maxNames = 4

// names lists some runners in order.
func names[V any](m map[string]V) []string {
	all := slices.Sorted(maps.Keys(m))
	return all[:min(len(all), maxNames)]
}

func pairs(labels map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return out
}

// silent reports whether a runner is not heard, and when it last was.
func (e *explainer) silent(runner string) (time.Time, bool) {
	i := slices.IndexFunc(e.runners, func(v contracts.RunnerView) bool { return v.Runner == runner })
	if runner == "" || i >= 0 && (e.runners[i].Available || e.now.Sub(e.runners[i].Seen) <= contracts.RunnerTimeout) {
		return time.Time{}, false
	}
	if i < 0 {
		return time.Time{}, true
	}
	return e.runners[i].Seen, true
}

// since says since when something is so, in UTC.
func since(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " since " + at.UTC().Format("2006-01-02T15:04:05Z")
}
