package tree

import "maps"

// terminations are the nodes that operators have terminated and not started since,
// by what was ordered and answered alone.
type terminations struct {
	ended map[string]bool
	// given are the orders to terminate that have no answer yet.
	given map[given]bool
}

// begin notes an order that is about to be given.
func (o *terminations) begin(t *Tree, in *Input) {
	if o.ended == nil {
		o.ended, o.given = map[string]bool{}, map[given]bool{}
	}
	if in.Kind != Order || t.nodes[in.Node] == nil || t.Asked(in.Token, in.Node) {
		return
	}
	switch in.Command {
	case CmdTerminate:
		if in.Token != "" {
			o.given[given{in.Node, in.Token}] = true
		}
	case CmdStart, CmdRestart:
		o.lift(t.nodes[in.Node])
	}
}

// lift forgets what was ordered of a node and everything below it.
func (o *terminations) lift(n *node) {
	delete(o.ended, n.spec.ID)
	for _, c := range n.kids {
		o.lift(c)
	}
}

// told notes an answer, or that a node is removed.
func (o *terminations) told(e Effect) {
	switch e.Kind {
	case DoReply:
		was := given{e.Node, e.Token}
		if o.given[was] && e.Result == OK {
			o.ended[e.Node] = true
		}
		delete(o.given, was)
	case NoteRemove:
		delete(o.ended, e.Node)
	}
}

// wrong reports a node that was terminated by order, and comes up without one.
func (o *terminations) wrong(t *Tree) string {
	for _, n := range t.nodes {
		if c := n.st.Command; c != nil && (c.Kind == CmdStart || c.Kind == CmdRestart) {
			o.lift(n)
		}
	}
	for id := range maps.Keys(o.ended) {
		switch n := t.nodes[id]; {
		case n == nil:
			delete(o.ended, id)
		case n.st.Phase == Idle, n.st.Phase == Stopping: // a process that was found is stopped
		default:
			return "an operator terminated " + id + ", and it is " + string(n.st.Phase)
		}
	}
	return ""
}
