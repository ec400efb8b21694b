package tree

import (
	"maps"
	"slices"
)

// Tree is a supervision tree in memory. It is not safe for concurrent use.
type Tree struct {
	opt   Options
	nodes map[string]*node
	root  *node
	tombs map[string]uint64
	// seq orders what waits in the supervisors' queues.
	seq    uint64
	timers timers
	// hasModes is set once any node has, or had, a mode of its own.
	hasModes bool
	// changes counts calls of mark.
	changes uint64
	dirty   []*node
	// settle holds supervisors that may have something to do next.
	settle   []*node
	unplaced []*node
	// throttled are the restarts that wait for budget, in order; refill is
	// the earliest instant at which one of them may have it.
	throttled []waiter
	refill    Instant
	// rolls are the agents that the rolling restart is for; nil when that is not
	// known.
	rolls   *parts
	runners []Runner
	// leaving are the nodes that are being removed since they are no longer
	// configured, and some that were; holds is set while an agent waits for their end.
	leaving map[*node]struct{}
	holds   bool
	// gathering and lingering hold starts back, see [Input].
	gathering bool
	lingering map[string][]string
	load      map[string]int
	// active counts agents that run and are verified.
	active int
	// now, out and decision belong to the step in progress, and what its input
	// gives as the cause of what it begins.
	now      Instant
	out      []Effect
	decision string
	story    Story
	// over are the highest incarnations that ended and that the log does not know, by
	// agent. They are not part of the state.
	over map[string]uint64
	// resuming is set while the step starts the root because its process does.
	resuming bool
}

// node is a place in the tree.
type node struct {
	spec   *Spec
	st     State
	parent *node
	*children
	dirty   dirt
	removed bool
	// listed is set while it is in the tree's list of unplaced agents.
	listed bool
	// past is nil as long as nothing has happened.
	past *history
}

// children is what a supervisor knows of its children. Agents, of which there are
// many more, share an empty one that nobody writes to.
type children struct {
	// kids are ordered by rank.
	kids []*node
	// queue holds ended children and commands that wait.
	queue []queued
	// coming counts children whose start has begun, stopping those that are
	// Stopping.
	coming, stopping int
	// trims is set while children that are to be removed may have to be stopped.
	trims bool
	// unsettled counts the children that are [node.moving].
	unsettled int
}

var noChildren = &children{}

func newNode(s *Spec) *node {
	n := &node{spec: s, children: noChildren}
	if s.Supervisor != nil {
		n.children = &children{}
	}
	return n
}

type queued struct {
	n   *node
	seq uint64
}

type dirt uint8

const (
	dirtyState dirt = 1 << iota
	dirtySpec
)

// New gives an empty tree.
func New(opt Options) *Tree {
	return &Tree{opt: opt, nodes: map[string]*node{}, tombs: map[string]uint64{}, load: map[string]int{}, leaving: map[*node]struct{}{}, over: map[string]uint64{}}
}

// Snapshot gives the whole tree as data. It shares specs and histories with
// the tree and must not be changed.
func (t *Tree) Snapshot() Snapshot {
	s := Snapshot{Nodes: make(map[string]*Record, len(t.nodes)), Tombstones: maps.Clone(t.tombs)}
	for id, n := range t.nodes {
		s.Nodes[id] = n.record()
	}
	return s
}

// Changes appends to dst what changed since it was last called.
func (t *Tree) Changes(dst []Change) []Change {
	dst = slices.Grow(dst, len(t.dirty))
	for _, n := range t.dirty {
		c := Change{ID: n.spec.ID}
		switch {
		case n.removed:
			c.Removed, c.Tombstone = true, n.st.Incarnation
		default:
			if n.dirty&dirtySpec != 0 {
				c.Spec = n.spec
			}
			c.State = n.st.clone()
			c.Failures, c.Restarts = n.past.untold()
		}
		n.dirty = 0
		dst = append(dst, c)
	}
	t.dirty = t.dirty[:0]
	return dst
}

// Dirty tells how many nodes changed since Changes was last called.
func (t *Tree) Dirty() int { return len(t.dirty) }

// Len is the number of nodes.
func (t *Tree) Len() int { return len(t.nodes) }

// Next gives the instant of the next due Tick, if any.
func (t *Tree) Next() (Instant, bool) {
	due, ok := t.nextTimer()
	if t.refill > 0 && (!ok || t.refill < due) {
		due, ok = t.refill, true
	}
	if removal, waits := t.removalDue(); waits && (!ok || removal < due) {
		return removal, true
	}
	return due, ok
}

func (t *Tree) nextTimer() (Instant, bool) {
	for len(t.timers) > 0 {
		top := t.timers[0]
		if !top.n.removed && top.n.due() == top.due {
			return top.due, true
		}
		t.timers.Pop()
	}
	return 0, false
}

// Lookup gives what is known of a node. The state is a copy.
func (t *Tree) Lookup(id string) (*Spec, State, bool) {
	n := t.nodes[id]
	if n == nil {
		return nil, State{}, false
	}
	return n.spec, *n.st.clone(), true
}

// Names returns the names of all nodes, in no order.
func (t *Tree) Names() []string { return slices.Collect(maps.Keys(t.nodes)) }

// Has tells whether there is a node of that name.
func (t *Tree) Has(id string) bool { return t.nodes[id] != nil }

// Root is the name of the root, empty for an empty tree.
func (t *Tree) Root() string {
	if t.root == nil {
		return ""
	}
	return t.root.spec.ID
}

// Children gives the names of a node's children in start order.
func (t *Tree) Children(id string) []string {
	n := t.nodes[id]
	if n == nil {
		return nil
	}
	out := make([]string, 0, len(n.kids))
	for _, c := range n.arranged() {
		out = append(out, c.spec.ID)
	}
	return out
}

// ChildAt is the child of a supervisor that has a rank, or "".
func (t *Tree) ChildAt(id string, rank int64) string {
	if n := t.nodes[id]; n != nil {
		if c := n.after(rank - 1); c != nil && c.spec.Rank == rank {
			return c.spec.ID
		}
	}
	return ""
}

// History gives a node's failures and restarts, oldest first.
func (t *Tree) History(id string) (failures, restarts []Entry) {
	n := t.nodes[id]
	if n == nil {
		return nil, nil
	}
	return n.past.remembered()
}

func (t *Tree) touch(n *node) { t.mark(n, dirtyState) }

// Revision is another one after each change. It is never 0.
func (t *Tree) Revision() uint64 { return t.changes + 1 }

func (t *Tree) mark(n *node, d dirt) {
	t.changes++
	if n.dirty == 0 {
		t.dirty = append(t.dirty, n)
	}
	n.dirty |= d
}

func (t *Tree) emit(e Effect) { t.out = append(t.out, e) }

// note emits an effect about a node that belongs to the node's story.
func (t *Tree) note(n *node, e Effect) {
	e.Node, e.Event, e.Chain = n.spec.ID, n.st.Cause, n.st.Chain
	t.emit(e)
}

// settleLater makes the step in progress look at a supervisor before it ends.
func (t *Tree) settleLater(p *node) { t.settle = append(t.settle, p) }

// setPhase moves a node on and keeps what is derived from phases right. How it
// ended is forgotten when it is no longer down, and its failures when it has run
// for long enough.
func (t *Tree) setPhase(n *node, phase Phase, why string) {
	if n.runs() {
		t.steady(n)
	}
	was, moved, occupied := n.st.Phase, n.moving(), n.occupies()
	if n.parent != nil && n.waits() {
		t.settleLater(n.parent) // its group may have waited for its delay
	}
	n.st.Phase, n.st.Why, n.st.Since = phase, why, t.now
	n.st.Wait = Wait{}
	if !phase.ends() {
		n.st.End = ""
	}
	if phase != Idle && phase != Gone && phase != Stopping {
		t.forgetDown(n)
	}
	t.touch(n)
	if n.parent != nil {
		t.countPhases(n.parent, was, phase)
		t.countMoving(n, moved)
	}
	if n.spec.Agent == nil {
		return
	}
	if n.st.Renewal != nil {
		t.rolls.note(n)
	}
	if occupied && !n.occupies() {
		t.load[n.st.Runner]--
	}
	if was == Running {
		t.active--
	}
	if phase == Running {
		t.active++
	}
}

// countPhases keeps a supervisor's counts right when a child's phase changes. A
// count that becomes 0 may end the supervisor's operation.
func (t *Tree) countPhases(p *node, was, phase Phase) {
	if was.coming() != phase.coming() {
		if phase.coming() {
			p.coming++
		} else if p.coming--; p.coming == 0 {
			t.settleLater(p)
		}
	}
	if (was == Stopping) != (phase == Stopping) {
		if phase == Stopping {
			p.stopping++
		} else if p.stopping--; p.stopping == 0 {
			t.settleLater(p)
		}
	}
}

// arm makes a node's wait end at due.
func (t *Tree) arm(n *node, due Instant) {
	n.st.Due = due
	t.touch(n)
	t.timers.Push(timer{due, n})
}

// due is when a node wants to be looked at, or 0.
func (n *node) due() Instant {
	if op := n.op(); op != nil && op.Stage == StageWait {
		if n.suspended() {
			return 0
		}
		return op.Due
	}
	switch n.st.Phase {
	case Waiting, Isolated, Claiming, Foreign:
		if n.parent.suspended() {
			return 0
		}
		return n.st.Due
	case Verifying, Stabilising, Unplaced:
		return n.st.Due
	}
	return 0
}

// op is what a supervisor is doing with its children, or nil. A nil supervisor does
// nothing.
func (n *node) op() *Operation {
	if n == nil || n.st.Supervisor == nil {
		return nil
	}
	return n.st.Supervisor.Op
}

// Active is the number of agents that run and are verified.
func (t *Tree) Active() int { return t.active }
