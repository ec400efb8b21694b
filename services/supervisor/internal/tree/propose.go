package tree

import "time"

// Action is what a proposal would have done.
type Action string

// Actions. A child is restarted or set apart; what a supervisor does that exceeds
// its limit is called as the conclusion is.
const (
	ActionRestart   = Action(NoteRestart)
	ActionIsolate   = Action(NoteIsolate)
	ActionEscalate  = Action(NoteEscalate)
	ActionTerminate = Action(NoteTerminate)
	ActionCoolOff   = Action(NoteCoolOff)
	ActionIgnore    = Action(NoteIgnore)
	ActionGiveUp    = Action(NoteGiveUp)
)

// suggest emits a proposal.
func (t *Tree) suggest(n *node, action Action, due Instant, why string, story Story) {
	t.emit(Effect{Kind: Propose, Node: n.spec.ID, Incarnation: n.st.Incarnation, Due: due, Reason: why, Event: story.Cause, Chain: story.Chain, Action: action})
}

// propose decides upon the end of a child as ended does for one that is
// enforced, and only tells it. Upwards it goes on as far as that would.
func (t *Tree) propose(n *node, normal bool, why string, story Story) {
	p := n.parent
	if p == nil || !p.up() || p.suspended() || t.mode(n) == Off {
		return
	}
	switch {
	case n.spec.Restart == Temporary, n.spec.Restart == Transient && normal:
		if n.spec.Significant && p.spec.Supervisor.AutoShutdown == AnySignificant {
			why = "significant child " + n.spec.ID + " ended"
			t.suggest(p, ActionEscalate, 0, why, story)
			t.propose(p, true, why, story)
		}
	case !n.st.End.charged():
		t.proposeRestart(n, why, story)
	case p.spec.Supervisor.Strategy.Escalates():
		why = "child " + n.spec.ID + " failed: " + why
		t.suggest(p, ActionEscalate, 0, why, story)
		t.propose(p, false, why, story)
	case p.spec.Supervisor.isolates():
		if t.admitted(n, true) {
			t.proposeRestart(n, why, story)
		} else {
			t.suggest(n, ActionIsolate, t.setApart(n), "restart limit exceeded: "+why, story)
		}
	case !t.within(p):
		t.proposeExceeded(p, n, why, story)
	default:
		t.proposeRestart(n, why, story)
	}
}

// within counts a proposed restart against a supervisor's limit, beside those
// that were not only proposed.
func (t *Tree) within(p *node) bool {
	s, from := p.st.Supervisor, t.now.Add(-p.spec.Supervisor.Period)
	s.Proposed = append(since(s.Proposed, from), t.now)
	t.touch(p)
	return len(s.Proposed)+len(since(s.Window, from)) <= p.spec.Supervisor.MaxRestarts
}

// proposeExceeded tells what a supervisor would do whose child failed once too
// often.
func (t *Tree) proposeExceeded(p, n *node, reason string, story Story) {
	why := "restart limit exceeded by child " + n.spec.ID + ": " + reason
	s := p.st.Supervisor
	if p.spec.Supervisor.Escalation == Ignore {
		s.Proposed = s.Proposed[:len(s.Proposed)-1]
		t.suggest(p, ActionIgnore, 0, why, story)
		t.proposeRestart(n, reason, story)
		return
	}
	s.Proposed = nil
	switch e := p.spec.Supervisor.Escalation; {
	case e == CoolOff:
		t.suggest(p, ActionCoolOff, t.now.Add(p.spec.Supervisor.CoolOff), why, story)
	case p.parent == nil:
		t.suggest(p, ActionGiveUp, 0, why, story)
	case e == Terminate:
		t.suggest(p, ActionTerminate, 0, why, story)
	default:
		t.suggest(p, ActionEscalate, 0, why, story)
		t.propose(p, true, why, story)
	}
}

// proposeRestart tells that a child would be restarted, and who with it.
func (t *Tree) proposeRestart(n *node, why string, story Story) {
	var delay time.Duration
	if n.st.End.charged() {
		delay = n.spec.Backoff.Wait(n.st.Attempts, seedOf(n.spec.ID)+n.st.Incarnation)
		if n.spec.Agent != nil {
			n.st.Attempts++
			t.touch(n)
		}
	}
	due := t.now.Add(delay)
	t.suggest(n, ActionRestart, due, why, story)
	t.proposeAlong(n, due, true, story)
}

// proposeAlong tells which siblings would be restarted with a child, all or
// those that are in shadow mode.
func (t *Tree) proposeAlong(n *node, due Instant, all bool, story Story) {
	p := n.parent
	s := p.spec.Supervisor.Strategy
	for _, c := range p.kids {
		if c == n || !s.Takes(n.spec.Rank, c.spec.Rank) || c.st.Phase.idle() || c.st.Phase == Gone || t.mode(c) == Off {
			continue
		}
		if all || c.st.Phase == Watched && t.mode(c) == Shadow {
			t.suggest(c, ActionRestart, due, string(s)+" because of "+n.spec.ID, story)
		}
	}
}

// contained keeps a supervisor that is not enforced from failing towards its
// parent: the agents below it that are enforced all the same stop, it stays
// down, and the rest is proposed.
func (t *Tree) contained(p *node, action Action, why string) bool {
	if p.parent == nil || t.mode(p) == Enforce {
		return false
	}
	if t.mode(p) == Shadow {
		t.suggest(p, action, 0, why, p.st.Story)
	}
	t.note(p, Effect{Kind: NoteTerminate, Reason: why + "; its mode keeps it from failing towards its parent"})
	p.history().failures.add(Entry{At: t.now, Reason: why, Event: p.st.Cause})
	t.shutdown(p, Terminated, EndGaveUp, why)
	return true
}
