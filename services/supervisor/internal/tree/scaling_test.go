package tree

import (
	"strings"
	"testing"
	"time"
)

// replies are the answers in effects to orders that have a token, with their reasons.
func replies(effects []Effect) string {
	var out []string
	for _, e := range effects {
		if e.Kind == DoReply && e.Token != "" {
			out = append(out, strings.TrimSuffix(e.Token+" "+string(e.Result)+": "+e.Reason, ": "))
		}
	}
	return strings.Join(out, ", ")
}

// TestScalingIsDoneWhenItHolds: an order to scale is answered when the instances that it
// adds are verified and those that it removes are gone, also by a successor.
func TestScalingIsDoneWhenItHolds(t *testing.T) {
	t.Parallel()
	verified := func(s *Spec) { s.Agent.Verify, s.Agent.Stabilisation = true, time.Second }
	scale := func(b *bench, token string, count int) string {
		return replies(b.raw(Input{Kind: Order, Command: CmdScale, Node: "w", Count: count, Token: token}))
	}
	agentIs := func(b *bench, kind InputKind, id string) string {
		return replies(b.raw(Input{Kind: kind, Node: id, Incarnation: b.state(id).Incarnation, Reason: "it ended"}))
	}
	comesUp := func(b *bench, id string) string {
		return agentIs(b, Started, id) + agentIs(b, Beat, id)
	}
	passes := func(b *bench, d time.Duration) string {
		b.now = b.now.Add(d)
		return replies(b.raw(Input{Kind: Tick}))
	}
	for name, test := range map[string]func(b *bench, want func(what, got, want string)){
		"up": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 4), "")
			b.tree = roundTrip(b.t, b.tree, Options{})
			left, first := b.tree.Left("w", CmdScale)
			b.equal("left", left, 2)
			b.equal("first", first, "w-3")
			want("asked again", scale(b, "t", 4), "")
			want("one beats", comesUp(b, "w-3"), "")
			want("one is verified", passes(b, time.Second), "")
			want("the other beats", comesUp(b, "w-4"), "")
			b.tree = roundTrip(b.t, b.tree, Options{})
			want("the other is verified", passes(b, time.Second), "t ok")
			want("asked again when it is done", scale(b, "t", 4), "t ok")
			left, _ = b.tree.Left("w", CmdScale)
			b.equal("left", left, 0)
		},
		"down": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 1), "")
			left, first := b.tree.Left("w", CmdScale)
			b.equal("left", left, 1)
			b.equal("first", first, "w-2")
			b.tree = roundTrip(b.t, b.tree, Options{})
			want("it ends", agentIs(b, Stopped, "w-2"), "t ok")
		},
		"to what there is": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 2), "t ok")
		},
		"one fails": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 4), "")
			want("one beats", comesUp(b, "w-3"), "")
			want("one ends", agentIs(b, Exited, "w-3"), "t unverified: w-3 could not be verified: it ended")
			b.wantPhase("w-3", Starting) // it is restarted as any other
			want("the other", comesUp(b, "w-4")+passes(b, time.Second), "")
			b.equal("order in progress", b.state("w-4").Command == nil && b.state("root").Supervisor.Scaling == nil, true)
		},
		"one cannot be started": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 3), "")
			want("answer", agentIs(b, StartFailed, "w-3"), "t start_failed: w-3 could not be started: it ended")
		},
		"a host is lost": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 3), "")
			want("lost", agentIs(b, Lost, "w-3"), "")
			want("elsewhere", comesUp(b, "w-3")+passes(b, time.Second), "t ok")
		},
		"another order": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 4), "")
			want("fewer", scale(b, "u", 3), "t superseded: another order to scale it")
			want("the removed one ends", agentIs(b, Stopped, "w-4"), "")
			want("that of the first order", comesUp(b, "w-3")+passes(b, time.Second), "u ok")
			want("the first is asked for again", scale(b, "t", 4), "t superseded: another order to scale it")
		},
		"one is removed": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 3), "")
			got := replies(b.raw(Input{Kind: Order, Command: CmdRemove, Node: "w-3", Token: "r"}))
			want("remove", got, "t superseded: remove")
		},
		"its supervisor stops": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 3), "")
			b.do(Input{Kind: Order, Command: CmdTerminate, Node: "root"})
			b.equal("answers", len(b.state("root").Supervisor.Scaling), 0)
			a, ok := b.tree.Answered("t")
			b.equal("answered", ok, true)
			b.equal("answer", a.Result, Superseded)
			want("while it is down", scale(b, "u", 5), "u ok")
		},
		"a configuration has more": func(b *bench, want func(what, got, want string)) {
			want("order", scale(b, "t", 1), "")
			more := instances(3, verified)
			got := replies(b.raw(Input{Kind: Configure, Specs: more, Token: "c"}))
			want("configuration", got, "t superseded: a configuration that has w-2 again, c ok: c")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			specs := instances(2, verified)
			b := newBench(t, specs...)
			for _, id := range []string{"w-1", "w-2"} {
				b.raw(Input{Kind: Beat, Node: id, Incarnation: 1})
			}
			b.after(time.Second)
			b.wantPhase("w-2", Running)
			test(b, func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			})
			if s := b.state("root").Supervisor.Scaling; s != nil {
				t.Errorf("still in progress: %v", s)
			}
		})
	}
}

// TestMoveIsDoneWhenItHolds: a move that starts something is done when that is verified;
// what runs has nothing to wait for.
func TestMoveIsDoneWhenItHolds(t *testing.T) {
	t.Parallel()
	verified := func(s *Spec) { s.Agent.Verify, s.Agent.Stabilisation = true, time.Second }
	grown := func(t *testing.T) *bench {
		return newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("from", "root", Supervisor{MaxRestarts: 9}), agent("a", "from", verified),
			sup("sub", "from", Supervisor{MaxRestarts: 9}), agent("b", "sub", verified), sup("to", "root", Supervisor{MaxRestarts: 9}))
	}
	move := func(b *bench, node string) string {
		return replies(b.raw(Input{Kind: Order, Command: CmdMove, Node: node, To: "to", Token: "t"}))
	}
	is := func(b *bench, kind InputKind, id string) string {
		return replies(b.raw(Input{Kind: kind, Node: id, Incarnation: b.state(id).Incarnation, Reason: "it ended"}))
	}
	down := func(b *bench) {
		b.do(Input{Kind: Order, Command: CmdTerminate, Node: "from"})
	}
	runs := func(b *bench) {
		for _, id := range []string{"a", "b"} {
			b.raw(Input{Kind: Beat, Node: id, Incarnation: 1})
		}
		b.after(time.Second)
	}

	b := grown(t)
	runs(b)
	b.equal("one that runs", move(b, "a"), "t ok")

	b = grown(t)
	b.raw(Input{Kind: Beat, Node: "a", Incarnation: 1})
	b.equal("in its stabilisation", move(b, "a"), "")
	b.now = b.now.Add(time.Second)
	b.equal("verified", replies(b.raw(Input{Kind: Tick})), "t ok")

	for _, node := range []string{"a", "sub"} {
		b = grown(t)
		runs(b)
		down(b)
		agent := map[string]string{"a": "a", "sub": "b"}[node]
		b.equal("starts "+node, move(b, node), "")
		b.equal("asked again", move(b, node), "")
		b.equal("beats", is(b, Started, agent)+is(b, Beat, agent), "")
		left, first := b.tree.Left(node, CmdMove)
		b.equal("left", left, 1)
		b.equal("first", first, agent)
		b.now = b.now.Add(time.Second)
		b.equal("verified "+node, replies(b.raw(Input{Kind: Tick})), "t ok")

		b = grown(t)
		runs(b)
		down(b)
		b.equal("starts "+node, move(b, node), "")
		is(b, Started, agent)
		want := map[string]string{"a": "t unverified: it could not be verified: it ended", "sub": "t unverified: b could not be verified: it ended"}[node]
		b.equal("fails", is(b, Exited, agent), want)
		b.wantPhase(agent, Starting)
		b.equal("where it is", b.tree.nodes[node].spec.Parent, "to")
	}

	// One that an operator ended stays down.
	b = grown(t)
	runs(b)
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
	b.equal("terminated", move(b, "a"), "t ok")
	b.wantPhase("a", Idle)
}

// An order to scale names the instances that it kept and that do not run, though they
// are to.
func TestScalingNamesTheKeptThatDoNotRun(t *testing.T) {
	t.Parallel()
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 0, Escalation: Isolate})}
	for i := 1; i <= 4; i++ {
		specs = append(specs, agent(Instance("w", i), "root", func(s *Spec) { s.Template, s.Index, s.Instances = "w", i, 4 }))
	}
	b := newBench(t, specs...)
	b.crash("w-1")
	b.crash("w-2")
	scale := func(count int) string {
		b.do(Input{Kind: Order, Command: CmdScale, Node: "w", Count: count, Token: Instance("t", count)})
		return b.lastReply()
	}
	b.equal("two are down", scale(3), "t-3: ok: w-1, w-2 do not run")
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "w-1", Token: "end"})
	b.equal("one is, and is to run", scale(2), "t-2: ok: w-2 does not run")
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "w-2", Token: "start"})
	b.equal("none is", scale(1), "t-1: ok: ")
}

// TestMoveIsDoneWhereNothingStarts: a move into an enforced supervisor ends what may
// still run of an agent that was only watched. Where nothing starts it there, the move is
// done.
func TestMoveIsDoneWhereNothingStarts(t *testing.T) {
	t.Parallel()
	grown := func(t *testing.T) *bench {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", func(s *Spec) { s.Restart = Transient }),
			sup("sub", "root", Supervisor{MaxRestarts: 9}), agent("b", "sub"), with(sup("to", "root", Supervisor{MaxRestarts: 9}), inMode(Enforce)))
		b.mode("root", Shadow)
		return b
	}
	for name, c := range map[string]struct {
		before Input
		moves  string
		agent  string
	}{
		"its supervisor was terminated": {Input{Kind: Order, Command: CmdTerminate, Node: "to"}, "a", "a"},
		"it was terminated":             {Input{Kind: Order, Command: CmdTerminate, Node: "sub"}, "sub", "b"},
		"it may have finished":          {Input{Kind: Exited, Normal: true, Node: "a", Reason: "done"}, "a", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := grown(t)
			b.do(c.before)
			b.wantPhase(c.agent, Watched)
			b.wantReply("moved", b.order(CmdMove, c.moves, 0, "to"), OK)
			b.wantPhase(c.agent, Idle)
			if cmd := b.state(c.moves).Command; cmd != nil {
				t.Errorf("the order is not over: %+v", cmd)
			}
		})
	}
}
