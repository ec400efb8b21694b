package tree

import (
	"strings"
	"testing"
	"time"
)

// settleDown answers all that is ordered, as a healthy fleet does, by a tree that is
// loaded anew after each answer, and lets what waits come.
func (b *bench) settleDown() {
	b.t.Helper()
	for range 60 {
		out := b.tree.Outstanding()
		if len(out) == 0 {
			b.now = b.now.Add(time.Second)
			b.raw(Input{Kind: Tick})
		}
		for _, e := range out {
			kind := Started
			if e.Kind == DoStop {
				kind = Stopped
			}
			b.raw(Input{Kind: kind, Node: e.Node, Incarnation: e.Incarnation})
			break
		}
		again, err := Load(Options{}, b.tree.Snapshot())
		if err != nil {
			b.t.Fatal(err)
		}
		b.tree = again
	}
}

func (b *bench) ranks(of string) string {
	var out []string
	for _, n := range b.tree.nodes[of].kids {
		out = append(out, n.spec.ID)
	}
	return strings.Join(out, " ")
}

// The order of children that a configuration gives is the tree's, whatever a group is in
// the middle of: what depends on a new member is restarted with it.
func TestOrderOfABusyGroup(t *testing.T) {
	t.Parallel()
	slow := func(s *Spec) { s.Backoff.Delay, s.Backoff.Max = 5*time.Second, 5*time.Second }
	file := func(names ...string) []*Spec {
		specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 99}), sup("g", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 99})}
		for _, n := range names {
			specs = append(specs, agent(n, "g", slow))
		}
		return specs
	}
	configure := func(b *bench, specs []*Spec) { b.raw(Input{Kind: Configure, Specs: specs}) }
	crash := func(b *bench, agent string) {
		b.raw(Input{Kind: Exited, Node: agent, Incarnation: b.state(agent).Incarnation, Reason: "crash"})
	}
	stopped := func(b *bench, agents ...string) {
		for _, a := range agents {
			b.raw(Input{Kind: Stopped, Node: a, Incarnation: b.state(a).Incarnation})
		}
	}
	for name, until := range map[string]func(*bench){
		"quiet":    func(*bench) {},
		"stopping": func(b *bench) { crash(b, "a"); stopped(b, "d") },
		"waiting":  func(b *bench) { crash(b, "a"); stopped(b, "d", "c", "b") },
		"waiting for one in the middle": func(b *bench) {
			crash(b, "b")
			stopped(b, "d", "c")
		},
		"starting": func(b *bench) {
			crash(b, "a")
			stopped(b, "d", "c", "b")
			b.now = b.now.Add(6 * time.Second)
			b.raw(Input{Kind: Tick})
		},
		"starting one in the middle": func(b *bench) {
			crash(b, "a")
			stopped(b, "d", "c", "b")
			b.now = b.now.Add(6 * time.Second)
			b.raw(Input{Kind: Tick})
			b.raw(Input{Kind: Started, Node: "a", Incarnation: 2})
			b.raw(Input{Kind: Started, Node: "b", Incarnation: 2})
		},
		"failing to start": func(b *bench) {
			crash(b, "a")
			stopped(b, "d", "c", "b")
			b.now = b.now.Add(6 * time.Second)
			b.raw(Input{Kind: Tick})
			b.raw(Input{Kind: Started, Node: "a", Incarnation: 2})
			b.raw(Input{Kind: StartFailed, Node: "b", Incarnation: 2, Reason: "crash"})
		},
		"booting": func(b *bench) {
			b.raw(Input{Kind: Order, Command: CmdTerminate, Node: "g"})
			stopped(b, "d", "c", "b", "a")
			b.raw(Input{Kind: Order, Command: CmdRestart, Node: "g"})
			b.raw(Input{Kind: Started, Node: "a", Incarnation: 2})
		},
	} {
		for _, order := range []string{"a n b c d", "n d c b a", "d a b c", "b a d c n"} {
			b := newBench(t, file("a", "b", "c", "d")...)
			until(b)
			configure(b, file(strings.Fields(order)...))
			b.equal(name+": to be "+order, strings.Join(b.tree.Children("g"), " "), order)
			b.settleDown()
			b.equal(name+": "+order, b.ranks("g"), order)
			b.equal(name+": nothing is left to do", len(b.tree.nodes["g"].st.Supervisor.Order), 0)
			before := map[string]uint64{}
			for _, n := range strings.Fields(order) {
				b.wantPhase(n, Running)
				before[n] = b.state(n).Incarnation
			}
			second := strings.Fields(order)[1]
			crash(b, second)
			b.settleDown()
			for i, n := range strings.Fields(order) {
				b.equal(name+": "+order+": restart of "+n+" with "+second, b.state(n).Incarnation > before[n], i >= 1)
			}
		}
	}
}

// A configuration that is in force already moves nothing: the order that moves have made
// of the children lasts.
func TestAFileInForceKeepsTheOrder(t *testing.T) {
	t.Parallel()
	specs := []*Spec{sup("root", "", Supervisor{}), sup("g", "root", Supervisor{}), sup("h", "root", Supervisor{}), agent("a", "g"), agent("b", "g"), agent("q", "g")}
	b := newBench(t, specs...)
	b.wantReply("away", b.order(CmdMove, "a", 0, "h"), OK)
	b.wantReply("back", b.order(CmdMove, "a", 0, "g"), OK)
	b.do(Input{Kind: Configure, Specs: b.tree.Present(specs), Boot: true})
	b.equal("the same file", b.ranks("g"), "b q a")
	b.do(Input{Kind: Configure, Specs: specs})
	b.equal("the file is applied", b.ranks("g"), "a b q")
}

// What an operator has removed stays away when the same file is read again, though it was
// beyond the count of the file; another order to scale brings it.
func TestARemovedInstanceStaysAway(t *testing.T) {
	t.Parallel()
	instance := func(i int) *Spec {
		return agent(Instance("w", i), "root", func(s *Spec) { s.Template, s.Index, s.Instances = "w", i, 2 })
	}
	specs := []*Spec{sup("root", "", Supervisor{}), sup("other", "root", Supervisor{}), instance(1), instance(2)}
	b := newBench(t, specs...)
	b.wantReply("scale", b.order(CmdScale, "w", 4, ""), OK)
	b.wantReply("move", b.order(CmdMove, "w-1", 0, "other"), OK)
	b.wantReply("remove", b.order(CmdRemove, "w-3", 0, ""), OK)
	b.wantReply("remove", b.order(CmdRemove, "w-2", 0, ""), OK)
	for range 2 {
		b.do(Input{Kind: Configure, Specs: b.tree.Present(specs), Boot: true})
		b.equal("read again", strings.Join(b.tree.Children("root"), " ")+", "+strings.Join(b.tree.Children("other"), " "), "other w-4, w-1")
	}
	b.do(Input{Kind: Configure, Specs: specs})
	b.equal("applied", b.tree.Has("w-2") && !b.tree.Has("w-3"), true)
	b.wantReply("scale again", b.order(CmdScale, "w", 4, ""), OK)
	b.equal("scaled", b.tree.Has("w-3"), true)
}

// An agent that was moved keeps running when the supervisor that the file has it under is
// gone, and the file is read again. One that was removed and added anew stays what it was
// added as.
func TestAMovedAgentOutlivesItsFormerSupervisor(t *testing.T) {
	t.Parallel()
	specs := []*Spec{sup("root", "", Supervisor{}), sup("g", "root", Supervisor{}), sup("h", "root", Supervisor{}), agent("a", "g"), agent("b", "g"), agent("c", "h", built("1"))}
	b := newBench(t, specs...)
	b.do(Input{Kind: Order, Command: CmdAdd, Node: "x", Spec: sup("x", "root", Supervisor{})})
	b.wantReply("a away", b.order(CmdMove, "a", 0, "h"), OK)
	b.wantReply("b away", b.order(CmdMove, "b", 0, "x"), OK)
	b.wantReply("their supervisor", b.order(CmdRemove, "g", 0, ""), OK)
	b.wantReply("c", b.order(CmdRemove, "c", 0, ""), OK)
	b.do(Input{Kind: Order, Command: CmdAdd, Node: "c", Spec: agent("c", "root", built("2"))})
	for range 2 {
		b.do(Input{Kind: Configure, Specs: b.tree.Present(specs), Boot: true})
		b.wantChildren("h", "a")
		b.wantChildren("x", "b")
		c, _, _ := b.tree.Lookup("c")
		b.equal("c", c.Agent.Build+" under "+c.Parent, "2 under root")
	}
}
