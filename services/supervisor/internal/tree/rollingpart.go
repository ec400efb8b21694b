package tree

// parts is what is known of the agents that a rolling restart is for, so that no
// step looks at all of them.
type parts struct {
	// waiting are those whose turn is still to come, in start order, and some whose
	// turn was meanwhile.
	waiting []*node
	// down are those that are not up, without the new ones, which are added.
	down, added map[*node]struct{}
	// changed are those whose phase or turn has changed since the rolling restart
	// was last taken further, and those that an operation is to start: it may end
	// without that.
	changed []*node
	// listed are those in changed.
	listed map[*node]struct{}
}

// parts lists the agents that the rolling restart is for, unless they are known.
func (t *Tree) parts() *parts {
	if t.rolls != nil {
		return t.rolls
	}
	t.rolls = &parts{down: map[*node]struct{}{}, added: map[*node]struct{}{}, listed: map[*node]struct{}{}}
	for _, n := range t.root.agents(nil) {
		if n.part().Turn == TurnWaits {
			t.rolls.waiting = append(t.rolls.waiting, n)
		}
		t.rolls.note(n)
	}
	return t.rolls
}

// note takes a change of an agent's phase or turn into account. There is nothing to
// note while the agents are not listed.
func (p *parts) note(n *node) {
	if p == nil {
		return
	}
	turn := n.part().Turn
	delete(p.down, n)
	delete(p.added, n)
	switch {
	case turn == "" || n.removed:
		return
	case turn == TurnNew:
		p.added[n] = struct{}{}
	case n.st.Phase != Running:
		p.down[n] = struct{}{}
	}
	p.list(n)
}

// list has an agent looked at.
func (p *parts) list(n *node) {
	if _, listed := p.listed[n]; !listed {
		p.listed[n] = struct{}{}
		p.changed = append(p.changed, n)
	}
}

// next returns the next agent to look at, or nil.
func (p *parts) next() *node {
	if len(p.changed) == 0 {
		return nil
	}
	n := p.changed[0]
	p.changed = p.changed[1:]
	delete(p.listed, n)
	return n
}

// replacement is how far the replacement of an agent is.
type replacement uint8

const (
	underWay replacement = iota
	replaced
	notReplaced
	// dismissed: it is no longer to run, or not from here.
	dismissed
)

// replacement reports what became of an agent that has a part in the rolling
// restart: it is replaced when it runs and is verified, and not when the new
// incarnation failed, unless that was its host's end.
func (t *Tree) replacement(n *node, part Part) (_ replacement, why string) {
	newer, phase := n.st.Incarnation > part.Roll, n.st.Phase
	switch {
	case phase == Watched, phase == Foreign:
		return dismissed, ""
	case newer && n.st.Attempts > part.Attempts:
		return notReplaced, n.lastFailure()
	case phase == Running && newer:
		return replaced, ""
	case newer && phase == Stopping && (n.st.Then == ThenFail || n.st.Then == ThenStartFailed):
		return notReplaced, n.lastFailure()
	case phase.live(), phase.pending(), phase == Claiming, phase == Idle && t.willStart(n.parent, n), !newer && t.comes(n):
		return underWay, ""
	case n.st.End == EndLost && (phase == Ended || phase.delayed()):
		return underWay, ""
	case n.st.End != EndLost && newer && n.failedLast():
		return notReplaced, n.lastFailure()
	}
	return dismissed, ""
}

// failedLast reports whether the present incarnation is known to have failed.
func (n *node) failedLast() bool {
	f := n.past.lastFailure()
	return f != nil && f.Incarnation == n.st.Incarnation
}

func (n *node) lastFailure() string {
	if f := n.past.lastFailure(); f != nil {
		return f.Reason
	}
	return n.st.Why
}
