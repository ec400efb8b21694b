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
	// restarted by it or otherwise, or failed while it only followed them.
	Total int `json:"total"`
	Done  int `json:"done"`
	// Added counts those of Total that are new, and Failed names the first of them
	// that could not be verified, and why.
	Added  int    `json:"added,omitempty"`
	Failed string `json:"failed,omitempty"`
	// Left says of the first agent that was taken out of it before it was verified how
	// that came, such as "a was terminated".
	Left string `json:"left,omitempty"`
	// Until is when what a configuration removed must have ended; 0 once it has.
	Until Instant `json:"until,omitempty"`
	// Now are those that are being restarted, Down others of its agents that are
	// not up. Both are told by [Tree.Rolling] alone; older programs stored Now.
	Now  []Replaced `json:"now,omitempty"`
	Down []string   `json:"-"`
	// Ending are those that a configuration removed and that may still run, while they
	// are waited for. Only [Tree.Rolling] tells them.
	Ending []string `json:"-"`
	// Stopped says why no further agent is restarted, and By names the agent that
	// failed; both are empty while it proceeds.
	Stopped string `json:"stopped,omitempty"`
	By      string `json:"by,omitempty"`
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
	c.Now, c.Down, c.Ending = slices.Clone(r.Now), slices.Clone(r.Down), slices.Clone(r.Ending)
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
		if p := n.part(); p.Turn == TurnNow || p.Turn == TurnTried {
			r.Now = append(r.Now, Replaced{n.spec.ID, p.Roll})
		} else {
			r.Down = append(r.Down, n.spec.ID)
		}
	}
	for n := range t.parts().added {
		r.Now = append(r.Now, Replaced{n.spec.ID, n.part().Roll})
	}
	if r.Until > 0 {
		r.Ending = t.Leaving()
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

// orderRolling carries out CmdRoll.
func (t *Tree) orderRolling(n *node, in *Input) {
	if in.Count < 1 {
		t.reply(in, Invalid, "at least 1 agent must be allowed to be down at once")
		return
	}
	t.endLeft(in)
	var wanted []*node
	for _, a := range n.agents(nil) {
		if in.Outdated && a.outdated() || !in.Outdated && (a.ordered() || t.comes(a)) {
			wanted = append(wanted, a)
		}
	}
	wanted = t.takingPart(wanted)
	t.beginRolling(wanted, in.Count, in)
	t.reply(in, OK, strconv.Itoa(len(wanted)))
}

// newRolling returns a rolling restart that takes on what is under way.
func (t *Tree) newRolling(in *Input) *Rolling {
	if was := t.rolling(); was != nil && was.Stopped == "" {
		return was.clone()
	}
	return &Rolling{ID: cmp.Or(in.Token, t.decision), Since: t.now, Reason: in.Reason, Event: t.story.Cause, Chain: t.story.Chain}
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
	r, taken := t.newRolling(in), 0
	for _, n := range wanted {
		p := n.part()
		switch {
		case p.Turn == "":
			r.Total++
		case p.Turn == TurnOver:
			r.Done--
		case p.Turn == TurnNew:
			r.Added--
		case p.Roll == n.st.Incarnation:
			continue // it is still to be replaced
		}
		taken++
		part := Part{Turn: TurnWaits, Roll: n.st.Incarnation, Reason: in.Reason, Event: t.story.Cause, Chain: t.story.Chain}
		begun := n.st.Phase.pending() || in.Kind == Configure && n.st.Phase.coming() && !n.outdated()
		part.Taken = p.Taken || p.Turn == TurnNow
		switch down := begun || !n.ordered(); {
		case down && in.Kind == Configure, p.Turn == TurnNow && (down || n.st.Phase.coming()):
			part.Turn = TurnNow // it is another program, or has been taken down for this
		case down:
			part.Turn = TurnTried
		}
		if begun { // its present incarnation is, or is going to be, what is wanted
			if n.hastens() {
				n.st.Story, _ = part.because(r)
				t.hasten(n)
			}
			part.Roll, part.Attempts = n.st.Incarnation-1, n.st.Attempts
		}
		t.renew(n, func(w *Renewal) { w.Part = part })
	}
	if taken == 0 && r.Max == most {
		return
	}
	r.Max, s.Rolling, t.rolls = most, r, nil
	t.touch(t.root)
	if taken == 0 {
		return
	}
	r.Reason, r.Event, r.Chain = in.Reason, t.story.Cause, t.story.Chain
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
		t.replace(n, r, TurnNow)
	}
	t.followRemoved(r)
	if r.Done >= r.Total && r.Until == 0 {
		t.finishRolling(r)
	}
}

// followRemoved looks whether what a configuration removed has ended. What takes longer
// than it may is not waited for any further.
func (t *Tree) followRemoved(r *Rolling) {
	switch {
	case r.Until == 0:
		return
	case !t.leaves():
	case t.now < r.Until:
		return
	default:
		if left := t.Leaving(); len(left) > 0 {
			r.Failed = cmp.Or(r.Failed, left[0]+", which is removed, has not ended in its time")
		}
	}
	r.Until = 0
	t.touch(t.root)
}

// removalDue is when the agents that a configuration removed must have ended.
func (t *Tree) removalDue() (due Instant, ok bool) {
	r := t.rolling()
	if r == nil || r.Stopped != "" || r.Until == 0 || r.Until == forever {
		return 0, false
	}
	return r.Until, true
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
		if part.Turn != TurnNew && part.Turn != TurnTried {
			return true, why
		}
		fallthrough
	case takenDown:
		if part.Turn == TurnOver {
			t.leaveRolling(n)
			break
		}
		r.Failed = cmp.Or(r.Failed, n.spec.ID+" could not be verified: "+why)
		t.take(n, "")
		r.Done++
		t.touch(t.root)
	case dismissed:
		t.depart(n, why)
	case replaced:
		switch part.Turn {
		case TurnNew, TurnTried:
			t.take(n, "")
		case TurnWaits, TurnNow:
			t.take(n, TurnOver)
		default:
			return false, ""
		}
		r.Done++
		t.touch(t.root)
	case underWay:
		switch {
		case part.Roll != n.st.Incarnation:
		case part.Turn != TurnNew && n.waits(): // it is down already, so nothing is to be waited for
			n.st.Story, _ = part.because(r)
			t.hasten(n)
		case part.Turn == TurnWaits && t.superseded(n, r):
			t.replace(n, r, n.st.Renewal.whenDown())
		case part.Turn == TurnNow && t.superseded(n, r):
			t.replace(n, r, TurnNow)
		}
	}
	return false, ""
}

// superseded reports whether an agent that comes up is to be replaced at once, rather
// than when it is up: it does not serve yet, so that costs no availability. One that
// beats serves. It is replaced before its verification ends if no more agents are down
// than may be, itself included.
func (t *Tree) superseded(n *node, r *Rolling) bool {
	p := n.parent
	if !p.up() || p.stops(n) || n.goes() {
		return false
	}
	switch n.st.Phase {
	case Starting, Verifying, Unverified:
		return true
	case Stabilising:
		return !t.busy(p) && len(t.rolls.down) <= r.Max
	}
	return false
}

// replace stops an agent whose turn has come, so that it starts again.
func (t *Tree) replace(n *node, r *Rolling, turn Turn) {
	t.take(n, turn)
	var why string
	n.st.Story, why = n.part().because(r)
	t.stop(n, ThenRestart, EndStopped, why, false)
}

// hasten starts a node that backs off, cools off, is set apart or waits for restart
// budget, now.
func (t *Tree) hasten(n *node) {
	n.fresh()
	t.touch(n)
	p := n.parent
	switch {
	case p == nil:
		t.begin(n, n.st.Story, false)
		return
	case n.st.Phase == Throttled:
		t.grant(n, nil)
		return
	}
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
		t.begin(n, n.st.Story, false)
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
		case n.st.Phase != Running, n.st.Discarded():
			continue // it comes up, or ends, and is looked at then
		case t.busy(n.parent) || !n.parent.up():
			return nil
		}
		return n
	}
	return nil
}

// take moves an agent on to its next turn; empty ends its part.
func (t *Tree) take(n *node, turn Turn) {
	t.renew(n, func(w *Renewal) {
		if w.Turn = turn; turn == "" {
			w.Part = Part{}
		}
	})
	t.rolls.note(n)
}

// depart ends the part of an agent that is not verified and is not to be any longer.
// Why is empty where nobody is to hear of that.
func (t *Tree) depart(n *node, why string) {
	turn := n.part().Turn
	if r := t.rolling(); r != nil && r.Left == "" && why != "" && turn != "" && turn != TurnOver {
		r.Left = n.spec.ID + " " + why
	}
	t.leaveRolling(n)
}

// leaveRolling ends the part of an agent that the rolling restart is no longer for.
func (t *Tree) leaveRolling(n *node) {
	turn := n.part().Turn
	if turn == "" {
		return
	}
	t.take(n, "")
	r := t.rolling()
	if r == nil || r.Stopped != "" || turn == TurnOver {
		return
	}
	if r.Total--; turn == TurnNew {
		r.Added--
	}
	t.touch(t.root)
}
