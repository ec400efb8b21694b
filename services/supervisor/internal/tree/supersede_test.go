package tree

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// TestOrdersThatSupersede: an order that brings a node down is carried out at once
// however far a start is, and the caller of the start is told.
func TestOrdersThatSupersede(t *testing.T) {
	t.Parallel()
	stages := map[string]func(b *bench){
		"stopping":    func(b *bench) { b.raw(Input{Kind: Order, Command: CmdRestart, Node: "a", Token: "t1"}) },
		"starting":    func(b *bench) { b.restartUntil("a", Starting) },
		"verifying":   func(b *bench) { b.restartUntil("a", Verifying) },
		"stabilising": func(b *bench) { b.restartUntil("a", Stabilising) },
	}
	for stage, reach := range stages {
		for _, c := range []struct {
			cmd   CommandKind
			reply string
			there bool
		}{
			{CmdTerminate, "t2: ok: terminated", true},
			{CmdRemove, "t2: ok: to be removed", false},
			{"", "t2: ok: ", false}, // by the configuration
		} {
			t.Run(stage+" "+string(c.cmd), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root", verifying), agent("b", "root"))
				b.verify("a")
				reach(b)
				if c.cmd == "" {
					b.raw(Input{Kind: Configure, Specs: []*Spec{sup("root", "", Supervisor{MaxRestarts: 5}), agent("b", "root")}, Token: "t2"})
				} else {
					b.raw(Input{Kind: Order, Command: c.cmd, Node: "a", Token: "t2"})
				}
				if got, want := b.lastReply(), "t1: superseded: "+cmp.Or(string(c.cmd), "its removal"); got != want {
					t.Errorf("the restart is answered %q, want %q", got, want)
				}
				b.wantPhase("a", Stopping)
				b.tree = roundTrip(t, b.tree, Options{})
				b.do(Input{Kind: Stopped, Node: "a", Incarnation: b.state("a").Incarnation})
				if got := b.lastReply(); got != c.reply {
					t.Errorf("answered %q, want %q", got, c.reply)
				}
				if b.tree.Has("a") != c.there {
					t.Errorf("it is there: %t, want %t", !c.there, c.there)
				}
				if c.there {
					b.wantPhase("a", Idle)
				}
			})
		}
	}
}

// restartUntil has an agent restarted by order t1 and stops at a phase.
func (b *bench) restartUntil(agent string, until Phase) {
	b.t.Helper()
	b.raw(Input{Kind: Order, Command: CmdRestart, Node: agent, Token: "t1"})
	b.raw(Input{Kind: Stopped, Node: agent, Incarnation: b.state(agent).Incarnation})
	if until != Starting {
		b.raw(Input{Kind: Started, Node: agent, Incarnation: b.state(agent).Incarnation})
	}
	if until == Stabilising {
		b.raw(Input{Kind: Beat, Node: agent, Incarnation: b.state(agent).Incarnation})
	}
	b.wantPhase(agent, until)
}

// TestOrdersThatJoin: who orders what is under way already waits for its end, of a
// successor too, unless it may have begun with something older.
func TestOrdersThatJoin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second CommandKind
		done, want    string
	}{
		"two restarts":            {CmdRestart, CmdRestart, "", "start a, reply ok, reply ok, running a"},
		"two terminations":        {CmdTerminate, CmdTerminate, "", "reply ok, reply ok"},
		"two removals":            {CmdRemove, CmdRemove, "", "reply ok, reply ok, remove a"},
		"a termination of what":   {CmdRemove, CmdTerminate, "", "reply ok, reply ok, remove a"},
		"a removal of what":       {CmdTerminate, CmdRemove, "reply superseded", "reply ok, remove a"},
		"a restart of what stops": {CmdTerminate, CmdRestart, "reply busy", "reply ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root"))
			b.raw(Input{Kind: Order, Command: c.first, Node: "a", Token: "t1"})
			b.took()
			b.raw(Input{Kind: Order, Command: c.second, Node: "a", Token: "t2"})
			if got := b.took(); got != c.done {
				t.Errorf("%q at once, want %q", got, c.done)
			}
			b.tree = roundTrip(t, b.tree, Options{})
			b.raw(Input{Kind: Order, Command: c.second, Node: "a", Token: "t2"})
			if got := b.took(); got != "" && c.done != "reply busy" {
				t.Errorf("%q when asked again", got)
			}
			b.do(Input{Kind: Stopped, Node: "a", Incarnation: 1})
			if got := b.took(); got != c.want {
				t.Errorf("%q in the end, want %q", got, c.want)
			}
		})
	}
}

// TestARestartOfWhatIsBeingStartedStartsItAgain: the first may have been given before
// its program was mended.
func TestARestartOfWhatIsBeingStartedStartsItAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root", verifying))
	b.verify("a")
	b.restartUntil("a", Verifying)
	b.took()
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "a", Token: "t2"})
	b.verify("a")
	if got := b.took(); got != "reply superseded, stop a, start a, reply ok, running a" {
		t.Error(got)
	}
}

// TestJoinedOrdersAreBounded: the others are refused.
func TestJoinedOrdersAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root"))
	for range maxJoined + 2 {
		b.raw(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
	}
	b.took()
	b.raw(Input{Kind: Order, Command: CmdTerminate, Node: "a"})
	if got := b.took(); got != "reply busy" {
		t.Error(got)
	}
}

// TestTerminationDuringAnOperation: a member of a group that operators terminate is
// stopped at once, and is not started by what is under way, wherever that is.
func TestTerminationDuringAnOperation(t *testing.T) {
	t.Parallel()
	for _, node := range []string{"a", "b", "c"} {
		for steps := range 8 {
			for _, cmd := range []CommandKind{CmdTerminate, CmdRemove} {
				b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 5}),
					agent("a", "root", func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Second} }), agent("b", "root"), agent("c", "root"))
				var due []Input
				step := func(in Input) {
					for _, e := range b.raw(in) {
						switch e.Kind {
						case DoStart:
							due = append(due, Input{Kind: Started, Node: e.Node, Incarnation: e.Incarnation})
						case DoStop:
							due = append(due, Input{Kind: Stopped, Node: e.Node, Incarnation: e.Incarnation})
						}
					}
				}
				next := func() {
					if len(due) == 0 {
						b.now = b.now.Add(time.Second)
						step(Input{Kind: Tick})
						return
					}
					in := due[0]
					due = due[1:]
					step(in)
				}
				step(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
				for range steps {
					next()
				}
				before := b.state(node)
				b.took()
				step(Input{Kind: Order, Command: cmd, Node: node, Token: "t"})
				for range 12 {
					next()
				}
				if cmd == CmdRemove && b.tree.Has(node) {
					t.Errorf("%s of %s after %d steps: it is there", cmd, node, steps)
				}
				if cmd == CmdTerminate {
					after := b.state(node)
					if after.Phase != Idle || after.End != EndTerminated || after.Incarnation != before.Incarnation {
						t.Errorf("%s of %s after %d steps: %s, %s, incarnation %d, which was %d: %s", cmd, node, steps, after.Phase, after.End, after.Incarnation, before.Incarnation, b.took())
					}
				}
				for _, other := range []string{"a", "b", "c"} {
					if other != node {
						b.wantPhase(other, Running)
					}
				}
				if op := b.state("root").Supervisor.Op; op != nil {
					t.Errorf("%s of %s after %d steps: the group is in %+v", cmd, node, steps, *op)
				}
				if got := b.lastReply(); !strings.HasPrefix(got, "t: ok: ") {
					t.Errorf("%s of %s after %d steps: %s", cmd, node, steps, got)
				}
			}
		}
	}
}

// The end of the service supersedes orders under a name that operators know.
func TestSupersededByTheEndOfTheService(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root"))
	b.raw(Input{Kind: Order, Command: CmdRestart, Node: "root", Token: "t1"})
	b.raw(Input{Kind: Order, Command: CmdClose, Node: "root", Token: "t2"})
	b.equal("answered", b.lastReply(), "t1: superseded: a stop with the service")
	for _, e := range b.raw(Input{Kind: Order, Command: CmdStart, Node: "root", Token: "t3"}) {
		if e.Result != Busy || e.Reason != "a stop with the service is under way; try again when that is done" {
			t.Errorf("told %+v", e)
		}
	}
}

// An order to restart a member that has yet to be started by its group is done when that
// start is: the member is not started twice.
func TestRestartOfAMemberThatAwaitsItsTurn(t *testing.T) {
	t.Parallel()
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 9}), agent("a", "g", verifying), agent("b", "g"), agent("c", "g")}
	for name, reach := range map[string]func(*bench) uint64{
		"its group starts": func(*bench) uint64 { return 1 },
		"its group restarts": func(b *bench) uint64 {
			b.verify("a")
			b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
			for _, id := range []string{"c", "b"} {
				b.raw(Input{Kind: Stopped, Node: id, Incarnation: 1})
			}
			b.raw(Input{Kind: Started, Node: "a", Incarnation: 2})
			return 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, specs...)
			want := reach(b)
			b.wantPhase("b", Idle)
			for _, token := range []string{"t1", "t2"} {
				b.raw(Input{Kind: Order, Command: CmdRestart, Node: "b", Token: token})
			}
			b.tree = roundTrip(t, b.tree, Options{})
			if _, over := b.tree.Answered("t1"); over {
				t.Error("it is answered before it is started")
			}
			b.verify("a")
			b.after(time.Minute)
			for _, token := range []string{"t1", "t2"} {
				if a, _ := b.tree.Answered(token); a.Result != OK {
					t.Errorf("%s: %+v", token, a)
				}
			}
			for _, id := range []string{"b", "c"} {
				b.wantPhase(id, Running)
				b.equal(id, b.state(id).Incarnation, want)
			}
		})
	}
}
