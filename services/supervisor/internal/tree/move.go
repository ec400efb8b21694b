package tree

import (
	"cmp"
	"strings"
)

// move puts a node with all below it under another supervisor, last. What runs
// runs on; from now on it is the new supervisor's to restart. What was down only
// because its supervisor was comes up under one that runs.
func (t *Tree) move(n *node, in *Input) {
	to := t.nodes[in.To]
	if why, r := t.movable(n, to, in.To); r != OK {
		t.reply(in, r, why)
		return
	}
	from := n.parent
	if from == to {
		t.reply(in, OK, "")
		return
	}
	due := t.relocate(n, to)
	t.record(n, func(o *StandingOrders) {
		if n.spec.Origin != "" || n.spec.Dynamic {
			o.Place = t.standing(in)
		}
	})
	t.retell(n)
	if due && to.up() && n.st.Phase == Idle && !n.st.End.final() {
		t.bringUp(n, t.story)
	}
	if t.hasModes {
		t.applyModes(n)
	}
	comes := n.comesUp() || n.st.Phase == Stabilising || n.spec.Supervisor != nil && n.up() && n.moving()
	if !comes || to.suspended() || n.spec.Supervisor != nil && n.suspended() {
		t.reply(in, OK, "")
		return
	}
	// It is done when what comes up is verified there.
	n.st.Command = &Command{Kind: CmdMove, Token: in.Token, Story: t.story}
	t.touch(n)
}

// relocate puts a node under another supervisor, last among its children. It
// reports whether the node, if it is down, is to start there: it was about to
// start, or was down only because its supervisor was.
func (t *Tree) relocate(n, to *node) (due bool) {
	from := n.parent
	if due = !from.up() && n.st.Held == "" || n.awaitsTurn(); n.st.Phase.pending() {
		due = true
		t.setDown(n, Idle, "", "") // its supervisor no longer counts on it
	}
	from.removeChild(n)
	moves := n.moving()
	if moves {
		t.shiftUnsettled(from, false)
	}
	spec := *n.spec
	if !spec.Dynamic {
		spec.Origin = cmp.Or(spec.Origin, spec.Parent)
	}
	if spec.Parent = to.spec.ID; spec.Parent == spec.Origin {
		spec.Origin = ""
	}
	spec.Rank = rankGap
	if len(to.kids) > 0 {
		spec.Rank += to.kids[len(to.kids)-1].spec.Rank
	}
	n.spec, n.parent = &spec, to
	t.forgetPlace(n)
	to.insertChild(n)
	if moves {
		t.shiftUnsettled(to, true)
	}
	t.rolls = nil // which are in start order
	t.mark(n, dirtyState|dirtySpec)
	t.emit(Effect{Kind: NoteMove, Node: spec.ID, Incarnation: n.st.Incarnation, Reason: "from " + from.spec.ID + " to " + to.spec.ID})
	t.wake(n)
	return due
}

// leaves reports whether a configured specification puts a node under another
// supervisor than it is under. One that an operator moved stays there for as
// long as the configured place is the same.
func (n *node) leaves(s *Spec) bool {
	return n.parent != nil && n.spec.Parent != s.Parent && n.spec.Origin != s.Parent
}

// relocatable reports why a node cannot move to a configured supervisor, which
// may be a new one.
func (t *Tree) relocatable(n *node, name string, listed map[string]*Spec) (why string, r Result) {
	to := t.nodes[name]
	for up := listed[name]; to == nil && up != nil; up = listed[up.Parent] {
		to = t.nodes[up.ID] // the new ones come up with it
	}
	if why, r := t.restful(n, to); r != OK {
		return why, r
	}
	if n.holds() && !to.up() {
		return "supervisor " + to.spec.ID + " is down; restart it first", NoSupervisor
	}
	return "", OK
}

// movable tells why a node cannot move.
func (t *Tree) movable(n, to *node, name string) (why string, r Result) {
	switch {
	case n.parent == nil:
		return "the root cannot be moved", Invalid
	case to == nil || to.spec.Supervisor == nil:
		return "there is no supervisor " + name, NoSupervisor
	}
	for p := to; p != nil; p = p.parent {
		if p == n {
			return "supervisor " + name + " is part of it", Invalid
		}
	}
	if why := significance(n.spec, to.spec); why != "" {
		return why, Invalid
	}
	if why, r := t.restful(n, to); r != OK {
		return why + "; try again when that is done", r
	}
	if n.holds() && !to.up() {
		return "supervisor " + name + " is down", NoSupervisor
	}
	return "", OK
}

// holds reports whether there is something of a node that runs or is to start.
func (n *node) holds() bool {
	return n.st.Phase.live() || n.st.Phase.pending() || n.st.Phase.delayed() || n.st.Phase == Claiming || n.st.Phase == Foreign
}

// restful reports what a move must wait for: a node, or a supervisor that it
// leaves or comes to, is in the middle of something.
func (t *Tree) restful(n, to *node) (why string, r Result) {
	for _, p := range []*node{n.parent, to} {
		if !p.atRest() {
			return "supervisor " + p.spec.ID + " is " + strings.ToLower(string(p.st.Phase)) + " or in the middle of a restart", Busy
		}
	}
	if n.st.Command != nil || n.st.Phase == Ended || n.st.Phase == Starting || n.st.Phase == Verifying || n.st.Phase == Unverified || n.st.Phase == Stopping {
		return "it is " + string(n.st.Phase), Busy
	}
	return "", OK
}

// atRest reports whether a supervisor goes through nothing that concerns its
// children together. While it starts independent ones it does not.
func (n *node) atRest() bool {
	op := n.op()
	return op == nil && (n.st.Phase == Running || n.st.Phase.idle()) || op != nil && op.together()
}

// settleMoved has those that an order has moved away from a supervisor, which is removed
// now, belong to where they are.
func (t *Tree) settleMoved(from *node) {
	if from.spec.Supervisor == nil {
		return
	}
	for _, n := range t.nodes {
		if n.spec.Origin != from.spec.ID {
			continue
		}
		spec := *n.spec
		spec.Origin, spec.Dynamic = "", n.parent.spec.Dynamic
		n.spec = &spec
		t.mark(n, dirtyState|dirtySpec)
		if !spec.Dynamic { // else nothing tells that it did not begin there
			t.forgetPlace(n)
		}
	}
}
