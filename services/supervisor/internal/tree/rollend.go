package tree

import (
	"cmp"
	"slices"
)

// finishRolling ends a rolling restart in which every agent has had its turn.
func (t *Tree) finishRolling(r *Rolling) {
	t.endRolling()
	if restarted := r.Total - r.Added; restarted > 0 {
		t.emit(Effect{Kind: NoteRolled, Node: t.root.spec.ID, Reason: "rolling restart done: " + counted(restarted, "agent"), Event: r.Event, Chain: r.Chain})
	}
	t.root.st.Supervisor.Rolling = nil
	t.conclude(r, r.result())
}

// stopRolling leaves the remaining agents as they are. Those that are under way
// come up, or not, as any agent does.
func (t *Tree) stopRolling(n *node, why string) {
	r := t.rolling()
	r.By = n.spec.ID
	r.Stopped = n.spec.ID + " did not come up: " + why
	if n.part().Turn == TurnOver {
		r.Stopped = n.spec.ID + " failed after it was restarted: " + why
	}
	left := t.endRolling()
	t.emit(Effect{
		Kind: NoteRollingStopped, Node: n.spec.ID, Incarnation: n.lastEnd().Incarnation, Event: n.st.Cause, Chain: r.Chain,
		Reason: "rolling restart stopped, " + counted(left, "agent") + " left as they are: " + why,
	})
	t.conclude(r, Answer{Result: CannotStart, Reason: r.Stopped})
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
		t.take(n, "")
	}
	t.rolls = nil
	t.touch(t.root)
	return left
}

// startOver makes the rest of a rolling restart that a configuration supersedes part of
// what that begins: it counts, from now on, what is left to be done.
func (t *Tree) startOver(r *Rolling, in *Input) {
	*r = Rolling{ID: in.Token, Max: r.Max, Since: t.now, Reason: r.Reason, Event: r.Event, Chain: r.Chain}
	for _, n := range t.root.agents(nil) {
		switch n.part().Turn {
		case "":
			continue
		case TurnOver:
			t.take(n, "")
			continue
		case TurnNew:
			r.Added++
		}
		r.Total++
	}
	t.touch(t.root)
}

// Leaves reports whether something is left to be mended of what a rolling restart that
// was stopped left behind: the agent that failed does not run and is to, or an agent
// does not run as specified.
func (t *Tree) Leaves(r *Rolling) bool {
	if n := t.nodes[r.By]; n != nil && n.st.Phase != Running && !n.st.Phase.Apart() && !n.terminated() {
		return true
	}
	return slices.ContainsFunc(t.root.agents(nil), (*node).outdated)
}

// result is what becomes of a rolling restart in which every agent has had its turn.
func (r *Rolling) result() Answer {
	switch {
	case r.Failed != "":
		return Answer{Result: NotVerified, Reason: r.Failed}
	case r.Left != "":
		return Answer{Result: Superseded, Reason: r.Left}
	}
	return Answer{Result: OK}
}

// endLeft answers those who wait for a rolling restart that an agent has left. What is
// ordered from now on takes it on, and is not concerned by that.
func (t *Tree) endLeft(in *Input) {
	r := t.rolling()
	if r == nil || r.Stopped != "" || r.Left == "" {
		return
	}
	t.conclude(r, r.result())
	r.ID, r.Applied, r.Failed, r.Left = cmp.Or(in.Token, t.decision), "", "", ""
	t.touch(t.root)
}

// conclude tells those who ask later what became of a rolling restart.
func (t *Tree) conclude(r *Rolling, a Answer) {
	t.tell(r.ID, a)
	t.tell(r.Applied, a)
}

func (t *Tree) tell(token string, a Answer) {
	if a.Token = token; token != "" {
		t.keepAnswer(a)
	}
}
