package sim

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Invariant names a promise that is checked all the time.
type Invariant string

// Invariants.
const (
	// OneLives: there are never two live processes of one agent.
	OneLives Invariant = "one lives"
	// Logged: what is ordered was decided in a stored decision before.
	Logged Invariant = "logged"
	// Growing: incarnations only grow, in decisions and in starts.
	Growing Invariant = "growing"
	// Replay: the fold of the log is the leader's tree, and what a successor
	// reads.
	Replay Invariant = "replay"
	// DeadFirst: when a start is decided, no older process lives, and none
	// whose end was decided upon ever begins.
	DeadFirst Invariant = "dead first"
	// Prompt: what comes is decided upon, and what is decided is ordered, with
	// no other wait than for the log and for the same agent's last command; so
	// no subtree delays another.
	Prompt Invariant = "prompt"
	// Blame: an agent is charged only with what it did itself, or what somebody
	// concluded of it: not with the end of its host, the loss of its runner's
	// container, or want of what a host should have.
	Blame Invariant = "blame"
	// Recovers: within patienceAfter of the last fault every permanent child
	// of a supervisor that has not given up runs, and nothing else does.
	Recovers Invariant = "recovers"
)

// Violation is a broken promise.
type Violation struct {
	Invariant Invariant
	// At is when, since the beginning.
	At   time.Duration
	What string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("invariant %q broken after %s: %s", string(v.Invariant), v.At, v.What)
}

// broken ends the run, unless only other invariants are of interest.
func (w *world) broken(i Invariant, format string, args ...any) {
	if w.violation != nil || w.opt.Only != "" && w.opt.Only != i {
		return
	}
	w.violation = &Violation{i, time.Duration(w.now - epoch), fmt.Sprintf(format, args...)}
	w.say("VIOLATION", "%s: %s", i, w.violation.What)
}

// tell adds a line that needs no formatting.
func (w *world) tell(who, line string) { w.say(who, "%s", line) }

// checker measures how long supervisors wait for what they may wait for.
type checker struct {
	waits map[*supervisor]*waits
}

// waits are those of one supervisor: for the log or in a pause, and in pauses
// alone.
type waits struct {
	depth       int
	since       tree.Instant
	total       time.Duration
	pausedSince tree.Instant
	paused      time.Duration
}

func newChecker() checker { return checker{waits: map[*supervisor]*waits{}} }

func (c *checker) of(s *supervisor) *waits {
	x := c.waits[s]
	if x == nil {
		x = &waits{}
		c.waits[s] = x
	}
	return x
}

// hold and release enclose what a supervisor may wait for.
func (c *checker) hold(s *supervisor) {
	x := c.of(s)
	if x.depth++; x.depth == 1 {
		x.since = s.w.now
	}
	if s.paused && x.pausedSince == 0 {
		x.pausedSince = s.w.now
	}
}

func (c *checker) release(s *supervisor) {
	x := c.of(s)
	if x.depth--; x.depth == 0 {
		x.total += time.Duration(s.w.now - x.since)
	}
	if !s.paused && x.pausedSince > 0 {
		x.paused += time.Duration(s.w.now - x.pausedSince)
		x.pausedSince = 0
	}
}

// reborn forgets the waits of a life that has ended.
func (c *checker) reborn(s *supervisor) { delete(c.waits, s) }

func (c *checker) held(s *supervisor) time.Duration {
	x := c.of(s)
	if x.depth > 0 {
		return x.total + time.Duration(s.w.now-x.since)
	}
	return x.total
}

func (c *checker) stood(s *supervisor) time.Duration { return c.of(s).paused }

// promptness is what Prompt allows: nothing, but rounding.
const promptness = time.Millisecond

// consumed checks that an input waited for nothing but the log.
func (c *checker) consumed(s *supervisor, a *arrival) {
	if late := time.Duration(s.w.now-a.posted) - (c.held(s) - a.held); late > promptness && s.mode == leading {
		s.w.broken(Prompt, "%s left %s of %s aside for %s", s.name, a.Kind, a.Node, late)
	}
}

// departs checks that a command waited for nothing but the same agent's last.
func (c *checker) departs(s *supervisor, cmd *command) {
	from := cmd.Carrier.from
	if freed := s.freed[cmd.Node]; freed.at > from.at {
		from = freed
	}
	if late := time.Duration(s.w.now-from.at) - (c.stood(s) - from.stood); late > promptness {
		s.w.broken(Prompt, "%s ordered %s of %s %s late", s.name, cmd.Kind, cmd.Node, late)
	}
}

// ordered checks that a command was decided.
func (c *checker) ordered(s *supervisor, cmd *command) {
	a := s.w.agent(cmd.Node)
	if !slices.Contains(a.logged[effectKey{cmd.Kind, cmd.Incarnation}], cmd.Runner) {
		s.w.broken(Logged, "%s orders %s of %s incarnation %d at %s, which no stored decision holds", s.name, cmd.Kind, cmd.Node, cmd.Incarnation, cmd.Runner)
	}
}

// decided looks at a decision that has just been stored, before anybody knows.
func (w *world) decided(parts []*decision) {
	w.decidedConfiguration(parts)
	w.decidedModes(parts)
	w.decidedCauses(parts)
	w.decidedRests(parts)
	w.countPlaces(parts)
	for _, d := range parts {
		for _, e := range d.effects {
			if e.Kind.Ordered() {
				logged, key := w.agent(e.Node).logged, effectKey{e.Kind, e.Incarnation}
				logged[key] = append(logged[key], e.Runner)
			}
			w.blamed(e)
		}
		if w.telling() {
			w.tellDecision(d)
		}
		for _, c := range d.changes {
			if c.State != nil && c.State.Supervisor == nil {
				w.decidedUpon(w.agent(c.ID), c.State)
			}
		}
	}
}

// blamed checks that a supervisor does not give up or escalate, and sets nobody
// apart, while no agent has failed.
func (w *world) blamed(e tree.Effect) {
	switch e.Kind {
	case tree.NoteGiveUp, tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteIsolate:
	default:
		return
	}
	for _, a := range w.agents {
		if a.own > 0 {
			return
		}
	}
	if slices.ContainsFunc(w.Specs, func(n *tree.Spec) bool { return n.Significant }) {
		return // whatever ends it ends its supervisor
	}
	w.broken(Blame, "%s of %s, and no agent has failed: %s", e.Kind, e.Node, e.Reason)
}

func (w *world) decidedUpon(a *agent, st *tree.State) {
	n := st.Incarnation
	switch {
	case n < a.decided:
		w.broken(Growing, "a decision takes %s back from incarnation %d to %d", a.name, a.decided, n)
	case n > a.decided:
		a.decided = n
		if f := a.doom; f != nil {
			a.doom, a.lag = nil, a.r.between(1, 4*time.Second)
			w.after(a.r.between(0, 50*time.Millisecond), func() { w.strike(*f) })
		}
		for _, p := range a.live {
			if a.left || p.forgotten {
				p.forgotten = p.forgotten && !(p.incarnation == n && st.Phase.Up())
				continue
			}
			w.broken(DeadFirst, "incarnation %d of %s is started while %d lives", n, a.name, p.incarnation)
		}
	case st.Phase == tree.Starting && (a.phase.Down() || a.phase == tree.Stopping):
		w.broken(Growing, "incarnation %d of %s is started again, after phase %s", n, a.name, a.phase)
	}
	a.phase = st.Phase
	if st.Phase == tree.Watched {
		a.own++ // what others do with it is charged to nobody but the proposals
	}
	if i := st.Isolation; a.own == 0 && (st.Attempts > 0 || i != nil && (len(i.Window) > 0 || i.Rounds > 0)) {
		w.broken(Blame, "%s is charged with a failure (%s) and had none of its own", a.name, st.Why)
	}
}

func (w *world) tellDecision(d *decision) {
	w.say("log", "stores %d: decision %d of %s, cursor %d, part %d", w.log.last(), d.number, d.supervisor, d.cursor, d.part+1)
	for _, e := range d.effects {
		w.say("", "  %s %s incarnation %d %s", e.Kind, e.Node, e.Incarnation, e.Reason)
	}
	for _, c := range d.changes {
		switch {
		case c.Removed:
			w.say("", "  - %s is removed", c.ID)
		case c.State.Supervisor != nil && c.State.Supervisor.Op != nil:
			w.say("", "  - %s: %s %s, %+v", c.ID, c.State.Phase, c.State.Why, *c.State.Supervisor.Op)
		default:
			w.say("", "  - %s: %s %d at %s %s", c.ID, c.State.Phase, c.State.Incarnation, c.State.Runner, c.State.Why)
		}
	}
}

// spawned looks at a process that is about to begin.
func (c *checker) spawned(w *world, p *process) {
	a := p.agent
	if a.left {
		return
	}
	c.placed(w, p)
	if a.foreign != nil && a.foreign.alive {
		w.broken(Alone, "incarnation %d of %s begins at %s while it runs elsewhere", p.incarnation, a.name, p.runner.name)
	}
	for _, o := range a.live {
		w.broken(OneLives, "incarnation %d of %s begins at %s while %d lives at %s", p.incarnation, a.name, p.runner.name, o.incarnation, o.runner.name)
	}
	if _, ok := a.logged[effectKey{tree.DoStart, p.incarnation}]; !ok {
		w.broken(Logged, "incarnation %d of %s begins, which no stored decision started", p.incarnation, a.name)
	}
	if p.incarnation < a.decided || !w.forgot && a.phase.Down() {
		w.broken(DeadFirst, "incarnation %d of %s begins after its end: the last decided is %d, %s", p.incarnation, a.name, a.decided, a.phase)
	}
	if p.incarnation <= a.spawned && !w.forgot { // what an added agent was up to may be lost with it
		w.broken(Growing, "incarnation %d of %s begins after %d", p.incarnation, a.name, a.spawned)
	}
}

// loaded compares what a supervisor reads with all that was ever decided.
func (c *checker) loaded(s *supervisor, st *stored) {
	truth := &s.w.log.truth
	switch {
	case st.number != truth.number || st.cursor < truth.cursor: // a snapshot may know of more that changed nothing
		s.w.broken(Replay, "%s reads decision %d and cursor %d; the last is %d and %d", s.name, st.number, st.cursor, truth.number, truth.cursor)
	case !reflect.DeepEqual(st.tree.Tombstones, truth.tree.Tombstones) && len(st.tree.Tombstones)+len(truth.tree.Tombstones) > 0:
		s.w.broken(Replay, "%s reads tombstones %v; the log holds %v", s.name, st.tree.Tombstones, truth.tree.Tombstones)
	case len(st.tree.Nodes) != len(truth.tree.Nodes):
		s.w.broken(Replay, "%s reads %d nodes; the log holds %d", s.name, len(st.tree.Nodes), len(truth.tree.Nodes))
	}
	other := first(truth.tree.Nodes, func(id string, r *tree.Record) bool {
		read := st.tree.Nodes[id]
		return read == nil || read.Spec != r.Spec || !sameState(read.State, r.State) ||
			len(read.Failures) != len(r.Failures) || len(read.Restarts) != len(r.Restarts)
	})
	if other != "" {
		s.w.broken(Replay, "%s reads another %s than the log holds", s.name, other)
	}
}

// replayed compares the fold of the log with a leader's tree, when its decision
// is the last.
func (c *checker) replayed(s *supervisor) {
	l := s.w.log
	if !s.follows(s.last) || s.doubts { // the place may be another message's by now
		return
	}
	if number := s.leader.Number(); number != l.truth.number || s.leader.Cursor() > l.truth.cursor || s.tree.Len() != len(l.truth.tree.Nodes) {
		s.w.broken(Replay, "%s has decision %d and %d nodes; the log has %d and %d", s.name, number, s.tree.Len(), l.truth.number, len(l.truth.tree.Nodes))
		return
	}
	other := first(l.truth.tree.Nodes, func(id string, r *tree.Record) bool {
		spec, st, ok := s.tree.Lookup(id)
		return !ok || spec != r.Spec || !sameState(&st, r.State)
	})
	if other != "" {
		_, st, _ := s.tree.Lookup(other)
		live, _ := json.Marshal(st)
		logged, _ := json.Marshal(l.truth.tree.Nodes[other].State)
		s.w.broken(Replay, "%s has %s as %s; the log has %s", s.name, other, live, logged)
	}
}

// first gives the first name, in order, of which something holds, or none.
func first(nodes map[string]*tree.Record, holds func(id string, r *tree.Record) bool) string {
	found := ""
	for id, r := range nodes {
		if (found == "" || id < found) && holds(id, r) {
			found = id
		}
	}
	return found
}

// sameState compares states without the cost of reflection.
func sameState(a, b *tree.State) bool {
	x, y := *a, *b
	x.Command, y.Command, x.Supervisor, y.Supervisor = nil, nil, nil, nil
	x.Mode, y.Mode, x.Renewal, y.Renewal = nil, nil, nil, nil
	if !reflect.DeepEqual(a.Mode, b.Mode) || !reflect.DeepEqual(a.Renewal, b.Renewal) || x != y || (a.Command == nil) != (b.Command == nil) || (a.Supervisor == nil) != (b.Supervisor == nil) {
		return false
	}
	if a.Command != nil && !reflect.DeepEqual(a.Command, b.Command) {
		return false
	}
	return a.Supervisor == nil || reflect.DeepEqual(withoutEmpty(*a.Supervisor), withoutEmpty(*b.Supervisor))
}

// withoutEmpty makes no difference between no restarts and an empty list.
func withoutEmpty(s tree.Supervised) tree.Supervised {
	if len(s.Window) == 0 {
		s.Window = nil
	}
	if len(s.Proposed) == 0 {
		s.Proposed = nil
	}
	return s
}
