package tree

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/internal/property"
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

func (w *world) step(in Input) {
	if in.Kind == Tick {
		w.beatWhereListened()
	}
	w.causes.begin(w.tree, &in)
	w.terminations.begin(w.tree, &in)
	effects := w.tree.Step(&in, w.now, nil)
	w.ordered(&in, effects)
	for _, e := range effects {
		if wrong := w.causes.wrong(w.tree, e); wrong != "" {
			w.t.Fatal(wrong)
		}
		w.terminations.told(e)
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
	w.dropOrders()
	w.stopsInOrder()
	w.bounded()
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

func drawTree(t *rapid.T) []*Spec {
	delays := backoff.Delays{Type: backoff.Exponential, Delay: time.Duration(rapid.IntRange(0, 2).Draw(t, "delay")) * 100 * time.Millisecond, Base: 2, Max: time.Second, Jitter: 0.2, Reset: time.Minute}
	var specs []*Spec
	var sup func(id, parent string, depth int)
	sup = func(id, parent string, depth int) {
		strategy := rapid.SampledFrom([]Strategy{OneForOne, OneForAll, RestForOne, Escalate}).Draw(t, id+" strategy")
		escalations := []Escalation{ToParent, CoolOff, ToParent, Ignore, Terminate}
		if strategy == OneForOne {
			escalations = append(escalations, Isolate, Isolate, Isolate)
		}
		escalation := rapid.SampledFrom(escalations).Draw(t, id+" escalation")
		restart := rapid.SampledFrom([]Restart{Permanent, Permanent, Transient, Temporary}).Draw(t, id+" restart")
		if parent == "" {
			restart = Permanent
			if escalation != Isolate {
				escalation = CoolOff
			}
		}
		specs = append(specs, &Spec{ID: id, Parent: parent, Restart: restart, Backoff: delays, Supervisor: &Supervisor{
			Strategy:    strategy,
			MaxRestarts: rapid.IntRange(0, 3).Draw(t, id+" limit"), Period: time.Minute,
			AutoShutdown: rapid.SampledFrom([]AutoShutdown{Never, AnySignificant, AllSignificant}).Draw(t, id+" auto"),
			Escalation:   escalation, CoolOff: 3 * time.Second, MaxCoolOff: 5 * time.Second,
		}})
		auto := specs[len(specs)-1].Supervisor.AutoShutdown != Never
		for i := range rapid.IntRange(0, 3).Draw(t, id+" children") {
			kid := fmt.Sprintf("%s%d", id, i)
			if depth > 0 && rapid.IntRange(0, 2).Draw(t, kid+" is supervisor") == 0 {
				sup(kid, id, depth-1)
				continue
			}
			r := rapid.SampledFrom([]Restart{Permanent, Permanent, Permanent, Transient, Temporary}).Draw(t, kid+" restart")
			specs = append(specs, &Spec{
				ID: kid, Parent: id, Restart: r, Backoff: delays, ShutdownTimeout: time.Second,
				Significant: auto && r != Permanent && rapid.Bool().Draw(t, kid+" significant"),
				Agent: &Agent{
					Runner: AnyRunner, Verify: rapid.Bool().Draw(t, kid+" verify"),
					StartDeadline: 2 * time.Second, Stabilisation: 500 * time.Millisecond,
				},
			})
		}
	}
	sup("n", "", 2)
	return specs
}

// TestFleetConverges drives random trees through random faults, losses of the
// supervisor's memory and commands, and then lets it be calm. No agent may
// ever run twice, the log must always hold the tree, and in the end every
// permanent child runs whose supervisors all run.
func TestFleetConverges(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, tree: New(Options{}), now: 1e18, lanes: map[string][]Effect{}, live: map[string]uint64{}, seen: map[string]uint64{}, excused: map[string]bool{}, orders: map[given]CommandKind{}, answered: map[string]bool{}, builds: map[Replaced]string{}, served: map[string]bool{}}
		specs := drawTree(rt)
		w.step(Input{Kind: Configure, Specs: specs, Boot: true})
		w.step(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}, {Name: "r2", Capacity: 2}}})
		for range rapid.IntRange(0, 120).Draw(rt, "steps") {
			w.disturb(specs)
		}
		w.consistent()
		w.calm = true
		for _, s := range specs {
			w.step(Input{Kind: Order, Command: CmdResume, Node: s.ID})
		}
		w.settle(specs)
	})
}

// disturb lets one random thing happen.
func (w *world) disturb(specs []*Spec) {
	t := w.t
	agents := sortedKeys(w.live)
	switch k := rapid.IntRange(0, 20).Draw(t, "what"); {
	case k < 7 && len(w.lanes) > 0:
		w.perform(rapid.SampledFrom(sortedKeys(w.lanes)).Draw(t, "lane"))
	case k < 13 && len(w.inbox) > 0:
		w.deliver(rapid.IntRange(0, len(w.inbox)-1).Draw(t, "input"))
	case k < 15 && len(agents) > 0:
		a := rapid.SampledFrom(agents).Draw(t, "dies")
		w.inbox = append(w.inbox, Input{Kind: Exited, Node: a, Incarnation: w.live[a], Normal: rapid.IntRange(0, 3).Draw(t, "normal") == 0, Reason: "exit"})
		delete(w.live, a)
	case k == 15 && len(agents) > 0:
		a := rapid.SampledFrom(agents).Draw(t, "hangs")
		w.inbox = append(w.inbox, Input{Kind: Failed, Node: a, Incarnation: w.live[a], Reason: "silent"})
	case k == 16:
		w.crash(Options{})
	case k == 17:
		n := rapid.SampledFrom(specs).Draw(t, "node")
		cmd := rapid.SampledFrom([]CommandKind{CmdTerminate, CmdStart, CmdRestart, CmdRemove, CmdSuspend, CmdResume, CmdClose}).Draw(t, "command")
		if cmd == CmdClose {
			n = specs[0] // the root
		}
		if rapid.IntRange(0, 5).Draw(t, "moves") == 0 {
			w.step(Input{Kind: Order, Command: CmdMove, Node: n.ID, To: rapid.SampledFrom(specs).Draw(t, "to").ID})
			return
		}
		if n.Parent != "" || cmd == CmdClose {
			w.excused[n.ID] = w.excused[n.ID] || cmd == CmdStart || cmd == CmdTerminate
			w.step(Input{Kind: Order, Command: cmd, Node: n.ID, Token: w.token()})
		}
	case k == 18:
		w.configure(specs)
	case k == 19:
		n := rapid.SampledFrom(specs).Draw(t, "rolled")
		w.step(Input{Kind: Order, Command: CmdRoll, Node: n.ID, Count: rapid.IntRange(1, 3).Draw(t, "at once"), Outdated: rapid.Bool().Draw(t, "outdated"), Token: "x"})
	default:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond)
		w.step(Input{Kind: Tick})
	}
}

// settle lets everything happen that is under way, and time pass.
func (w *world) settle(specs []*Spec) {
	for range 5000 {
		switch {
		case len(w.inbox) > 0:
			w.deliver(0)
		case len(w.lanes) > 0:
			w.perform(sortedKeys(w.lanes)[0])
		default:
			due, ok := w.tree.Next()
			if !ok {
				w.consistent()
				w.check(specs)
				return
			}
			w.now = max(w.now, due)
			w.step(Input{Kind: Tick})
		}
	}
	raw, _ := json.MarshalIndent(w.tree.Snapshot(), "", " ")
	w.t.Fatalf("it never comes to rest:\n%s", raw)
}

func (w *world) check(specs []*Spec) {
	w.checkRolling()
	for _, s := range specs {
		n := w.tree.nodes[s.ID]
		if n == nil {
			continue
		}
		if op := n.op(); op != nil {
			w.t.Fatalf("%s is still in %+v", s.ID, *op)
		}
		if n.st.Command != nil || len(n.queue) > 0 || n.st.Phase == Ended {
			w.t.Fatalf("%s still has %+v and %d waiting", s.ID, n.st.Command, len(n.queue))
		}
		switch p := n.parent; {
		case n.st.Phase != Running && n.st.Phase != Idle && n.st.Phase != Gone:
			w.t.Fatalf("%s rests in phase %s", s.ID, n.st.Phase)
		case p == nil || p.st.Phase != Running:
			if n.st.Phase == Running && p != nil {
				w.t.Fatalf("%s runs under %s, which is %s", s.ID, p.spec.ID, p.st.Phase)
			}
		case s.Restart == Permanent && n.st.Phase != Running && n.st.End != EndGaveUp && !w.excused[s.ID]:
			w.t.Fatalf("%s is %s (%s) though its supervisor runs", s.ID, n.st.Phase, n.st.Why)
		}
		if s.Agent == nil {
			continue
		}
		if up := n.st.Phase == Running; up != (w.live[s.ID] > 0) || up && w.live[s.ID] != n.st.Incarnation {
			w.t.Fatalf("%s: the tree says %s incarnation %d, alive is %d", s.ID, n.st.Phase, n.st.Incarnation, w.live[s.ID])
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
