package leader

import (
	"slices"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Batch is one decision: what was decided upon, what changed, and what follows.
type Batch struct {
	// ID names the message that it is stored in, Number counts the decisions
	// about the tree.
	ID     string
	Number uint64
	At     tree.Instant
	// Cursor is the place in the log of the last evidence that was applied.
	Cursor uint64
	// Steps are the inputs that led to anything, in order, and news of runners
	// that what follows depends on.
	Steps   []Step
	Effects []tree.Effect
	Changes []tree.Change
	// Orders are those of the effects that runners or the log must hear of, to
	// be prepared while the decision is being stored. [Leader.Due] releases
	// them.
	Orders []Order
	// Consumed are the queued inputs that it took, all of them.
	Consumed []Input
	// Oldest is when the first of its inputs happened, 0 if none says.
	Oldest tree.Instant

	claim   bool
	runners *Input
	revisit []string
	// seen are the runners that have been visited.
	seen []string
}

// MustStore reports whether the decision must be stored: it changes something,
// or it claims the tree.
func (b *Batch) MustStore() bool { return b.claim || len(b.Changes) > 0 }

// Claims reports whether it is the decision that takes the tree over.
func (b *Batch) Claims() bool { return b.claim }

// Ordered reports whether it changes anything that an operator has ordered or that
// is configured.
func (b *Batch) Ordered() bool {
	return len(b.Changes) > 0 && slices.ContainsFunc(b.Steps, func(s Step) bool { return s.Kind == tree.Order || s.Kind == tree.Configure })
}

// Step is an input, which must not be changed, and what it led to.
type Step struct {
	*Input
	from, to int
}

// EffectsOf returns the effects of a step.
func (b *Batch) EffectsOf(s Step) []tree.Effect { return b.Effects[s.from:s.to] }

// Order is a start, stop or report that was decided.
type Order struct {
	tree.Effect
	// Spec is the agent's, Decision the message in which it was decided.
	Spec     *tree.Spec
	Decision string
}

// Fence is an agent's incarnation up to which everything is settled: whatever
// is under way about it or an older one is given up, done or not.
type Fence struct {
	Agent       string
	Incarnation uint64
}

// Outcome is what follows from a stored decision, beside its orders.
type Outcome struct {
	// Effects are all conclusions and replies.
	Effects []tree.Effect
	Settled []Fence
	// Revisit names runners whose lists must be compared once more: they have copies
	// of agents that were removed meanwhile.
	Revisit []string
	// Listen and Deafen name agents whose heartbeats matter from now on, and
	// those whose do not. Listening must begin before [Leader.Due] is performed.
	Listen, Deafen []string
}

// orders picks the effects that runners or the log must hear of.
func (l *Leader) orders(effects []tree.Effect) []Order {
	var out []Order
	for _, e := range effects {
		switch e.Kind {
		case tree.DoStart, tree.DoStop, tree.DoReport:
			spec, st, ok := l.tree.Lookup(e.Node)
			if !ok || spec.Agent == nil || st.Phase.Apart() {
				continue // let go by what was decided together with it
			}
			out = append(out, Order{Effect: e, Spec: spec, Decision: st.Decision})
		}
	}
	return out
}

// settled lists what need not be done any longer: orders about agents that were
// let go, removed, lost with their host, or found in a newer incarnation.
func (l *Leader) settled(b *Batch) []Fence {
	var out []Fence
	for _, c := range b.Changes {
		switch {
		case c.Removed:
			out = append(out, Fence{c.ID, c.Tombstone})
		case c.State != nil && c.State.Phase == tree.Watched:
			out = append(out, Fence{c.ID, c.State.Incarnation})
		}
	}
	for _, s := range b.Consumed {
		if s.Kind == tree.Lost || s.Kind == tree.Found {
			out = append(out, Fence{s.Node, s.Incarnation})
		}
	}
	return out
}

// outstanding lists the orders whose results are awaited, but for those that are due
// already, and what is reported as lost: a predecessor may not have carried them out, or
// the log may have lost what came of them. They are about some runners; nil is all.
func (l *Leader) outstanding(runners []string) []Order {
	type key struct {
		kind        tree.EffectKind
		node        string
		incarnation uint64
	}
	known := map[key]bool{}
	for _, o := range l.due {
		known[key{o.Kind, o.Node, o.Incarnation}] = true
	}
	return l.orders(slices.DeleteFunc(l.tree.Outstanding(), func(e tree.Effect) bool {
		return known[key{e.Kind, e.Node, e.Incarnation}] || l.Lost(e.Node, e.Incarnation) || runners != nil && !slices.Contains(runners, e.Runner)
	}))
}
