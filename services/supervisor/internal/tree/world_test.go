package tree

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// world is a fleet that performs effects late, in any order between agents,
// sometimes fails, and loses the supervisor's memory now and then. It has the
// promises of runners: starts and stops are idempotent by incarnation.
type world struct {
	t    *rapid.T
	tree *Tree
	now  Instant
	// mirror is what the log holds: the fold of all changes, as JSON.
	mirror Snapshot
	// copy is a copy in the making.
	copy *Copy
	// lanes hold, per agent, the effects not yet performed; one agent's are
	// performed in order.
	lanes map[string][]Effect
	// inbox holds the inputs on their way.
	inbox []Input
	live  map[string]uint64
	seen  map[string]uint64
	// excused holds children that an operator started or stopped: a start by
	// order that fails is not repeated.
	excused map[string]bool
	// calm is set when no more faults happen.
	calm bool
	// builds are what incarnations were started from, as far as was ordered.
	builds map[Replaced]string
	// foreign are agents that somebody else keeps, which beat with no number;
	// plain ones beat without their number, too.
	foreign, plain map[string]bool
	// served are the agents that were up before the step.
	served map[string]bool
	causes causes
	// orders are those of the operator, and which of them are answered.
	orders       map[given]CommandKind
	answered     map[string]bool
	terminations terminations
	successions  successions
	departures   departures
	// tokens are those of the operator's orders; an order may be given again.
	tokens []string
}

// token is that of the next order: now and then an earlier one, as of a caller that
// asks again.
func (w *world) token() string {
	if len(w.tokens) > 0 && rapid.IntRange(0, 9).Draw(w.t, "again") == 0 {
		return rapid.SampledFrom(w.tokens).Draw(w.t, "token")
	}
	w.tokens = append(w.tokens, fmt.Sprint("order-", len(w.tokens)))
	return w.tokens[len(w.tokens)-1]
}

func (w *world) step(in Input) []Effect {
	if in.Kind == Tick {
		w.beatWhereListened()
	}
	w.causes.begin(w.tree, &in)
	w.terminations.begin(w.tree, &in)
	w.departures.begin(w.tree, &in)
	effects := w.tree.Step(&in, w.now, nil)
	w.ordered(&in, effects)
	for _, e := range effects {
		if wrong := w.causes.wrong(w.tree, e); wrong != "" {
			w.t.Fatal(wrong)
		}
		w.terminations.told(e)
		w.successions.started(w, e)
		switch e.Kind {
		case DoStart, DoStop, DoReport:
			if m := w.tree.Mode(e.Node); m != Enforce {
				w.t.Fatalf("%s of %s, whose mode is %s", e.Kind, e.Node, m)
			}
			w.lanes[e.Node] = append(w.lanes[e.Node], e)
		}
		if n := w.tree.nodes[e.Node]; e.Kind == DoStart {
			w.builds[Replaced{e.Node, e.Incarnation}] = n.spec.Agent.Build
		}
	}
	if wrong := w.terminations.wrong(w.tree); wrong != "" {
		w.t.Fatal(wrong)
	}
	if wrong := w.departures.wrong(w.tree, effects); wrong != "" {
		w.t.Fatal(wrong)
	}
	w.recorded()
	w.dropOrders()
	w.stopsInOrder()
	w.fillsInOrder()
	w.bounded()
	w.supersedes()
	changes := w.tree.Changes(nil)
	w.copied(changes)
	for _, c := range changes {
		raw, err := json.Marshal(c)
		if err != nil {
			w.t.Fatal(err)
		}
		again := Change{ID: c.ID}
		if err := json.Unmarshal(raw, &again); err != nil {
			w.t.Fatal(err)
		}
		w.mirror.Apply(again)
	}
	return effects
}

// stopsInOrder fails when a supervisor that stops has a child that is neither down
// nor told to stop, though its turn has come: independent children stop side by
// side, those of a group one after the other, the last first.
func (w *world) stopsInOrder() {
	for id, n := range w.tree.nodes {
		op := n.op()
		if op == nil || op.Kind != OpStop {
			continue
		}
		waits := false
		for _, c := range n.kids {
			turn, down := op.together() || c.spec.Rank >= op.At, !c.st.Phase.live()
			waits = waits || turn && c.st.Phase == Stopping
			if turn && !down && c.st.Phase != Stopping {
				w.t.Fatalf("%s stops, and %s is %s", id, c.spec.ID, c.st.Phase)
			}
			if !op.together() && c.spec.Rank > op.At && !down && c.st.Claim == "" {
				w.t.Fatalf("%s stops %d, and %s, which comes before, is %s", id, op.At, c.spec.ID, c.st.Phase)
			}
		}
		if !waits {
			w.t.Fatalf("%s stops, and waits for nothing", id)
		}
	}
}

// fillsInOrder fails when a group that is up has a member that awaits its turn and
// nothing that will start it, when it waits for a member that does not come up, or when
// it stops nothing though members are to be removed.
func (w *world) fillsInOrder() {
	for id, p := range w.tree.nodes {
		if p.spec.Supervisor == nil || !p.up() {
			continue
		}
		op := p.op()
		for _, c := range p.kids {
			if op == nil && c.awaitsTurn() {
				w.t.Fatalf("%s awaits its turn, and nothing starts it", c.spec.ID)
			}
			if op != nil && op.Kind == OpFill && op.Stage == StageStart {
				if c.spec.Rank == op.At && !c.comesUp() && c.st.Phase != Stopping {
					w.t.Fatalf("%s fills at %d, and %s is %s", id, op.At, c.spec.ID, c.st.Phase)
				}
			}
			if c.toBeStopped() && p.stopping == 0 {
				w.t.Fatalf("%s is to be removed, and nothing is being stopped", c.spec.ID)
			}
		}
	}
}

// copied goes on with a copy of the tree, which must be equal to it when it is
// done, whatever has happened since it was begun.
func (w *world) copied(changes []Change) {
	if w.copy == nil {
		w.copy = w.tree.Copy()
		return
	}
	w.copy.Update(changes)
	if !w.copy.Take(2) {
		return
	}
	if diff := cmp.Diff(w.copy.Snapshot(), w.tree.Snapshot(), cmpopts.EquateEmpty()); diff != "" {
		w.t.Fatalf("a copy made step by step differs (-copy +tree):\n%s", diff)
	}
	w.copy = nil
}

// perform carries out the next effect of an agent.
func (w *world) perform(agent string) {
	e := w.lanes[agent][0]
	if w.lanes[agent] = w.lanes[agent][1:]; len(w.lanes[agent]) == 0 {
		delete(w.lanes, agent)
	}
	switch e.Kind {
	case DoStart:
		w.start(e)
	case DoStop:
		if w.live[agent] > 0 && w.live[agent] <= e.Incarnation {
			delete(w.live, agent)
		}
		w.seen[agent] = max(w.seen[agent], e.Incarnation)
		w.inbox = append(w.inbox, Input{Kind: Stopped, Node: agent, Incarnation: e.Incarnation})
	case DoReport:
		w.inbox = append(w.inbox, Input{Kind: Failed, Node: agent, Incarnation: e.Incarnation, Reason: "unverified"})
	}
}

func (w *world) start(e Effect) {
	agent := e.Node
	switch {
	case w.live[agent] == e.Incarnation:
	case w.live[agent] != 0:
		w.t.Fatalf("two live incarnations of %s: %d is running, %d is started", agent, w.live[agent], e.Incarnation)
	case w.seen[agent] >= e.Incarnation:
		w.inbox = append(w.inbox, Input{Kind: Exited, Node: agent, Incarnation: e.Incarnation, Reason: "already exited"})
		return
	case w.foreign[agent]:
		w.t.Fatalf("%s is started while it runs elsewhere", agent)
	case !w.calm && rapid.IntRange(0, 4).Draw(w.t, "start fails") == 0:
		w.inbox = append(w.inbox, Input{Kind: StartFailed, Node: agent, Incarnation: e.Incarnation, Reason: "no such program"})
		return
	}
	w.live[agent], w.seen[agent] = e.Incarnation, e.Incarnation
	w.inbox = append(w.inbox, Input{Kind: Started, Node: agent, Incarnation: e.Incarnation, PID: 7})
	if w.calm || rapid.IntRange(0, 5).Draw(w.t, "beats") > 0 {
		w.inbox = append(w.inbox, Input{Kind: Beat, Node: agent, Incarnation: e.Incarnation})
	}
}

// crash loses everything but the log, what happens outside, and events.
func (w *world) crash(opt Options) {
	tree, err := Load(opt, w.mirror)
	if err != nil {
		w.t.Fatal(err)
	}
	tree.setRunners(w.tree.runners)
	tree.Changes(nil)
	w.tree, w.copy = tree, nil
	w.inbox = slices.DeleteFunc(w.inbox, func(in Input) bool { return in.Kind != Exited && in.Kind != Failed })
	w.lanes = map[string][]Effect{}
	for _, e := range tree.Outstanding() {
		w.lanes[e.Node] = append(w.lanes[e.Node], e)
	}
	// Whoever lives goes on beating.
	for agent, inc := range w.live {
		w.inbox = append(w.inbox, Input{Kind: Beat, Node: agent, Incarnation: inc})
	}
	slices.SortFunc(w.inbox, func(a, b Input) int { return compare(a, b) })
}

func compare(a, b Input) int {
	switch {
	case a.Node < b.Node:
		return -1
	case a.Node > b.Node:
		return 1
	}
	return 0
}

func (w *world) deliver(i int) {
	in := w.inbox[i]
	w.inbox = slices.Delete(w.inbox, i, i+1)
	if n := w.tree.nodes[in.Node]; n != nil && in.Kind == Beat && n.st.Phase == Claiming && w.live[in.Node] != in.Incarnation {
		return // who is listened for now was not when it beat
	}
	w.step(in)
}

// consistent fails when the log and the memory say different things.
func (w *world) consistent() {
	raw, err := json.Marshal(w.tree.Snapshot())
	if err != nil {
		w.t.Fatal(err)
	}
	var got Snapshot
	if err := json.Unmarshal(raw, &got); err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(got, w.mirror, cmpopts.EquateEmpty()); diff != "" {
		w.t.Fatalf("memory and log differ (-memory +log):\n%s", diff)
	}
	load := map[string]int{}
	for _, n := range w.tree.nodes {
		coming, stopping := 0, 0
		for _, c := range n.kids {
			if c.st.Phase.coming() {
				coming++
			}
			if c.st.Phase == Stopping {
				stopping++
			}
		}
		if n.coming != coming || n.stopping != stopping {
			w.t.Fatalf("%s counts %d children that come and %d that stop; they are %d and %d", n.spec.ID, n.coming, n.stopping, coming, stopping)
		}
		if moving := len(n.unverifiedBelow()) > 0; n.spec.Supervisor != nil && moving != (n.unsettled > 0) {
			w.t.Fatalf("%s counts %d children that are not settled; below it are %v", n.spec.ID, n.unsettled, n.unverifiedBelow())
		}
		if n.occupies() {
			load[n.st.Runner]++
		}
	}
	for r, n := range w.tree.load {
		if load[r] != n {
			w.t.Fatalf("runner %s is said to have %d agents and has %d", r, n, load[r])
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
