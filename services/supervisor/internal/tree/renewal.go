package tree

// Renewal says of an agent that its present incarnation does not run what its
// specification says, or that a rolling restart is to replace it.
type Renewal struct {
	// Build is what the incarnation was started from, where the specification
	// now has another; see [Agent.Build]. It is [EitherBuild] where the
	// specification changed while the start was under way: a successor may have
	// ordered it again, with the new one.
	Build string `json:"build,omitempty"`
	// Roll is the incarnation that a rolling restart replaces when its turn
	// comes; 0 means none.
	Roll uint64 `json:"roll,omitempty"`
	// Reason, Event and Chain are those of the order that asked for this agent's
	// part; the rolling restart that carries it out may have taken on others.
	Reason string `json:"reason,omitempty"`
	Event  string `json:"event,omitempty"`
	Chain  string `json:"chain,omitempty"`
}

// mark lets a rolling restart replace an incarnation.
func (w *Renewal) mark(incarnation uint64, r *Rolling) {
	w.Roll, w.Reason, w.Event, w.Chain = incarnation, r.Reason, r.Event, r.Chain
}

// unmark leaves nothing to a rolling restart.
func (w *Renewal) unmark() { w.mark(0, &Rolling{}) }

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
		t.unmark(n)
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

// renewed forgets what was to be renewed of an agent whose next incarnation
// begins: it is started as specified.
func (t *Tree) renewed(n *node) {
	if n.st.Renewal == nil {
		return
	}
	t.unmark(n)
	n.st.Renewal = nil
	t.touch(n)
}
