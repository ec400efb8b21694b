package tree

import (
	"cmp"
	"slices"
	"strconv"
)

// Rolling is a rolling restart: agents are stopped and started a few at a time,
// and the next one only when one is up and verified. It ends with the last, or
// is stopped by the first that does not come up. The root has it.
type Rolling struct {
	// ID names it to those who wait for its end.
	ID string `json:"id"`
	// Max is how many agents may be down for it at once.
	Max   int     `json:"max"`
	Since Instant `json:"since"`
	// Total counts the agents that it is for, Done those that need it no longer:
	// restarted by it or otherwise, stopped, or removed.
	Total int `json:"total"`
	Done  int `json:"done"`
	// Now are those that are being restarted.
	Now []Replaced `json:"now,omitempty"`
	// Stopped says why no further agent is restarted; empty while it proceeds.
	Stopped string `json:"stopped,omitempty"`
	// Reason is why it was begun, or last took on others, Event and Chain the story
	// that this belongs to. Each agent's own is in its [Renewal].
	Reason string `json:"reason,omitempty"`
	Event  string `json:"event,omitempty"`
	Chain  string `json:"chain,omitempty"`
}

// Replaced is an agent whose incarnation is being replaced.
type Replaced struct {
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"`
}

func (r *Rolling) clone() *Rolling {
	if r == nil {
		return nil
	}
	c := *r
	c.Now = slices.Clone(r.Now)
	return &c
}

// Rolling returns a copy of the rolling restart that is under way or was
// stopped, or nil.
func (t *Tree) Rolling() *Rolling { return t.rolling().clone() }

func (t *Tree) rolling() *Rolling {
	if t.root == nil {
		return nil
	}
	return t.root.st.Supervisor.Rolling
}

// orderRolling carries out RollIt.
func (t *Tree) orderRolling(n *node, in *Input) {
	if in.Count < 1 {
		t.refuse(in, Invalid, "at least 1 agent must be allowed to be down at once")
		return
	}
	var wanted []*node
	for _, a := range n.agents(nil) {
		if a.ordered() && (!in.Outdated || a.outdated()) {
			wanted = append(wanted, a)
		}
	}
	t.beginRolling(wanted, in.Count, in)
	t.refuse(in, OK, strconv.Itoa(len(wanted)))
}

// rollOutdated begins to restart every agent that does not run what its
// specification says.
func (t *Tree) rollOutdated(most int, in *Input) {
	var wanted []*node
	for _, a := range t.root.agents(nil) {
		if a.outdated() {
			wanted = append(wanted, a)
		}
	}
	t.beginRolling(wanted, most, in)
}

// beginRolling marks agents to be restarted a few at a time. One that is under
// way takes them on and goes by the new bound.
func (t *Tree) beginRolling(wanted []*node, most int, in *Input) {
	s := t.root.st.Supervisor
	if len(wanted) == 0 {
		if s.Rolling != nil && s.Rolling.Stopped != "" {
			// Nothing is left to be restarted, as after the former file is applied.
			s.Rolling, t.rolls = nil, nil
			t.touch(t.root)
		}
		return
	}
	r := &Rolling{ID: cmp.Or(in.Token, t.decision), Max: most, Since: t.now, Reason: in.Reason, Event: t.cause, Chain: t.chain}
	if was := s.Rolling; was != nil && was.Stopped == "" {
		r.Now, r.Total, r.Done = slices.Clone(was.Now), was.Total, was.Done
	}
	for _, n := range wanted {
		if n.st.Renewal != nil && n.st.Renewal.Roll == n.st.Incarnation || r.replaces(n) {
			continue
		}
		if !n.marked() { // else another incarnation of it was found, and it is counted
			r.Total++
		}
		t.renew(n, func(w *Renewal) { w.mark(n.st.Incarnation, r) })
	}
	s.Rolling, t.rolls = r, nil
	t.touch(t.root)
	t.emit(Effect{
		Kind: NoteRolling, Node: t.root.spec.ID, Event: r.Event, Chain: r.Chain,
		Reason: "rolling restart of " + counted(r.Total-r.Done, "agent") + ", at most " + strconv.Itoa(most) + " at once",
	})
}

// replaces reports whether it is at the present incarnation of an agent.
func (r *Rolling) replaces(n *node) bool {
	return slices.Contains(r.Now, Replaced{n.spec.ID, n.st.Incarnation})
}

// counted is a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// roll takes the rolling restart as far as it goes now. It looks at what the
// step that ends has made of the agents concerned.
func (t *Tree) roll() {
	r := t.rolling()
	if r == nil || r.Stopped != "" {
		return
	}
	now := r.Now[:0:0]
	for _, c := range r.Now {
		switch verdict, why := t.replacement(c); verdict {
		case replaced:
			r.Done++
		case notReplaced:
			t.stopRolling(c, why)
			return
		default:
			now = append(now, c)
		}
	}
	for len(now) < r.Max {
		n := t.nextToRoll()
		if n == nil {
			break
		}
		now = append(now, Replaced{n.spec.ID, n.st.Incarnation})
		asked := *n.st.Renewal
		t.renew(n, (*Renewal).unmark)
		if asked.Event == "" { // marked by a program that did not note it
			asked.Event, asked.Chain, asked.Reason = r.Event, r.Chain, r.Reason
		}
		n.st.Cause, n.st.Chain = asked.Event, asked.Chain
		t.stop(n, ThenRestart, EndStopped, asked.Reason, false)
	}
	if !slices.Equal(now, r.Now) {
		r.Now = now
		t.touch(t.root)
	}
	if len(now) == 0 && r.Done >= r.Total {
		t.root.st.Supervisor.Rolling, t.rolls = nil, nil
		t.touch(t.root)
		t.emit(Effect{Kind: NoteRolled, Node: t.root.spec.ID, Reason: "rolling restart done: " + counted(r.Total, "agent"), Event: r.Event, Chain: r.Chain})
	}
}

// nextToRoll returns the next agent, in start order, that is to be restarted
// and can be now. It is nil while the next one must be waited for, too: the
// order is part of what is promised.
func (t *Tree) nextToRoll() *node {
	t.listRolls()
	for len(t.rolls) > 0 {
		n := t.rolls[0]
		switch {
		case n.removed || !n.marked():
			t.rolls = t.rolls[1:]
		case n.st.Renewal.Roll != n.st.Incarnation, !n.ordered(), n.st.Phase.Apart(), n.st.Phase == Stopping:
			// What is not enforced is not restarted from here, and what is down or
			// about to be starts as specified.
			t.unmark(n)
			t.rolls = t.rolls[1:]
		case t.busy(n.parent) || !n.parent.up():
			return nil
		default:
			t.rolls = t.rolls[1:]
			return n
		}
	}
	return nil
}

// listRolls lists the marked agents in start order, unless it is known.
func (t *Tree) listRolls() {
	if t.rolls != nil {
		return
	}
	t.rolls = []*node{}
	for _, a := range t.root.agents(nil) {
		if a.marked() {
			t.rolls = append(t.rolls, a)
		}
	}
}

// marked reports whether a rolling restart has yet to come to an agent.
func (n *node) marked() bool { return n.st.Renewal != nil && n.st.Renewal.Roll > 0 }

// unmark notes that an agent needs the rolling restart no longer.
func (t *Tree) unmark(n *node) {
	if !n.marked() {
		return
	}
	t.renew(n, (*Renewal).unmark)
	if r := t.rolling(); r != nil && r.Stopped == "" {
		r.Done++
		t.touch(t.root)
	}
}

// replacement is how far the replacement of an agent is.
type replacement uint8

const (
	underWay replacement = iota
	replaced
	notReplaced
)

// replacement reports what became of an agent that is being restarted: it is
// replaced when it runs and is verified, or when it is no longer to run. It is
// not when the new incarnation failed, unless that was its host's end.
func (t *Tree) replacement(c Replaced) (_ replacement, why string) {
	n := t.nodes[c.Node]
	switch {
	case n == nil, n.st.Phase.Apart():
		return replaced, ""
	case n.st.Incarnation > c.Incarnation && n.st.Attempts > 0:
		return notReplaced, n.lastFailure()
	case n.st.Phase == Running && n.st.Incarnation > c.Incarnation:
		return replaced, ""
	case n.st.Phase == Stopping && (n.st.Then == ThenFail || n.st.Then == ThenStartFailed):
		return notReplaced, n.lastFailure()
	case n.st.Phase.live(), n.st.Phase.pending(), n.st.Phase == Idle && t.willStart(n.parent, n):
		return underWay, ""
	case n.st.End == EndLost && (n.st.Phase == Ended || n.st.Phase.delayed()):
		return underWay, ""
	case n.st.End != EndLost && n.st.Incarnation > c.Incarnation && n.failedLast():
		return notReplaced, n.lastFailure()
	}
	return replaced, ""
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

// stopRolling leaves the remaining agents as they are. Those that are under way
// come up, or not, as any agent does.
func (t *Tree) stopRolling(c Replaced, why string) {
	r := t.rolling()
	t.listRolls()
	left := 0
	for _, n := range t.rolls {
		if !n.removed && n.marked() {
			t.renew(n, (*Renewal).unmark)
			left++
		}
	}
	t.rolls, r.Now = nil, nil
	r.Stopped = c.Node + " did not come up: " + why
	t.touch(t.root)
	t.emit(Effect{
		Kind: NoteRollingStopped, Node: c.Node, Incarnation: t.nodes[c.Node].st.Incarnation, Event: t.nodes[c.Node].st.Cause, Chain: r.Chain,
		Reason: "rolling restart stopped, " + counted(left, "agent") + " left as they are: " + why,
	})
}
