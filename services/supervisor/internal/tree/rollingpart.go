package tree

import "slices"

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
	// dismissed: it is no longer to run, or not from here. Nothing failed.
	dismissed
	// takenDown: its supervisor failed, and stays down.
	takenDown
)

// replacement reports what became of an agent that has a part in the rolling
// restart: it is replaced when it runs and is verified, and not when the new
// incarnation failed, unless that was its host's end. An agent that is dismissed without
// a reason has done its work.
func (t *Tree) replacement(n *node, part Part) (_ replacement, why string) {
	newer, phase := n.st.Incarnation > part.Roll, n.st.Phase
	switch {
	case t.unmanaged(n):
		return dismissed, "is no longer enforced"
	case newer && n.st.Attempts > part.Attempts:
		return notReplaced, n.lastEnd().Reason
	case phase == Running && newer:
		return replaced, ""
	case newer && phase == Stopping && (n.st.Then == ThenFail || n.st.Then == ThenStartFailed):
		return notReplaced, n.lastEnd().Reason
	case phase.live(), phase.pending(), phase == Claiming, phase == Idle && t.willStart(n.parent, n), !newer && t.comes(n):
		return underWay, ""
	case n.st.End == EndLost && (phase == Ended || phase.delayed()):
		return underWay, ""
	case n.st.End != EndLost && newer && n.failedLast():
		return notReplaced, n.lastEnd().Reason
	}
	if verdict, why := n.departure(); verdict != dismissed || why == "" || !t.comes(n) {
		return verdict, why
	}
	return underWay, ""
}

// departure reports why an agent that is down stays so.
func (n *node) departure() (_ replacement, why string) {
	switch n.st.End {
	case EndCompleted, EndFinished:
		return dismissed, ""
	case EndTerminated:
		return dismissed, "was terminated"
	}
	for p := n.parent; p != nil; p = p.parent {
		switch {
		case p.up():
		case p.st.End.Blame() == BlameAgent:
			return takenDown, "it was stopped with supervisor " + p.spec.ID + ": " + p.st.Why
		default:
			return dismissed, "was stopped with supervisor " + p.spec.ID
		}
	}
	return dismissed, "is down"
}

// takesPart reports whether an agent can have a part in a rolling restart: it runs or
// will.
func (t *Tree) takesPart(n *node, part Part) bool {
	verdict, _ := t.replacement(n, part)
	return verdict != dismissed && verdict != takenDown && !n.goes()
}

// takingPart keeps of some agents those that can be restarted by a rolling restart.
func (t *Tree) takingPart(agents []*node) []*node {
	return slices.DeleteFunc(agents, func(n *node) bool { return !t.takesPart(n, Part{Roll: n.st.Incarnation}) })
}

// failedLast reports whether the present incarnation is known to have failed, or to have
// completed though it is to run.
func (n *node) failedLast() bool {
	if n.st.Phase.Down() && n.st.OwnEnd() == EndCompleted && !n.spec.Restart.leaves(EndCompleted) {
		return true
	}
	f := n.past.lastFailure()
	return f != nil && f.Incarnation == n.st.Incarnation
}

// lastEnd returns which incarnation ended last by itself, and how. By then its successor
// may have been started. A permanent agent that completed did not fail, and is restarted.
func (n *node) lastEnd() Entry {
	if end := n.st.OwnEnd(); n.st.Phase.Down() && end != "" && end != EndStopped {
		return Entry{Incarnation: n.st.Incarnation, Reason: n.st.Why}
	}
	failure, restart := n.past.lastFailure(), n.past.lastRestart()
	switch {
	case restart != nil && (failure == nil || failure.Incarnation < restart.Incarnation):
		return *restart
	case failure != nil:
		return *failure
	}
	return Entry{Incarnation: n.st.Incarnation, Reason: n.st.Why}
}
