package tree

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// origin is what an event or a decision is about, which others name as their
// cause.
type origin struct {
	kind InputKind
	node string
	// below is what an order covered, and above are the supervisors of the node, when
	// it came: the node may have been moved since.
	below, above map[string]bool
}

// causes checks that what a tree does names what led to it.
type causes struct {
	of map[string]origin
	// drew are the nodes that a cause concerns beyond the one that it is about:
	// supervisors that restart a group, or go down, because of it.
	drew map[string]map[string]bool
	n    int
}

// begin gives the input of the next decision its event, as the log would.
func (c *causes) begin(t *Tree, in *Input) {
	if c.of == nil {
		c.of, c.drew = map[string]origin{}, map[string]map[string]bool{}
	}
	c.n++
	decision := fmt.Sprintf("decision %d", c.n)
	t.Deciding(decision)
	switch in.Kind {
	case Exited, Failed, StartFailed, Lost:
		in.Event = fmt.Sprintf("event %d", c.n)
		c.of[in.Event] = origin{in.Kind, in.Node, nil, above(t.nodes[in.Node])}
		for n := t.nodes[in.Node]; n != nil; n = n.parent {
			if n.takesDown() {
				c.draw(in.Event, n.spec.ID) // also after a configuration that has it do so no longer
			}
		}
	default:
		c.of[decision] = origin{in.Kind, in.Node, below(t.nodes[in.Node]), above(t.nodes[in.Node])}
	}
}

func above(n *node) map[string]bool {
	all := map[string]bool{}
	for ; n != nil; n = n.parent {
		all[n.spec.ID] = true
	}
	return all
}

func below(n *node) map[string]bool {
	all := map[string]bool{}
	var take func(n *node)
	take = func(n *node) {
		all[n.spec.ID] = true
		for _, c := range n.kids {
			take(c)
		}
	}
	if n != nil {
		take(n)
	}
	return all
}

// wrong reports what is wrong with an effect's cause, or "". The cause is an
// event or order about the same node, or about one that a supervisor above both
// has in a group with it or went down for; an order about a node that it was
// below; or the configuration.
func (c *causes) wrong(t *Tree, e Effect) string {
	switch e.Kind {
	case NoteGroup, NoteEscalate, NoteTerminate, NoteCoolOff, NoteGiveUp:
		c.draw(e.Event, e.Node)
	case DoStart, DoStop, DoReport, NoteRestart, NoteRunning, NoteFinished, NoteBoot, NoteBudget:
	default:
		return ""
	}
	from, known := c.of[e.Event]
	switch {
	case !known:
		return fmt.Sprintf("%s of %s names %q as its cause, which is not known", e.Kind, e.Node, e.Event)
	case from.kind == Configure, from.kind == Runners, from.below[e.Node]:
		return ""
	}
	now := above(t.nodes[from.node])
	for n := t.nodes[e.Node]; n != nil; n = n.parent {
		id := n.spec.ID
		if id == from.node {
			return ""
		}
		if (now[id] || from.above[id]) && (c.drew[e.Event][id] || n.takesDown()) {
			c.draw(e.Event, id) // also after a configuration that has it no longer
			return ""
		}
	}
	if t.nodes[from.node] == nil || t.nodes[e.Node] == nil {
		return "" // it was removed since
	}
	return fmt.Sprintf("%s of %s names %s as its cause, the %s of %s, which has nothing to do with it", e.Kind, e.Node, e.Event, from.kind, from.node)
}

// takesDown reports whether a node goes down with children that end.
func (n *node) takesDown() bool {
	s := n.spec.Supervisor
	return s != nil && s.AutoShutdown != Never && s.AutoShutdown != ""
}

// draw notes that a supervisor restarts a group, or goes down, because of an event.
func (c *causes) draw(event, supervisor string) {
	if c.drew[event] == nil {
		c.drew[event] = map[string]bool{}
	}
	c.drew[event][supervisor] = true
}

// because lists what a decision does and names as the cause of it.
func (b *bench) because(decision string, in Input) []string {
	b.t.Helper()
	b.tree.Deciding(decision)
	var out []string
	for _, e := range b.raw(in) {
		switch e.Kind {
		case DoStart, DoStop, NoteRestart, NoteGroup, NoteEscalate:
			out = append(out, fmt.Sprintf("%s %s: %s", e.Kind, e.Node, e.Event))
		}
	}
	return out
}

func (b *bench) wantBecause(decision string, in Input, want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.because(decision, in)); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", decision, diff)
	}
}

func ended(kind InputKind, agent, event string) Input {
	return Input{Kind: kind, Node: agent, Incarnation: 1, Event: event, Reason: "crash"}
}

func command(kind CommandKind, node string) Input {
	token := string(kind) + "-" + node
	return Input{Kind: Order, Command: kind, Node: node, Token: token, Chain: token}
}

// TestOrdersAreCauses: what an order leads to names the decision that recorded
// the order, however much later it is done, and not an older failure.
func TestOrdersAreCauses(t *testing.T) {
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root"),
		sup("all", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("b", "all"), agent("c", "all"))
	b.do(ended(Exited, "a", "old"))
	b.wantBecause("d1", command(CmdRestart, "a"), "stop a: d1")
	b.wantBecause("d2", Input{Kind: Stopped, Node: "a", Incarnation: 2}, "start a: d1")
	b.raw(Input{Kind: Started, Node: "a", Incarnation: 3})

	// The group is busy when the order comes.
	b.wantBecause("d3", ended(Exited, "b", "b ended"), "restart b: b ended", "group all: b ended", "stop c: b ended")
	b.wantBecause("d4", command(CmdRestart, "c"))
	b.wantBecause("d5", Input{Kind: Stopped, Node: "c", Incarnation: 1}, "start b: b ended")
	b.wantBecause("d6", Input{Kind: Started, Node: "b", Incarnation: 2}, "start c: b ended")
	b.wantBecause("d7", Input{Kind: Started, Node: "c", Incarnation: 2}, "stop c: d4")
	b.do(Input{Kind: Stopped, Node: "c", Incarnation: 2})

	// A drain stops everything because of the order.
	b.wantBecause("d8", command(CmdTerminate, "root"), "stop c: d8", "stop a: d8")
	b.wantBecause("d9", Input{Kind: Stopped, Node: "c", Incarnation: 3}, "stop b: d8")
	b.do(Input{Kind: Stopped, Node: "b", Incarnation: 2})
	b.do(Input{Kind: Stopped, Node: "a", Incarnation: 3})
	b.wantBecause("d11", command(CmdStart, "root"), "start a: d11", "start b: d11")
}

// TestEachHasItsOwnCause: of a group that ended together each member names its
// own end, and one that was only taken along that of the member that failed.
func TestEachHasItsOwnCause(t *testing.T) {
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("all", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 9}),
		agent("a", "all"), agent("b", "all"), agent("c", "all"), agent("idle", "all"))
	b.do(command(CmdTerminate, "idle"))
	b.wantBecause("d1", ended(Exited, "a", "a ended"), "restart a: a ended", "group all: a ended", "stop c: a ended")
	b.wantBecause("d2", ended(Exited, "b", "b ended"))
	b.wantBecause("d3", Input{Kind: Stopped, Node: "c", Incarnation: 1}, "start a: a ended")
	b.wantBecause("d4", Input{Kind: Started, Node: "a", Incarnation: 2}, "start b: b ended")
	b.wantBecause("d5", Input{Kind: Started, Node: "b", Incarnation: 2}, "start c: a ended")
	b.wantBecause("d6", Input{Kind: Started, Node: "c", Incarnation: 2})
	b.wantBecause("d7", Input{Kind: Order, Command: CmdStart, Node: "idle", Token: "up", Chain: "up"}, "start idle: d7")
}

// TestEndsBeforeTheStopAreTheirOwn: a member that ended by itself before it could
// be stopped with its group names its own end; one that an operator restarts
// names the order, however it ended.
func TestEndsBeforeTheStopAreTheirOwn(t *testing.T) {
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("all", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 9}),
		agent("a", "all"), agent("b", "all"), agent("c", "all"), agent("free", "root"))
	b.wantBecause("d1", ended(Exited, "a", "a ended"), "restart a: a ended", "group all: a ended", "stop c: a ended")
	b.wantBecause("d2", ended(Exited, "c", "c ended"), "stop b: a ended")
	normal := ended(Exited, "b", "b ended")
	normal.Normal = true
	b.wantBecause("d3", normal, "start a: a ended")
	b.wantBecause("d4", Input{Kind: Started, Node: "a", Incarnation: 2}, "start b: a ended")
	b.wantBecause("d5", Input{Kind: Started, Node: "b", Incarnation: 2}, "start c: c ended")

	b.wantBecause("d6", command(CmdRestart, "free"), "stop free: d6")
	b.wantBecause("d7", ended(Exited, "free", "free ended"), "start free: d6")
}

// TestJoiningAGroupKeepsCauses: a member whose end began the restart of a group,
// or that was stopped for it, keeps that cause when another joins.
func TestJoiningAGroupKeepsCauses(t *testing.T) {
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("rest", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 9}),
		agent("a", "rest", delayed), agent("b", "rest", delayed), agent("c", "rest"))
	b.wantBecause("d1", ended(Exited, "b", "b ended"), "restart b: b ended", "group rest: b ended", "stop c: b ended")
	b.because("d2", Input{Kind: Stopped, Node: "c", Incarnation: 1})
	b.wantBecause("d3", ended(Exited, "a", "a ended"), "restart a: a ended", "group rest: a ended")
	b.now = b.now.Add(time.Minute)
	b.wantBecause("d4", Input{Kind: Tick}, "start a: a ended")
	b.wantBecause("d5", Input{Kind: Started, Node: "a", Incarnation: 2}, "start b: b ended")
	b.wantBecause("d6", Input{Kind: Started, Node: "b", Incarnation: 2}, "start c: b ended")
}

// TestAStopIsTheCauseOfAWaitThatIsOver: an agent that waits for its restart when
// its supervisor is stopped is down because of that; one that an operator had
// ended before is down because of the operator.
func TestAStopIsTheCauseOfAWaitThatIsOver(t *testing.T) {
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("waits", "root", delayed), agent("idle", "root"), agent("runs", "root"))
	b.because("d1", ended(Exited, "waits", "waits ended"))
	b.because("d2", command(CmdTerminate, "idle"))
	b.because("d3", Input{Kind: Stopped, Node: "idle", Incarnation: 1})
	b.because("d4", command(CmdTerminate, "root"))
	for id, want := range map[string]string{"waits": "d4", "idle": "d2", "runs": "d4"} {
		if got := b.state(id).Cause; got != want {
			t.Errorf("%s is down because of %s, want %s", id, got, want)
		}
	}
}

// TestARollingRestartThatTakesOnOthersKeepsCauses: each agent is restarted because
// of the order that asked for it, not of the one that came last.
func TestARollingRestartThatTakesOnOthersKeepsCauses(t *testing.T) {
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root"), agent("b", "root"), agent("c", "root"))
	roll := func(id string) Input {
		in := command(CmdRoll, id)
		in.Count = 1
		return in
	}
	b.wantBecause("d1", roll("a"), "stop a: d1")
	b.wantBecause("d2", roll("b"))
	b.wantBecause("d3", roll("c"))
	b.wantBecause("d4", Input{Kind: Stopped, Node: "a", Incarnation: 1}, "start a: d1")
	b.wantBecause("d5", Input{Kind: Started, Node: "a", Incarnation: 2}, "stop b: d2")
	b.wantBecause("d6", Input{Kind: Stopped, Node: "b", Incarnation: 1}, "start b: d2")
	b.wantBecause("d7", Input{Kind: Started, Node: "b", Incarnation: 2}, "stop c: d3")
}

func delayed(s *Spec) { s.Backoff.Delay = time.Minute }

// TestSignificantEndsAreCauses: siblings stop because of the significant child.
func TestSignificantEndsAreCauses(t *testing.T) {
	job := agent("job", "some", func(s *Spec) { s.Significant, s.Restart = true, Temporary })
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}),
		sup("some", "root", Supervisor{AutoShutdown: AnySignificant, MaxRestarts: 9}), agent("a", "some"), job)
	b.wantBecause("d1", ended(Exited, "job", "job ended"), "stop a: job ended")
}

// TestScaleIsACause: an added instance names the order.
func TestScaleIsACause(t *testing.T) {
	w := agent("w-1", "root", func(s *Spec) { s.Template, s.Index, s.Instances = "w", 1, 1 })
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9, Period: time.Minute}), w)
	in := command(CmdScale, "w")
	in.Count = 2
	b.wantBecause("d1", in, "start w-2: d1")
	in.Count, in.Token = 1, "another"
	b.wantBecause("d2", in, "stop w-2: d2")
}

// TestAwaitingOnesKeepTheirCauses: a member that awaits its turn starts because of what
// brought it, though the group is restarted meanwhile; one that was stopped for that,
// or has finished, because of the restart.
func TestAwaitingOnesKeepTheirCauses(t *testing.T) {
	t.Parallel()
	members := func(ids ...string) []*Spec {
		specs := []*Spec{sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 9})}
		for _, id := range ids {
			specs = append(specs, agent(id, "root"))
		}
		job := agent("job", "root")
		job.Restart = Transient
		return append(specs, job)
	}
	b := newBench(t, members("a", "z")...)
	done := ended(Exited, "job", "job finished")
	done.Normal = true
	b.because("d0", done)
	b.wantBecause("d1", Input{Kind: Configure, Specs: members("a", "db", "app", "z")}, "start db: d1")
	b.wantBecause("d2", ended(Exited, "db", "db ended"), "restart db: db ended", "group root: db ended", "stop z: db ended")
	b.wantBecause("d3", Input{Kind: Stopped, Node: "z", Incarnation: 1}, "start db: db ended")
	b.wantBecause("d4", Input{Kind: Started, Node: "db", Incarnation: 2}, "start app: d1")
	b.wantBecause("d5", Input{Kind: Started, Node: "app", Incarnation: 1}, "start z: db ended")
	b.wantBecause("d6", Input{Kind: Started, Node: "z", Incarnation: 2}, "start job: db ended")
}

// TestEndsWhileOneIsClaimedAreCauses: an agent that is enforced again and ends before
// anybody hears of it starts because of its end, as does one that ran elsewhere.
func TestEndsWhileOneIsClaimedAreCauses(t *testing.T) {
	t.Parallel()
	for _, kind := range []InputKind{Exited, Lost, Failed} {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root"))
		b.mode("root", Off)
		b.mode("root", Enforce)
		b.wantPhase("a", Claiming)
		b.because("d1", ended(kind, "a", "a ended"))
		for b.state("a").Phase != Running {
			b.after(time.Minute)
		}
		b.equal(string(kind)+" is the cause", b.state("a").Cause, "a ended")
		b.equal("incarnation", b.state("a").Incarnation, uint64(2))
	}
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", inMode(Off)))
	b.mode("a", Enforce)
	b.raw(Input{Kind: Beat, Node: "a"})
	b.wantPhase("a", Foreign)
	b.because("d1", Input{Kind: Failed, Node: "a", Event: "the other ended"})
	b.after(time.Minute)
	b.after(time.Minute)
	b.wantPhase("a", Running)
	b.equal("the cause", b.state("a").Cause, "the other ended")
}

// TestAFileThatEndsAWaitIsNotTheCause: an order that waited for a member that a file
// removes names itself as the cause of what it stops.
func TestAFileThatEndsAWaitIsNotTheCause(t *testing.T) {
	t.Parallel()
	specs := []*Spec{sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 9}), sup("s", "root", Supervisor{MaxRestarts: 9}), agent("a", "s"), agent("b", "root")}
	b := slow(t, specs...)
	b.started("a")
	b.wantPhase("b", Starting)
	b.wantBecause("d1", command(CmdRestart, "s"))
	b.wantBecause("d2", Input{Kind: Configure, Specs: specs[:3]}, "stop b: d2")
	b.wantBecause("d3", Input{Kind: Stopped, Node: "b", Incarnation: 1}, "stop a: d1")
}
