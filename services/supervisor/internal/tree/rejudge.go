package tree

import (
	"cmp"
	"slices"
)

// waitingEnd is the end of a node that waits, and what it was judged by.
type waitingEnd struct {
	n      *node
	former *Spec
	// by is the supervisor that judged it, limit what was specified of that.
	by    *node
	limit *Supervisor
}

// waits reports whether the end of a node is judged and what follows still waits: its
// delay, its cool-off, or the restart of its group.
func (n *node) waits() bool {
	return n.st.Phase.delayed() || n.st.Phase == Idle && n.st.Own != "" && n.parent.regroups(n)
}

// judge is the supervisor whose settings count for the end of a node that waits: its
// own while it cools off.
func (n *node) judge() *node {
	if n.st.End == EndCooling || n.parent == nil {
		return n
	}
	return n.parent
}

// waitingEnds returns the ends that wait, in the order of their nodes' names.
func (t *Tree) waitingEnds() []waitingEnd {
	var out []waitingEnd
	for _, n := range t.nodes {
		if n.waits() || n.st.Held.delayed() {
			out = append(out, waitingEnd{n, n.spec, n.judge(), n.judge().spec.Supervisor})
		}
	}
	slices.SortFunc(out, func(a, b waitingEnd) int { return cmp.Compare(a.n.spec.ID, b.n.spec.ID) })
	return out
}

// rejudge judges ends that wait again where a configuration has changed what they are
// judged by. A node that is no longer to be restarted stays down, and a wait is as
// long as it is now specified, since it began. It returns the nodes that wait for
// nothing now: their limit allows more, or they are no longer to be set apart.
func (t *Tree) rejudge(ends []waitingEnd) (due []*node) {
	for _, e := range ends {
		n, p := e.n, e.n.parent
		if n.removed || !n.waits() || p == nil && n.st.End != EndCooling { // an older program does not say that the root cools off
			continue
		}
		switch is := e.by.spec.Supervisor; {
		case n.st.End == EndCooling:
			if t.rejudgeCooling(e, is) {
				due = append(due, n)
			}
		case n.spec.Restart != e.former.Restart && n.leftDown():
			t.finish(n)
			if !t.busy(p) && !p.suspended() {
				t.autoShutdown(p, n)
			}
		case n.st.Phase == Isolated && p != e.by: // it is moved, and stays apart until its time is over
		case n.st.Phase == Isolated && (e.limit.isolates() && !is.isolates() || is.allowsMore(e.limit)):
			due = append(due, n)
		case n.st.Phase == Isolated:
			rounds, seed := n.st.rounds()-1, seedOf(n.spec.ID)+n.st.Incarnation
			if d := is.coolOff(n.spec, rounds, seed); d != e.limit.coolOff(e.former, rounds, seed) {
				t.arm(n, max(t.now, n.st.Since.Add(d)))
			}
		case n.spec.Backoff == e.former.Backoff:
		case p.regroups(n):
			t.delayGroup(p)
		case n.backsOff():
			t.arm(n, max(t.now, n.nextTry()))
		}
	}
	return due
}

// backsOff reports whether a node that waits was given a delay for how it ended.
func (n *node) backsOff() bool { return n.st.Attempts > 0 && n.st.OwnEnd().charged() }

// nextTry is when the delay of a node that backs off ends, as it is specified now.
func (n *node) nextTry() Instant {
	return n.st.LastRestart.Add(n.spec.Backoff.Wait(n.st.Attempts-1, seedOf(n.spec.ID)+n.st.Incarnation))
}

// delayGroup makes the restart of a group wait for the longest delay of its members.
func (t *Tree) delayGroup(p *node) { t.groupDue(p, p.longestDelay(t.now)) }

// hurryGroup ends the wait of a group for a delay that no member has any longer: the
// one that failed is terminated, removed, or no longer enforced.
func (t *Tree) hurryGroup(p *node) {
	if op := p.op(); op != nil && op.Kind == OpGroup && op.Stage != StageStart && op.Due > t.now {
		if due := p.longestDelay(t.now); due < op.Due {
			t.groupDue(p, due)
		}
	}
}

func (t *Tree) groupDue(p *node, due Instant) {
	op := p.op()
	op.Due = due
	t.touch(p)
	if op.Stage == StageWait {
		t.timers.Push(timer{op.Due, p})
	}
}

// longestDelay is when the delays of the members that wait for the restart of their
// group are over.
func (p *node) longestDelay(now Instant) Instant {
	due := now
	for _, c := range p.kids {
		if c.waits() && p.regroups(c) && c.backsOff() {
			due = max(due, c.nextTry())
		}
	}
	return due
}

// rejudgeCooling judges a supervisor that cools off by what is specified of it now. It
// reports whether it starts now: within this limit it would not have stopped, or it is
// no longer to stop for it.
func (t *Tree) rejudgeCooling(e waitingEnd, is *Supervisor) (due bool) {
	n := e.n
	note, outcome, end := n.overLimit()
	switch {
	case n.st.Phase != Waiting: // it waits with its group, which starts it
		return false
	case is.allowsMore(e.limit), is.Escalation == Ignore, is.isolates():
		return true
	case outcome != Cooling:
		t.note(n, Effect{Kind: note, Reason: n.st.Why})
		t.setDown(n, Idle, end, n.st.Why)
		t.concluded(n, outcome)
	case is.CoolOff != e.limit.CoolOff:
		t.arm(n, max(t.now, n.st.Since.Add(is.CoolOff)))
	}
	return false
}

// allowsMore reports whether a limit allows failures that a former one did not.
func (s *Supervisor) allowsMore(former *Supervisor) bool {
	return s.MaxRestarts > former.MaxRestarts || s.MaxRestarts == former.MaxRestarts && s.Period < former.Period
}

// leftDown reports whether the restart type leaves a node down that ended as it did.
// A group takes those along that have finished, but no temporary ones.
func (n *node) leftDown() bool {
	return n.spec.Restart == Temporary || n.spec.Restart == Transient && n.st.Phase.delayed() && n.st.End.normal()
}
