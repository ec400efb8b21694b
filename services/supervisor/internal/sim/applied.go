package sim

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const (
	// Applied: the configuration in force is the last one that was applied. One
	// that an operator was told is applied stays until another is, and a file that
	// was read before does not undo it. What it does not change is not stopped for
	// it, and the tree is what it says.
	Applied Invariant = "applied"
	// Rolls: no more agents are down for a rolling restart than may be, and it
	// stops none that runs what its specification says, unless all were asked for. It
	// waits for no start of what it is to replace.
	Rolls Invariant = "rolls"
	// Current: at the end every agent runs the build that its specification has,
	// unless an operator left it as it was, and the tree knows which do not.
	Current Invariant = "current"
)

// applied is what the world knows of configurations and rolling restarts.
type applied struct {
	// config is the file that supervisors find, files are all by digest.
	config *file
	files  map[string]*file
	// read holds the digests that supervisors have come with.
	read map[string]bool
	// applications lists the digests that came into force.
	applications []string
	// owed is set while the product must bring every agent up to date: not while an
	// operator has left some as they are, or after a rolling restart was stopped.
	owed bool
	// all is set while agents are restarted whatever they run.
	all bool
	// down are the agents that a rolling restart has stopped and that are not up
	// again, most is how many it may.
	down map[string]uint64
	most int
	// verified are the incarnations that were up and verified last, by agent.
	verified map[string]uint64
	// orders are the causes of rolling restarts.
	orders map[string]bool
	// taken holds what an operator ordered to remove.
	taken map[string]bool
	// requests are those that were submitted, by token.
	requests map[string]*request
	tokens   int
}

func newApplied(specs []*tree.Spec) applied {
	first := &file{digest: "1", specs: specs}
	return applied{config: first, files: map[string]*file{first.digest: first}, read: map[string]bool{}, down: map[string]uint64{}, verified: map[string]uint64{}, orders: map[string]bool{}, taken: map[string]bool{}, requests: map[string]*request{}}
}

// inForce is the file that the log has in force, or nil.
func (w *world) inForce() *file {
	c := w.rootState().Configured
	if c == nil {
		return nil
	}
	return w.files[c.Digest]
}

// rootState is what the log says of the root; empty while there is none.
func (w *world) rootState() *tree.Supervised {
	if n := w.node(w.Specs[0].ID); n != nil && n.State.Supervisor != nil {
		return n.State.Supervisor
	}
	return &tree.Supervised{}
}

// node is what the log says of a node, nil where that is not whole: a broken log may
// lack parts.
func (w *world) node(id string) *tree.Record {
	if n := w.log.truth.tree.Nodes[id]; n != nil && n.Spec != nil && n.State != nil {
		return n
	}
	return nil
}

// decidedConfiguration looks at a decision that was just stored.
func (w *world) decidedConfiguration(parts []*decision) {
	b := parts[0].batch
	if !w.Releases || b == nil {
		return
	}
	for _, o := range b.Orders {
		if o.Kind == tree.DoStart && o.Spec.Agent != nil {
			if a := w.agent(o.Node); a.builds[o.Incarnation] == "" { // else it may have begun
				a.builds[o.Incarnation] = o.Spec.Agent.Build
			}
		}
	}
	w.takenAlong(b.Effects)
	most := w.mayBeDown()
	for _, step := range b.Steps {
		effects := b.EffectsOf(step)
		ok := slices.ContainsFunc(effects, func(e tree.Effect) bool {
			return e.Kind == tree.DoReply && e.Token == step.Token && e.Result == tree.OK
		})
		switch {
		case !ok:
		case step.Kind == tree.Configure:
			if q := w.requests[step.Token]; q != nil && b.Number != q.planned+1 {
				w.broken(Applied, "file %s was planned after decision %d and is decided after %d", q.file.digest, q.planned, b.Number-1)
			}
			if c := step.Configuration; c != nil {
				most = max(most, c.MaxUnavailable)
			}
			w.decidedFile(&step.Input.Input, effects)
		case step.Kind == tree.Order && step.Command == tree.CmdRoll:
			most = max(most, step.Count)
			w.all = w.all || !step.Outdated
			w.owed = w.owed || step.Node == w.Specs[0].ID
		}
		w.rolled(effects, most)
	}
	w.supersedes()
}

// decidedFile checks a configuration that was decided.
func (w *world) decidedFile(in *tree.Input, effects []tree.Effect) {
	c := in.Configuration
	if in.Keep || c == nil {
		if c != nil {
			w.read[c.Digest] = true
		}
		return
	}
	if last := len(w.applications) - 1; last < 0 || w.applications[last] != c.Digest {
		if c.Source != theOperator && w.read[c.Digest] && last >= 0 && !w.forgot {
			w.broken(Applied, "file %s of %s was read before and is applied again, instead of %s", c.Digest, c.Source, w.applications[last])
		}
		w.applications = append(w.applications, c.Digest)
		w.stats.Applied++
		w.owed = c.MaxUnavailable > 0
	}
	if c.Source != theOperator {
		w.read[c.Digest] = true
	}
	f := w.files[c.Digest]
	for id := range w.log.truth.tree.Nodes {
		n := w.node(id)
		if n == nil {
			continue
		}
		// Its start was under way, and may be stopped for the file already.
		begins := n.State.Phase == tree.Starting || n.State.Phase == tree.Stopping && w.verified[id] < n.State.Incarnation
		if a := n.Spec.Agent; a != nil && begins && w.agent(id).builds[n.State.Incarnation] != a.Build {
			w.agent(id).unsure[n.State.Incarnation] = true
		}
	}
	failures := map[string]bool{}
	for _, e := range effects {
		if e.Kind == tree.NoteRestart || e.Kind == tree.NoteGroup || e.Kind == tree.NoteEscalate {
			failures[e.Event] = true
		}
	}
	for _, e := range effects {
		// A removal may end what a failure or an order waited for, which is handled then.
		if e.Kind != tree.DoStop || w.forgot || w.all || failures[e.Event] || w.ordered(e) {
			continue
		}
		if s := f.spec(e.Node); s != nil && s.Template == "" && !w.agent(e.Node).unsure[e.Incarnation] && w.agent(e.Node).builds[e.Incarnation] == s.Agent.Build {
			w.broken(Applied, "file %s does not change %s, and it is stopped for it: %s", c.Digest, e.Node, e.Reason)
		}
	}
}

// ordered reports whether an effect is due to an operator's order about its node, or
// one above it, that is in progress.
func (w *world) ordered(e tree.Effect) bool {
	for n := w.node(e.Node); n != nil; n = w.node(n.Spec.Parent) {
		if c := n.State.Command; c != nil && c.Cause == e.Event {
			return true
		}
	}
	return false
}

// acknowledged is news that an operator was told that a file is applied.
func (w *world) acknowledged(f *file) {
	if !w.forgot && !slices.Contains(w.applications, f.digest) {
		w.broken(Applied, "an operator is told that file %s is applied, which no stored decision says", f.digest)
	}
}

// mayBeDown is how many agents may be down for the rolling restart in a decision, the
// most before and after. Those that are up again are counted no longer.
func (w *world) mayBeDown() int {
	r := w.rootState().Rolling
	for name, n := range w.down {
		if s := w.node(name); !comesUp(s, n) || w.goes(s) {
			delete(w.down, name)
		}
	}
	most := w.most
	if w.most = 0; r != nil && r.Stopped == "" {
		w.most = r.Max
		w.orders[r.Event] = true
	}
	return max(most, w.most)
}

// rolled follows the rolling restart.
func (w *world) rolled(effects []tree.Effect, most int) {
	home := map[string]bool{}
	for _, e := range effects {
		if e.Kind == tree.NoteRunning {
			w.verified[e.Node] = e.Incarnation
		}
		switch n := w.node(e.Node); {
		case e.Kind == tree.NoteRunning && e.Incarnation > w.down[e.Node]:
			delete(w.down, e.Node)
		case e.Kind == tree.NoteReturn:
			home[e.Node] = true
		case e.Kind == tree.NoteRollingStopped:
			w.stats.Stopped++
			clear(w.down)
			w.owed, w.all = false, false
		case e.Kind == tree.NoteRolled:
			w.stats.Rolled++
			w.all = false
		case e.Kind == tree.DoStop && w.orders[e.Event] && !home[e.Node] && n != nil && n.State.Renewal != nil && n.State.Renewal.Turn == tree.TurnNow && e.Reason == n.State.Renewal.Reason:
			if a := w.agent(e.Node); !w.all && !w.forgot && !a.unsure[e.Incarnation] && a.builds[e.Incarnation] == n.Spec.Agent.Build {
				w.broken(Rolls, "%s incarnation %d runs what its specification says and is restarted", e.Node, e.Incarnation)
			}
			if w.verified[e.Node] != e.Incarnation {
				continue // it was not up
			}
			if w.down[e.Node] = e.Incarnation; len(w.down) > most {
				w.broken(Rolls, "%d agents are down for a rolling restart that may have %d down: %v", len(w.down), most, w.down)
			}
		}
	}
}

// supersedes holds a rolling restart to not waiting for the start of what it is to
// replace.
func (w *world) supersedes() {
	if r := w.rootState().Rolling; r == nil || r.Stopped != "" {
		return
	}
	for _, s := range w.log.truth.tree.Nodes {
		if s.Spec == nil || s.State == nil || s.State.Renewal == nil || s.State.Renewal.Turn != tree.TurnWaits || s.State.Renewal.Roll != s.State.Incarnation {
			continue // or it is a newer one already, which a log that lost its tail learns late
		}
		switch s.State.Phase {
		case tree.Starting, tree.Verifying, tree.Unverified:
			if !w.goesDown(s) {
				w.broken(Rolls, "%s incarnation %d is to be replaced, and its start is waited for", s.Spec.ID, s.State.Incarnation)
			}
		}
	}
}

// goesDown reports whether a node is about to be stopped, or removed, with a
// supervisor above it or by itself.
func (w *world) goesDown(n *tree.Record) bool {
	for p := w.node(n.Spec.Parent); p != nil; n, p = p, w.node(p.Spec.Parent) {
		op := p.State.Supervisor.Op
		if n.State.Discarded() || p.State.Phase != tree.Running && p.State.Phase != tree.Starting || op != nil && op.Stage == tree.StageStop {
			return true
		}
	}
	return false
}

// goes reports whether a node is to be removed, by itself or with a supervisor above it:
// it is no longer to be up.
func (w *world) goes(n *tree.Record) bool {
	for ; n != nil; n = w.node(n.Spec.Parent) {
		if n.State.Discarded() {
			return true
		}
	}
	return false
}

// comesUp reports whether an agent whose incarnation was stopped is not up again
// and is to be.
func comesUp(n *tree.Record, stopped uint64) bool {
	if n == nil {
		return false
	}
	switch n.State.Phase {
	case tree.Running:
		return n.State.Incarnation == stopped
	case tree.Starting, tree.Verifying, tree.Stabilising, tree.Unverified, tree.Stopping, tree.Throttled, tree.Unplaced, tree.Waiting:
		return true
	}
	return false
}

// unwellRoll says what is not yet as configured, or nothing.
func (w *world) unwellRoll(s *supervisor) string {
	if !w.Releases {
		return ""
	}
	if f := w.inForce(); f != nil && f.bad() {
		return "the file in force has a build that never comes up"
	}
	if r := s.tree.Rolling(); r != nil && r.Stopped == "" {
		return "a rolling restart is under way"
	}
	if w.mustBeCurrent() || !w.leavesOutdated() {
		for _, id := range s.nodes() {
			if s.tree.Outdated(id) && s.tree.Mode(id) == tree.Enforce && !w.agent(id).left {
				return id + " is outdated"
			}
		}
	}
	return ""
}

// mustBeCurrent reports whether the product must bring every agent up to date: not
// those that were not enforced when others were, nor what the log has lost.
func (w *world) mustBeCurrent() bool {
	return w.owed && !w.forgot && !slices.ContainsFunc(w.Faults, func(f Fault) bool { return f.Kind == ChangeMode }) &&
		!slices.ContainsFunc(w.Specs, func(s *tree.Spec) bool { return s.Mode != nil })
}

// leavesOutdated tells whether the operator is content with agents that run what
// they did.
func (w *world) leavesOutdated() bool { return w.Seed%3 == 0 }

// rollOn ends what an operator would end: builds that never come up, and agents
// left outdated.
func (w *world) rollOn(s *supervisor) {
	if !w.Releases {
		return
	}
	f := w.inForce()
	switch r := s.tree.Rolling(); {
	case f != nil && f.bad():
		w.apply(w.mended(f), 1+int(w.Seed%3), false)
	case r != nil && r.Stopped == "" || w.mustBeCurrent() || w.leavesOutdated():
	case slices.ContainsFunc(s.nodes(), s.tree.Outdated):
		w.operate(Fault{At: time.Duration(w.now - epoch), Command: tree.CmdRoll, Node: s.tree.Root(), Outdated: true, Count: 1 + int(w.Seed%3)})
	}
}

// settledConfiguration compares, at the end, what is in force with what runs.
func (w *world) settledConfiguration(s *supervisor) {
	if !w.Releases || w.forgot {
		return
	}
	f := w.inForce()
	if f == nil {
		f = &file{}
	}
	if len(w.applications) == 0 || w.applications[len(w.applications)-1] != f.digest {
		w.broken(Applied, "the configuration in force is %v; decided were %v", f.digest, w.applications)
		return
	}
	for _, want := range f.specs {
		spec, _, ok := s.tree.Lookup(want.ID)
		switch {
		case want.Template != "" || w.agent(want.ID).left:
		case !ok && !w.takenAway(f, want):
			w.broken(Applied, "file %s has %s, and the tree does not", f.digest, want.ID)
		case ok && want.Agent != nil && !spec.Dynamic && spec.Agent.Build != want.Agent.Build: // else an operator added it
			w.broken(Applied, "file %s has %s as %s, and the tree as %s", f.digest, want.ID, want.Agent.Build, spec.Agent.Build)
		}
	}
	for _, id := range s.nodes() {
		spec, st, _ := s.tree.Lookup(id)
		if !spec.Dynamic && spec.Template == "" && f.spec(id) == nil {
			w.broken(Applied, "the tree has %s, and file %s does not", id, f.digest)
		}
		if spec.Agent == nil || st.Phase != tree.Running || w.agent(id).left {
			continue
		}
		a := w.agent(id)
		if runs, outdated := a.builds[st.Incarnation], s.tree.Outdated(id); (runs != spec.Agent.Build) != outdated && !(outdated && a.unsure[st.Incarnation]) {
			w.broken(Current, "%s runs %s, is specified as %s, and counts as outdated: %t", id, runs, spec.Agent.Build, outdated)
		}
	}
}

// takenAlong notes what is removed together with what an operator removes: also what
// was moved there.
func (w *world) takenAlong(effects []tree.Effect) {
	removed := func(e tree.Effect) bool { return e.Kind == tree.NoteRemove }
	if !slices.ContainsFunc(effects, func(e tree.Effect) bool { return removed(e) && w.taken[e.Node] }) {
		return
	}
	for _, e := range effects {
		if removed(e) {
			w.taken[e.Node] = true
		}
	}
}

// takenAway reports whether an operator ordered to remove a node or one above it.
func (w *world) takenAway(f *file, s *tree.Spec) bool {
	for ; s != nil; s = f.spec(s.Parent) {
		if w.taken[s.ID] {
			return true
		}
	}
	return false
}
