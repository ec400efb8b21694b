package tree

import (
	"cmp"
	"slices"
	"strconv"
)

// Rolling is a rolling restart: agents are stopped and started a few at a time,
// and the next one only when one is up and verified. It ends with the last, or
// is stopped by the first that does not come up or does not stay up. The root has
// it; each agent has its own [Part].
type Rolling struct {
	// ID names it to those who wait for its end, Applied to those who wait for the
	// end of what a configuration began.
	ID      string `json:"id"`
	Applied string `json:"applied,omitempty"`
	// Max is how many of its agents may be down at once; new ones do not count.
	Max   int     `json:"max"`
	Since Instant `json:"since"`
	// Total counts the agents that it is for, Done those whose turn is over:
	// restarted by it or otherwise, stopped, or removed.
	Total int `json:"total"`
	Done  int `json:"done"`
	// Added counts those of Total that are new, and Failed names the first of them
	// that could not be verified, and why.
	Added  int    `json:"added,omitempty"`
	Failed string `json:"failed,omitempty"`
	// Now are those that are being restarted, Down others of its agents that are
	// not up. Both are told by [Tree.Rolling] alone; older programs stored Now.
	Now  []Replaced `json:"now,omitempty"`
	Down []string   `json:"-"`
	// Stopped says why no further agent is restarted; empty while it proceeds.
	Stopped string `json:"stopped,omitempty"`
	// Reason is why it was begun, or last took on others, Event and Chain the story
	// that this belongs to.
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
	c.Now, c.Down = slices.Clone(r.Now), slices.Clone(r.Down)
	return &c
}

// Rolling returns a copy of the rolling restart that is under way or was
// stopped, or nil.
func (t *Tree) Rolling() *Rolling {
	r := t.rolling().clone()
	if r == nil || r.Stopped != "" {
		return r
	}
	for n := range t.parts().down {
		if p := n.part(); p.Turn == TurnNow {
			r.Now = append(r.Now, Replaced{n.spec.ID, p.Roll})
		} else {
			r.Down = append(r.Down, n.spec.ID)
		}
	}
	for n := range t.parts().added {
		r.Now = append(r.Now, Replaced{n.spec.ID, n.part().Roll})
	}
	slices.SortFunc(r.Now, func(a, b Replaced) int { return cmp.Compare(a.Node, b.Node) })
	slices.Sort(r.Down)
	return r
}

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
		if in.Outdated && a.outdated() || !in.Outdated && (a.ordered() || a.st.Phase.pending() || a.st.Phase.delayed() || t.willStart(a.parent, a)) {
			wanted = append(wanted, a)
		}
	}
	t.beginRolling(wanted, in.Count, in)
	t.refuse(in, OK, strconv.Itoa(len(wanted)))
}

// rollOut begins what follows from a configuration: every agent that does not run
// what its specification says is restarted, if most is not 0, and those that waited
// to be started and are another program now are started at once. Those that it added
// are followed. What an earlier configuration had begun is superseded.
func (t *Tree) rollOut(waited, fresh []*node, most int, in *Input) {
	if r := t.rolling(); r != nil && r.Stopped == "" && r.Applied != "" {
		t.tell(r.Applied, Superseded, "another configuration was applied")
		r.Applied = ""
	}
	var wanted []*node
	if most > 0 {
		wanted = t.outdated(waited)
	} else {
		for _, n := range waited {
			n.st.Cause, n.st.Chain = t.cause, t.chain
			t.hasten(n)
		}
	}
	t.beginRolling(wanted, most, in)
	t.followAdded(fresh, in)
	if r := t.rolling(); r != nil && r.Stopped == "" && (len(wanted) > 0 || r.Added > 0) {
		r.Applied = in.Token
	}
}

// outdated appends every agent that does not run what its specification says.
func (t *Tree) outdated(dst []*node) []*node {
	for _, a := range t.root.agents(nil) {
		if a.outdated() {
			dst = append(dst, a)
		}
	}
	return dst
}

// followAdded makes agents that a configuration added part of what it began.
func (t *Tree) followAdded(fresh []*node, in *Input) {
	added := slices.DeleteFunc(slices.Clone(fresh), func(n *node) bool {
		return n.spec.Agent == nil || n.st.Phase == Running || n.part().Turn != ""
	})
	if len(added) == 0 {
		return
	}
	s := t.root.st.Supervisor
	r := t.newRolling(in)
	for _, n := range added {
		part := Part{Turn: TurnNew, Roll: n.st.Incarnation}
		if n.st.Phase != Idle {
			part.Roll-- // it is under way
		}
		t.renew(n, func(w *Renewal) { w.Part = part })
	}
	r.Total, r.Added = r.Total+len(added), r.Added+len(added)
	s.Rolling, t.rolls = r, nil
	t.touch(t.root)
}

// newRolling returns a rolling restart that takes on what is under way.
func (t *Tree) newRolling(in *Input) *Rolling {
	if was := t.rolling(); was != nil && was.Stopped == "" {
		return was.clone()
	}
	return &Rolling{ID: cmp.Or(in.Token, t.decision), Since: t.now, Reason: in.Reason, Event: t.cause, Chain: t.chain}
}

// beginRolling lets agents be restarted a few at a time. A rolling restart that is
// under way takes them on and goes by the new bound.
func (t *Tree) beginRolling(wanted []*node, most int, in *Input) {
	s := t.root.st.Supervisor
	if len(wanted) == 0 {
		if s.Rolling != nil && s.Rolling.Stopped != "" {
			// Nothing is left to be restarted, as after the former file is applied.
			s.Rolling = nil
			t.touch(t.root)
		}
		return
	}
	r := t.newRolling(in)
	r.Max, r.Reason, r.Event, r.Chain = most, in.Reason, t.cause, t.chain
	for _, n := range wanted {
		switch p := n.part(); {
		case p.Turn == "":
			r.Total++
		case p.Turn == TurnOver:
			r.Done--
		case p.Turn == TurnNew:
			r.Added--
		case p.Roll == n.st.Incarnation:
			continue // it is still to be replaced
		}
		t.renew(n, func(w *Renewal) {
			w.Part = Part{Turn: TurnWaits, Roll: n.st.Incarnation, Reason: r.Reason, Event: r.Event, Chain: r.Chain}
		})
	}
	s.Rolling, t.rolls = r, nil
	t.touch(t.root)
	t.emit(Effect{
		Kind: NoteRolling, Node: t.root.spec.ID, Event: r.Event, Chain: r.Chain,
		Reason: "rolling restart of " + counted(len(wanted), "agent") + ", at most " + strconv.Itoa(most) + " at once",
	})
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
	parts := t.parts()
	var idle []*node
	for n := parts.next(); n != nil; n = parts.next() {
		if failed, why := t.followRoll(n, r); failed {
			t.stopRolling(n, why)
			return
		}
		if n.part().Turn != "" && n.st.Phase == Idle && !n.removed {
			idle = append(idle, n)
		}
	}
	for _, n := range idle {
		parts.list(n)
	}
	for len(parts.down) < r.Max {
		n := t.nextToRoll()
		if n == nil {
			break
		}
		t.take(n, TurnNow)
		var why string
		n.st.Cause, n.st.Chain, why = n.part().because(r)
		t.stop(n, ThenRestart, EndStopped, why, false)
	}
	if r.Done >= r.Total {
		t.finishRolling(r)
	}
}

func (t *Tree) finishRolling(r *Rolling) {
	t.endRolling()
	if restarted := r.Total - r.Added; restarted > 0 {
		t.emit(Effect{Kind: NoteRolled, Node: t.root.spec.ID, Reason: "rolling restart done: " + counted(restarted, "agent"), Event: r.Event, Chain: r.Chain})
	}
	t.root.st.Supervisor.Rolling = nil
	result := OK
	if r.Failed != "" {
		result = NotVerified
	}
	t.conclude(r, result, r.Failed)
}

// followRoll goes on with an agent whose phase has changed. It reports whether it has
// failed since its turn, and why.
func (t *Tree) followRoll(n *node, r *Rolling) (failed bool, why string) {
	part := n.part()
	if part.Turn == "" {
		return false, ""
	}
	switch verdict, why := t.replacement(n, part); verdict {
	case notReplaced:
		if part.Turn != TurnNew {
			return true, why
		}
		r.Failed = cmp.Or(r.Failed, n.spec.ID+" could not be verified: "+why)
		t.leaveRolling(n)
	case dismissed:
		t.leaveRolling(n)
	case replaced:
		switch part.Turn {
		case TurnNew:
			t.leaveRolling(n)
		case TurnWaits, TurnNow:
			t.take(n, TurnOver)
			r.Done++
			t.touch(t.root)
		}
	case underWay:
		if part.Turn == TurnWaits && t.backsOff(n) {
			// It is down already, so nothing is to be waited for.
			n.st.Cause, n.st.Chain, _ = part.because(r)
			t.hasten(n)
		}
	}
	return false, ""
}

// backsOff reports whether an agent that failed waits to be started again.
func (t *Tree) backsOff(n *node) bool {
	if n.st.Phase.delayed() {
		return true
	}
	op := n.parent.op()
	return n.st.Phase == Idle && op != nil && op.Kind == OpGroup && t.willStart(n.parent, n) && n.failedLast()
}

// hasten starts an agent that backs off, now.
func (t *Tree) hasten(n *node) {
	n.fresh()
	p := n.parent
	op := p.op()
	if op != nil && (op.Kind != OpGroup || n.spec.Rank < op.From) {
		op = nil
	}
	switch {
	case op != nil && (op.Stage == StageStop || p.suspended()):
		op.Due = min(op.Due, t.now) // it starts when the last is down, or on resumption
		t.touch(p)
	case p.suspended():
		t.arm(n, t.now)
	case op != nil && op.Stage == StageWait:
		t.startStage(p)
	case n.st.Phase.delayed():
		t.begin(n, n.st.Cause, n.st.Chain, false)
	}
}

// nextToRoll returns the next agent, in start order, that is to be restarted
// and can be now. It is nil while the next one must be waited for, too: the
// order is part of what is promised.
func (t *Tree) nextToRoll() *node {
	parts := t.parts()
	parts.waiting = slices.DeleteFunc(parts.waiting, func(n *node) bool { return n.removed || n.part().Turn != TurnWaits })
	for _, n := range parts.waiting {
		switch {
		case n.st.Phase != Running:
			continue // it comes up, or ends, and is looked at then
		case t.busy(n.parent) || !n.parent.up():
			return nil
		}
		return n
	}
	return nil
}

// take moves an agent on to its next turn.
func (t *Tree) take(n *node, turn Turn) {
	t.renew(n, func(w *Renewal) { w.Turn = turn })
	t.rolls.note(n)
}

// leaveRolling ends an agent's part in the rolling restart.
func (t *Tree) leaveRolling(n *node) {
	part := n.part()
	if part.Turn == "" {
		return
	}
	t.renew(n, func(w *Renewal) { w.Part = Part{} })
	t.rolls.note(n)
	if r := t.rolling(); r != nil && r.Stopped == "" && part.Turn != TurnOver {
		r.Done++
		t.touch(t.root)
	}
}

// stopRolling leaves the remaining agents as they are. Those that are under way
// come up, or not, as any agent does.
func (t *Tree) stopRolling(n *node, why string) {
	r := t.rolling()
	r.Stopped = n.spec.ID + " did not come up: " + why
	if n.part().Turn == TurnOver {
		r.Stopped = n.spec.ID + " failed after it was restarted: " + why
	}
	left := t.endRolling()
	t.emit(Effect{
		Kind: NoteRollingStopped, Node: n.spec.ID, Incarnation: n.st.Incarnation, Event: n.st.Cause, Chain: r.Chain,
		Reason: "rolling restart stopped, " + counted(left, "agent") + " left as they are: " + why,
	})
	t.conclude(r, CannotStart, r.Stopped)
}

// endRolling ends every agent's part, and returns how many had not had their turn.
func (t *Tree) endRolling() (left int) {
	for _, n := range t.root.agents(nil) {
		switch n.part().Turn {
		case "":
			continue
		case TurnWaits:
			left++
		}
		t.renew(n, func(w *Renewal) { w.Part = Part{} })
	}
	t.rolls = nil
	t.touch(t.root)
	return left
}

// conclude tells those who ask later what became of a rolling restart.
func (t *Tree) conclude(r *Rolling, result Result, why string) {
	t.tell(r.ID, result, why)
	t.tell(r.Applied, result, why)
}

func (t *Tree) tell(token string, result Result, why string) {
	if token != "" {
		t.keepAnswer(Answer{Token: token, Result: result, Reason: why})
	}
}
