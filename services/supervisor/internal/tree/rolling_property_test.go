package tree

import (
	"slices"

	"pgregory.net/rapid"
)

// configure gives the tree an edited file: other builds and restart types, another
// auto_shutdown, agents that are gone, under another supervisor or have another name;
// or the former one.
func (w *world) configure(specs []*Spec) {
	t := w.t
	c := &Configuration{Source: "f", Digest: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "digest"), MaxUnavailable: rapid.IntRange(0, 2).Draw(t, "unavailable")}
	if rapid.IntRange(0, 9).Draw(t, "keeps") == 0 {
		w.step(Input{Kind: Configure, Keep: true, Boot: rapid.Bool().Draw(t, "boots"), Configuration: c})
		return
	}
	edited := slices.Clone(specs)
	for range rapid.IntRange(0, 3).Draw(t, "edits") {
		i := rapid.IntRange(0, len(edited)-1).Draw(t, "edited")
		s := *edited[i]
		if s.Parent != "" && rapid.Bool().Draw(t, "has another type") {
			s.Restart = rapid.SampledFrom([]Restart{Permanent, Transient, Temporary}).Draw(t, "restart")
		}
		if s.Agent == nil {
			sup := *s.Supervisor
			sup.AutoShutdown = rapid.SampledFrom([]AutoShutdown{sup.AutoShutdown, Never}).Draw(t, "auto")
			s.Supervisor = &sup
			edited[i] = &s
			continue
		}
		if rapid.IntRange(0, 2).Draw(t, "is gone") == 0 {
			edited = slices.Delete(edited, i, i+1)
			continue
		}
		a := *s.Agent
		a.Build = rapid.SampledFrom([]string{"", "b1", "b2"}).Draw(t, "build")
		s.Agent = &a
		if rapid.Bool().Draw(t, "is moved") {
			to := rapid.SampledFrom(specs).Draw(t, "to")
			if to.Supervisor != nil {
				s.Parent, s.Significant = to.ID, false
			}
		}
		if rapid.IntRange(0, 3).Draw(t, "is renamed") == 0 {
			s.ID += "'"
		}
		edited = append(slices.Delete(edited, i, i+1), &s)
	}
	auto := map[string]AutoShutdown{}
	for i, s := range edited {
		if s.Supervisor != nil {
			auto[s.ID] = s.Supervisor.AutoShutdown
		} else if s.Significant && (s.Restart == Permanent || auto[s.Parent] == Never) {
			other := *s
			other.Significant = false
			edited[i] = &other
		}
	}
	i, j := rapid.IntRange(0, len(edited)-1).Draw(t, "changes places"), rapid.IntRange(0, len(edited)-1).Draw(t, "with")
	if a, b := edited[i], edited[j]; a.Agent != nil && b.Agent != nil && a.Parent == b.Parent {
		edited[i], edited[j] = b, a
	}
	for _, e := range w.applies(Input{Kind: Configure, Specs: edited, Boot: rapid.Bool().Draw(t, "boots"), Configuration: c, Token: w.token()}) {
		if e.Refuses() {
			return
		}
	}
	w.reconsidered()
}

// reconsidered fails when a configuration leaves a node down that is to run by its
// restart type.
func (w *world) reconsidered() {
	for id, n := range w.tree.nodes {
		if n.st.Phase == Gone && n.spec.Restart != Temporary {
			w.t.Fatalf("%s is %s and %s", id, n.spec.Restart, n.st.Phase)
		}
		if n.parent != nil && n.parent.up() && n.spec.Restart == Permanent && n.st.Phase == Idle && n.st.End == EndFinished {
			w.t.Fatalf("%s is permanent, and left down: %s", id, n.st.Why)
		}
	}
}

// applies gives the tree a configuration, and fails unless it supersedes the rollout
// under way exactly if it replaces something of that.
func (w *world) applies(in Input) []Effect {
	runs := map[string]string{}
	was, answered := w.tree.Rolling(), false
	if was != nil {
		_, answered = w.tree.Answered(was.Applied) // another order, under the same token
	}
	for id, n := range w.tree.nodes {
		if n.part().Turn != "" {
			runs[id] = n.spec.Agent.Build
		}
	}
	w.successions.begin(w, &in)
	effects := w.step(in)
	if was == nil || was.Stopped != "" || was.Applied == "" || was.Applied == in.Token || answered {
		return effects
	}
	replaced := ""
	for id, build := range runs {
		if n := w.tree.nodes[id]; n == nil || n.goes() || build != "" && n.spec.Agent.Build != "" && n.spec.Agent.Build != build {
			replaced = id
		}
	}
	for _, id := range was.Ending {
		if n := w.tree.nodes[id]; n != nil && !n.goes() {
			replaced = id // it was to end
		}
	}
	a, over := w.tree.Answered(was.Applied)
	switch now := w.tree.rolling(); {
	case over && a.Result == Superseded && a.Reason == whyReplaced && replaced == "":
		w.t.Fatalf("rollout %s is superseded, though none of %v was replaced", was.Applied, runs)
	case replaced != "" && (!over || a.Result != Superseded):
		w.t.Fatalf("rollout %s goes on, though %s was replaced: %+v", was.Applied, replaced, a)
	case !over && (now == nil || now.Applied != was.Applied):
		w.t.Fatalf("rollout %s is forgotten: %+v", was.Applied, now)
	}
	return effects
}

// bounded fails when a rolling restart has more agents down than it may.
func (w *world) bounded() {
	turns, down, fell := map[Turn]int{}, 0, ""
	for id, n := range w.tree.nodes {
		turn := n.part().Turn
		turns[turn]++
		if turn != "" && turn != TurnNew && n.st.Phase != Running { // new ones bound nothing
			down++
		}
		if turn == TurnNow && n.st.Phase == Stopping && w.served[id] {
			fell = id // it was up before this step
		}
		w.served[id] = n.st.Phase == Running
	}
	r := w.tree.Rolling()
	if r == nil {
		return
	}
	if r.Done > r.Total || r.Stopped != "" && len(turns) > 1 || r.Stopped == "" && r.Total-r.Done != turns[TurnWaits]+turns[TurnNow]+turns[TurnTried]+turns[TurnNew] {
		w.t.Fatalf("turns %v, and the rolling restart is %+v", turns, r)
	}
	if fell != "" && down > r.Max {
		w.t.Fatalf("%s is stopped, and %d are down: %+v", fell, down, r)
	}
}

// supersedes fails when a rolling restart waits for the start of what it is to replace.
func (w *world) supersedes() {
	r := w.tree.rolling()
	if r == nil || r.Stopped != "" {
		return
	}
	for id, n := range w.tree.nodes {
		if n.part().Turn != TurnWaits || !n.parent.up() || n.parent.stops(n) || n.goes() {
			continue
		}
		switch n.st.Phase {
		case Starting, Verifying, Unverified:
			w.t.Fatalf("%s is %s, is to be replaced, and is not: %+v", id, n.st.Phase, r)
		}
	}
}

// checkRolling holds what rests to what rolling restarts promise: they are over
// or stopped, and an agent is outdated exactly if it runs another build than
// its specification has.
func (w *world) checkRolling() {
	if r := w.tree.Rolling(); r != nil && r.Stopped == "" {
		w.t.Fatalf("the rolling restart never ends: %+v", r)
	}
	for id, n := range w.tree.nodes {
		if s := n.st.Supervisor; s != nil && len(s.Order) > 0 {
			w.t.Fatalf("the children of %s still wait for the order %v", id, s.Order)
		}
		if turn := n.part().Turn; turn == TurnWaits || turn == TurnNow || turn == TurnTried {
			w.t.Fatalf("%s still waits to be restarted: %s", id, turn)
		}
		if n.spec.Agent == nil || n.st.Phase != Running {
			continue
		}
		runs, says := w.builds[Replaced{id, n.st.Incarnation}], n.spec.Agent.Build
		if known := runs != "" && says != ""; known && n.outdated() != (runs != says) {
			w.t.Fatalf("%s runs %q, is specified as %q, and is outdated: %t", id, runs, says, n.outdated())
		}
	}
}

// departures holds the rollouts of configurations that agents have left before they were
// verified, by what names them: none of these may be said to be done.
type departures struct {
	applied string
	parts   map[string]Turn
	left    map[string]string
}

func (d *departures) begin(t *Tree, in *Input) {
	d.applied, d.parts = "", map[string]Turn{}
	if in.Kind == Configure {
		delete(d.left, in.Token) // a token that is given again names another
	}
	if r := t.rolling(); r != nil && r.Stopped == "" && r.Applied != in.Token { // else it is answered twice
		d.applied = r.Applied
	}
	for id, n := range t.nodes {
		if turn := n.part().Turn; turn != "" && turn != TurnOver {
			d.parts[id] = turn
		}
	}
}

// wrong says which rollout is said to be done, though an agent has left it.
func (d *departures) wrong(t *Tree, effects []Effect) string {
	if d.applied == "" {
		return ""
	}
	if d.left == nil {
		d.left = map[string]string{}
	}
	for id := range d.parts {
		n := t.nodes[id]
		fulfilled := n != nil && (n.st.Phase == Running || n.st.End == EndCompleted || n.st.End == EndFinished || n.part().Turn != "" && n.part().Turn != TurnOver)
		for _, e := range effects {
			fulfilled = fulfilled || e.Node == id && (e.Kind == NoteRunning || e.Kind == NoteFinished)
		}
		if !fulfilled {
			d.left[d.applied] = id
		}
	}
	if r := t.rolling(); r != nil && r.Applied == d.applied {
		return ""
	}
	id := d.left[d.applied]
	delete(d.left, d.applied)
	answers := t.root.st.Supervisor.Answers
	for i := len(answers) - 1; i >= 0; i-- {
		if a := answers[i]; a.Token == d.applied {
			if id != "" && a.Result == OK {
				return "rollout " + d.applied + " is done, though " + id + " has left it before it was verified"
			}
			break
		}
	}
	return ""
}
