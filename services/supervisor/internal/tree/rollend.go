package tree

// finishRolling ends a rolling restart in which every agent has had its turn.
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
