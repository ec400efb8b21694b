package tree

import "slices"

// unverifiedBelow lists what is below a supervisor and neither down nor verified.
func (n *node) unverifiedBelow() []string {
	var out []string
	for _, c := range n.kids {
		switch {
		case c.spec.Agent != nil && c.moving(), c.spec.Supervisor != nil && (c.st.Phase == Starting || c.st.Phase == Stopping):
			out = append(out, c.spec.ID+" is "+string(c.st.Phase))
		}
		out = append(out, c.unverifiedBelow()...)
	}
	return out
}

// given is an order as it is answered: its node and its token.
type given struct{ node, token string }

// ordered fails when an order is answered though its effect does not hold, and when
// one that brings a node down is not carried out at once.
func (w *world) ordered(in *Input, effects []Effect) {
	this := given{in.Node, in.Token}
	first := in.Kind == Order && w.orders[this] == "" && !w.answered[in.Token]
	if first {
		w.orders[this] = in.Command
	}
	refused := false
	for i, e := range effects {
		if e.Kind != DoReply {
			continue
		}
		of := given{e.Node, e.Token}
		if e.Result == OK && w.orders[of].starts() && !w.answered[e.Token] {
			w.isUp(e.Node, effects[i+1:])
		}
		w.answered[e.Token] = true
		if of == this && e.Result != OK {
			refused = true
			if first && in.Command.ends() && (e.Result == Busy || e.Result == Superseded) {
				w.t.Fatalf("%s of %s is answered with %s", in.Command, in.Node, e.Result)
			}
		}
	}
	if n := w.tree.nodes[in.Node]; first && in.Command.ends() && n != nil && !refused && !n.goesDown() {
		w.t.Fatalf("%s of %s: it is %s, then %q", in.Command, in.Node, n.st.Phase, n.st.Then)
	}
}

// goesDown reports whether a node is down, or stops, and is not to be started by what
// its supervisor is in the middle of.
func (n *node) goesDown() bool {
	switch n.st.Phase {
	case Gone, Watched:
		return true
	case Idle:
		return n.terminated() || n.parent == nil || !n.parent.op().Starts(n.spec.Rank)
	case Stopping:
		return n.st.Then == ThenTerminate || n.st.Then == ThenRemove || n.st.Then == ThenClose
	}
	return false
}

// isUp fails when an order to start a node is done and the node is not up and
// verified, with all below it. What has finished, or is not enforced, has not to be.
// After is what was done after the answer, in the same step: it may have been brought
// down again, by itself or with a supervisor above it.
func (w *world) isUp(id string, after []Effect) {
	n := w.tree.nodes[id]
	if slices.ContainsFunc(after, func(e Effect) bool {
		switch e.Kind {
		case DoStop, DoStart:
			return above(w.tree.nodes[e.Node])[id]
		case NoteEscalate, NoteTerminate, NoteCoolOff, NoteGiveUp:
			return above(n)[e.Node]
		}
		return false
	}) {
		return
	}
	switch {
	case n == nil, n.st.Phase == Watched, n.st.End == EndCompleted, n.st.End == EndFinished, n.st.Phase == Gone:
	case n.st.Phase != Running || len(n.unverifiedBelow()) > 0:
		w.t.Fatalf("the start of %s is done, and it is %s; below it are %v", id, n.st.Phase, n.unverifiedBelow())
	}
}
