package tree

import "cmp"

// Renewal says of an agent that its present incarnation does not run what its
// specification says, or that a rolling restart is for it.
type Renewal struct {
	// Build is what the incarnation was started from, where the specification
	// now has another; see [Agent.Build]. It is [EitherBuild] where the
	// specification changed while the start was under way: a successor may have
	// ordered it again, with the new one.
	Build string `json:"build,omitempty"`
	Part
}

// Part is an agent's part in a rolling restart. It is empty for an agent that has
// none.
type Part struct {
	// Turn is how far the rolling restart is with it.
	Turn Turn `json:"turn,omitempty"`
	// Roll is the incarnation that is, or was, to be replaced.
	Roll uint64 `json:"roll,omitempty"`
	// Attempts are those of the backoff that the next incarnation began with: more
	// tell that it has failed.
	Attempts int `json:"attempts,omitempty"`
	// Taken says that the rolling restart has taken it down before, for another order.
	Taken bool `json:"taken,omitempty"`
	// Reason, Event and Chain are those of the order that asked for it; the rolling
	// restart that carries it out may have taken on others.
	Reason string `json:"reason,omitempty"`
	Event  string `json:"event,omitempty"`
	Chain  string `json:"chain,omitempty"`
}

// Turn is how far a rolling restart is with an agent.
type Turn string

// Turns. An agent whose turn is over takes part until the rolling restart ends:
// should it fail, that stops, and while it is down, no other is stopped in excess of
// the bound.
const (
	TurnWaits Turn = "waits"
	TurnNow   Turn = "now"
	TurnOver  Turn = "over"
	// TurnTried: it did not run when its turn came, by itself or since its host ended,
	// and is the same program as before. It is started at once, and its failure stops
	// nothing: that says nothing of the others.
	TurnTried Turn = "tried"
	// TurnNew: a configuration has added it. It is only followed until it is up and
	// verified, or has failed: it bounds nothing, and stops nothing.
	TurnNew Turn = "new"
)

// EitherBuild stands for a build that is not known, and so is none that a
// specification has.
const EitherBuild = "either"

// Outdated reports whether an agent runs what its specification no longer says.
func (t *Tree) Outdated(id string) bool {
	n := t.nodes[id]
	return n != nil && n.outdated()
}

func (n *node) outdated() bool {
	return n.st.Renewal != nil && n.st.Renewal.Build != "" && n.ordered()
}

// part is an agent's part in the rolling restart.
func (n *node) part() Part {
	if n.st.Renewal == nil {
		return Part{}
	}
	return n.st.Renewal.Part
}

// ordered reports whether a process of the present incarnation may exist.
func (n *node) ordered() bool {
	return n.spec.Agent != nil && (n.st.Phase.live() || n.st.Claim.ours())
}

// compareBuilds notes whether an agent whose specification was replaced still
// runs what the former one said. Where either build is not known, as in trees
// that older versions stored, the two count as the same.
func (t *Tree) compareBuilds(n *node, former *Spec) {
	if n.spec.Agent == nil || former.Agent == nil || !n.ordered() {
		return
	}
	runs, says := former.Agent.Build, n.spec.Agent.Build
	if n.outdated() {
		runs = n.st.Renewal.Build
	}
	if n.st.Phase == Starting && runs != "" && runs != says {
		runs = EitherBuild
	}
	switch {
	case runs != "" && says != "" && runs != says:
		t.renew(n, func(r *Renewal) { r.Build = runs })
	case n.outdated():
		// It is as specified again: there is nothing to restart it for.
		switch {
		case n.part().Turn != TurnWaits:
		case n.st.Phase == Running:
			t.leaveRolling(n)
		default:
			// What is coming up is what is wanted.
			t.renew(n, func(r *Renewal) { r.Turn, r.Roll, r.Attempts = TurnNow, n.st.Incarnation-1, n.st.Attempts })
			t.rolls.note(n)
		}
		t.renew(n, func(r *Renewal) { r.Build = "" })
	}
}

// rebuilt reports whether an agent is another program than a former
// specification said.
func (n *node) rebuilt(former *Spec) bool {
	a, b := former.Agent, n.spec.Agent
	return a != nil && b != nil && a.Build != "" && b.Build != "" && a.Build != b.Build
}

// renew changes what is to be renewed of an agent.
func (t *Tree) renew(n *node, change func(*Renewal)) {
	var r Renewal
	if n.st.Renewal != nil {
		r = *n.st.Renewal
	}
	before := r
	if change(&r); r == before {
		return
	}
	if n.st.Renewal = nil; r != (Renewal{}) {
		n.st.Renewal = &r
	}
	t.touch(n)
}

// renewed takes note that an agent's next incarnation begins: it is started as
// specified, and if its turn has not come, that is it.
func (t *Tree) renewed(n *node) {
	if n.st.Renewal == nil {
		return
	}
	t.renew(n, func(r *Renewal) {
		switch {
		case r.Turn == TurnWaits:
			r.Turn, r.Attempts = r.whenDown(), n.st.Attempts
		case r.Roll == n.st.Incarnation && (r.Turn == TurnNow || r.Turn == TurnTried):
			r.Attempts = n.st.Attempts
		}
		r.Build = ""
	})
	t.rolls.note(n)
}

// whenDown is the turn of an agent that is down before its own.
func (r *Renewal) whenDown() Turn {
	if r.Build == "" && !r.Taken {
		return TurnTried
	}
	return TurnNow
}

// because returns why an agent is restarted by a rolling restart.
func (p Part) because(r *Rolling) (story Story, reason string) {
	if p.Event == "" { // an older program did not note it
		return Story{r.Event, r.Chain}, r.Reason
	}
	return Story{p.Event, p.Chain}, cmp.Or(p.Reason, r.Reason)
}
