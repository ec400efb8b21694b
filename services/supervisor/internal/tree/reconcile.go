package tree

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// Held is an incarnation in a runner's records.
type Held struct {
	Agent       string
	Incarnation uint64
	PID         int
	State       HeldState
	// Ours says that it was started for this tree.
	Ours bool
	// Reason says how it ended, and Event is the event that reports that.
	Reason, Event string
}

// HeldState is what a runner's records say of an incarnation.
type HeldState uint8

// States of what a runner has.
const (
	HeldRunning HeldState = iota
	// HeldStopping: it was ordered to stop and may live.
	HeldStopping
	// HeldFailed and HeldCompleted: it ended by itself.
	HeldFailed
	HeldCompleted
	// HeldEnded: it ended by order or with its host, which is not its doing.
	HeldEnded
)

// Live reports whether a process of it may live.
func (s HeldState) Live() bool { return s == HeldRunning || s == HeldStopping }

// Inventory is all that a runner has.
type Inventory struct {
	Runner string
	// Expected is what [Tree.Expected] returned before the runner was asked.
	Expected map[string]uint64
	Held     []Held
}

// Expected returns the incarnations that a runner must have records of, by
// agent: their starts were acknowledged.
func (t *Tree) Expected(runner string) map[string]uint64 {
	out := map[string]uint64{}
	for id, n := range t.nodes {
		if n.st.Runner == runner && n.expected() {
			out[id] = n.st.Incarnation
		}
	}
	return out
}

// expected reports whether an agent's runner has acknowledged its start and was
// not asked to end it.
func (n *node) expected() bool {
	switch n.st.Phase {
	case Verifying, Stabilising, Unverified, Running:
		return n.spec.Agent != nil
	}
	return n.st.Claim == Own
}

// newest is the highest incarnation that may have been started.
func (n *node) newest() uint64 {
	known := n.st.Incarnation
	if n.st.Phase.pending() {
		known--
	}
	return max(known, n.st.Newest)
}

// Reconcile compares what a runner has with the tree. They differ when the log
// lost its tail, or is another than the runner knew, or when the runner lost
// its records. It changes nothing: it returns inputs to be decided upon like
// all others, and incarnations that are to be stopped because another has taken
// their place. Agents that the tree does not have are not considered.
func (t *Tree) Reconcile(inv Inventory) (inputs []Input, stale []Held) {
	held := make(map[string]Held, len(inv.Held))
	for _, h := range inv.Held {
		held[h.Agent] = h
		n := t.nodes[h.Agent]
		if n == nil || n.spec.Agent == nil {
			continue
		}
		switch newer := h.Incarnation > n.newest(); {
		case newer && h.State.Live():
			inputs = append(inputs, Input{
				Kind: Found, Node: h.Agent, Incarnation: h.Incarnation, Runner: inv.Runner, PID: h.PID, Unwell: h.State == HeldStopping,
				Reason: "runner " + inv.Runner + " has " + h.Agent + "#" + strconv.FormatUint(h.Incarnation, 10) + ", which is newer than the log",
			})
		case newer:
			inputs = append(inputs, Input{
				Kind: Raised, Node: h.Agent, Incarnation: h.Incarnation, Runner: inv.Runner,
				Reason: "runner " + inv.Runner + " had incarnation " + strconv.FormatUint(h.Incarnation, 10) + ", which is newer than the log",
			})
		case h.State.Live() && t.Stale(h.Agent, h.Incarnation, inv.Runner):
			stale = append(stale, h)
		}
	}
	for _, agent := range slices.Sorted(maps.Keys(inv.Expected)) {
		n, known := t.nodes[agent], inv.Expected[agent]
		if n == nil || !n.expected() || n.st.Incarnation != known || n.st.Runner != inv.Runner {
			continue // decided otherwise meanwhile
		}
		h, ok := held[agent]
		if ok && h.State.Live() && h.Incarnation >= known {
			continue
		}
		inputs = append(inputs, missing(inv.Runner, known, agent, h, ok))
	}
	slices.SortStableFunc(inputs, func(a, b Input) int { return cmp.Compare(a.Node, b.Node) })
	return inputs, stale
}

// missing is the input about an incarnation that a runner should have and has not.
func missing(runner string, known uint64, agent string, h Held, ok bool) Input {
	if !ok || h.Incarnation != known {
		return Input{Kind: Lost, Node: agent, Incarnation: known, Reason: "runner " + runner + " does not have it"}
	}
	return h.Ended()
}

// Ended returns the input that tells the end of an incarnation which its runner
// says has ended, in a list or when it is asked to start it.
func (h Held) Ended() Input {
	in := Input{
		Kind: Lost, Node: h.Agent, Incarnation: h.Incarnation, Event: h.Event, Chain: h.Event,
		Reason: cmp.Or(h.Reason, "it has ended"),
	}
	switch h.State {
	case HeldFailed:
		in.Kind = Exited
	case HeldCompleted:
		in.Kind, in.Normal = Exited, true
	}
	return in
}

// found adopts a live incarnation that is newer than the tree knew, where the
// tree wants one on that runner, and ends it otherwise.
func (t *Tree) found(n *node, in *Input) {
	if in.Incarnation <= n.newest() {
		// It is known by now. What was to be started under that number and no longer is
		// may have been started before the log lost that.
		if t.Stale(in.Node, in.Incarnation, in.Runner) {
			t.touch(n) // what is ordered is stored
			t.emit(Effect{
				Kind: DoStop, Node: in.Node, Incarnation: in.Incarnation, Runner: in.Runner, Timeout: n.spec.ShutdownTimeout,
				Reason: in.Reason + ", and is not wanted", Event: t.story.Cause, Chain: t.story.Chain,
			})
		}
		return
	}
	if in.Incarnation >= MaxIncarnation {
		return
	}
	phase, expected := n.st.Phase, t.adoptable(n, in.Runner)
	if t.mode(n) != Enforce && phase != Watched {
		t.raised(n, in)
		return
	}
	if in.Incarnation <= t.over[in.Node] {
		t.foundOver(n, in)
		return
	}
	if n.occupies() && n.st.Runner != in.Runner {
		t.emit(n.stopEffect()) // the older one
	}
	suspect := n.st.Suspect
	t.hold(n, in)
	switch {
	case phase == Watched:
		n.st.Claim = Own
		t.touch(n)
	case phase == Stopping:
		n.st.Decision = t.decision
		t.touch(n)
		t.emit(n.stopEffect())
	case in.Unwell || !expected || in.Incarnation == suspect:
		then := Then("")
		if expected || t.startsLater(n, phase) {
			then = ThenRestart
		}
		t.stop(n, then, cmp.Or(n.st.End, EndStopped), cmp.Or(n.st.Why, in.Reason), false)
	default:
		t.setPhase(n, Starting, "")
		t.started(n, in)
	}
	t.carry(n)
}

// suspect remembers a verdict on an incarnation that the log does not know, which
// nobody gives twice.
func (t *Tree) suspect(n *node, in *Input) {
	if in.Kind == Failed && in.Incarnation > max(n.newest(), n.st.Suspect) && in.Incarnation < MaxIncarnation {
		n.st.Suspect = in.Incarnation
		t.touch(n)
	}
}

// maxOver bounds how many ends are remembered that the log does not know.
const maxOver = 10_000

// unknownEnd remembers that an incarnation ended which the log does not know, perhaps
// of an agent that it does not know yet. By itself that changes nothing: only a
// runner's list, which may have been read before, proves that there was one. It is
// not stored either, since whoever loads the tree reads the lists anew.
func (t *Tree) unknownEnd(in *Input) {
	switch in.Kind {
	case Exited, Lost, StartFailed:
	default:
		return
	}
	known := t.tombs[in.Node]
	if n := t.nodes[in.Node]; n != nil {
		known = n.newest()
	}
	if in.Incarnation <= known || in.Incarnation >= MaxIncarnation {
		return
	}
	if len(t.over) == maxOver {
		clear(t.over)
	}
	t.over[in.Node] = max(t.over[in.Node], in.Incarnation)
}

// foundOver handles an incarnation that is newer than the log, lived when its
// runner's list was read, and has ended since. It is not adopted; what the tree
// believes to run there was over before it began. What it believes to run elsewhere
// may have been started since, where an emptied log made its numbers begin anew.
func (t *Tree) foundOver(n *node, in *Input) {
	if !n.st.Phase.Up() || n.st.Runner != in.Runner {
		t.raised(n, in)
		return
	}
	n.st.Incarnation, n.st.Newest, n.st.Suspect = in.Incarnation, 0, 0
	t.touch(n)
	t.lost(n, &Input{Kind: Lost, Node: in.Node, Incarnation: in.Incarnation, Reason: in.Reason + ", and has ended"})
}

// hold makes an incarnation on a runner the agent's current one.
func (t *Tree) hold(n *node, in *Input) {
	t.vacate(n)
	s := &n.st
	s.Incarnation, s.Newest, s.Suspect, s.From = in.Incarnation, 0, 0, ""
	s.Runner, s.PID = in.Runner, in.PID
	s.Beat, s.Unwell = false, false
	t.touch(n)
}

// carry counts a held incarnation as its runner's load.
func (t *Tree) carry(n *node) {
	if n.occupies() {
		t.load[n.st.Runner]++
	}
}

// adoptable reports whether the tree wants an incarnation of the agent to run
// on a runner now.
func (t *Tree) adoptable(n *node, runner string) bool {
	p := n.parent
	if a := n.spec.Agent; a.Runner != runner && a.Runner != AnyRunner || p == nil || !p.up() {
		return false
	}
	op := p.op()
	turns := op == nil || op.Stage == StageStart
	switch n.st.Phase {
	case Throttled, Unplaced, Starting, Verifying, Stabilising, Unverified, Running, Claiming, Foreign:
		return true
	case Waiting, Isolated:
		return turns
	case Ended:
		return n.spec.Restart != Temporary && !(n.spec.Restart == Transient && n.st.End.normal())
	case Idle:
		return turns && t.willStart(p, n)
	}
	return false
}

// startsLater reports whether an agent in that phase is to be started again.
func (t *Tree) startsLater(n *node, phase Phase) bool {
	p := n.parent
	if p == nil || !p.up() {
		return false
	}
	return phase.delayed() || phase.live() || phase.pending() || phase == Claiming || phase == Foreign || phase.idle() && t.willStart(p, n)
}

// bury remembers an incarnation of an agent that is not in the tree, so that its
// number is not given out again.
func (t *Tree) bury(in *Input) {
	if in.Incarnation <= t.tombs[in.Node] || in.Incarnation >= MaxIncarnation {
		return
	}
	t.tombs[in.Node] = in.Incarnation
	gone := newNode(&Spec{ID: in.Node})
	gone.removed, gone.st.Incarnation = true, in.Incarnation
	t.touch(gone)
}

// raised makes the next start newer than an incarnation that the log does not
// know, and renumbers a start under way that is refused: on the runner that knows of
// it. That is placed again: the log is older than what runners did, and another may
// have the agent.
func (t *Tree) raised(n *node, in *Input) {
	if in.Incarnation >= MaxIncarnation {
		return
	}
	refused := n.st.Phase == Starting && in.Incarnation > n.st.Incarnation && (in.Runner == "" || in.Runner == n.st.Runner)
	switch {
	case refused:
		t.again(n, in.Incarnation+1, n.st.Runner)
	case in.Incarnation <= n.newest():
	case n.st.Phase.pending() && in.Incarnation >= n.st.Incarnation:
		n.st.Incarnation, n.st.Newest, n.st.Decision = in.Incarnation+1, 0, t.decision
		t.touch(n)
	default:
		n.st.Newest = in.Incarnation
		t.touch(n)
	}
}

// declined gives a starting agent another runner, or lets it wait for one: its
// runner cannot start anything for want of what its host should have.
func (t *Tree) declined(n *node, in *Input) {
	if n.st.Phase != Starting || n.st.Runner != in.Runner {
		return
	}
	t.again(n, n.st.Incarnation+1, "") // the refused number is settled
}

// again makes a start that was refused again as another incarnation, rather on one
// runner if that is not empty.
func (t *Tree) again(n *node, incarnation uint64, rather string) {
	t.load[n.st.Runner]--
	t.renewed(n)
	n.st.Incarnation, n.st.Newest = max(incarnation, n.st.Newest+1), 0
	n.st.Attempt = Attempt{Decision: t.decision}
	t.touch(n)
	t.place(n, rather)
}

// MaxIncarnation bounds the numbers that a runner may claim to have seen: a
// number that JSON readers cannot represent is not one that was counted to.
const MaxIncarnation = 1 << 53
