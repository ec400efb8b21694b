package tree

import (
	"fmt"
	"strings"
	"testing"
)

func instances(count int, change ...func(*Spec)) []*Spec {
	out := []*Spec{sup("root", "", Supervisor{MaxRestarts: 3}), agent("first", "root")}
	for i := range count {
		out = append(out, agent(Instance("w", i+1), "root", append(change, func(s *Spec) { s.Template, s.Index, s.Instances = "w", i+1, count })...))
	}
	return append(out, agent("last", "root"), sup("other", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 3}), agent("o", "other"))
}

func (b *bench) wantChildren(of, want string) {
	b.t.Helper()
	if got := strings.Join(b.tree.Children(of), " "); got != want {
		b.t.Errorf("%s has %s, want %s", of, got, want)
	}
	for _, id := range b.tree.Children(of) {
		b.wantPhase(id, Running)
	}
}

func (b *bench) order(cmd CommandKind, node string, count int, to string) string {
	b.took()
	b.orders++
	b.do(Input{Kind: Order, Command: cmd, Node: node, Count: count, To: to, Token: fmt.Sprint("t", b.orders)})
	for _, d := range b.done {
		if r, ok := strings.CutPrefix(d, "reply "); ok {
			return r
		}
	}
	return ""
}

func (b *bench) wantReply(what, got string, want Result) {
	b.t.Helper()
	if got != string(want) {
		b.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (b *bench) configure(specs []*Spec) {
	b.do(Input{Kind: Configure, Specs: specs, Boot: true})
}

func TestScale(t *testing.T) {
	t.Parallel()
	b := newBench(t, instances(2)...)
	b.wantReply("up", b.order(CmdScale, "w", 4, ""), OK)
	b.wantChildren("root", "first w-1 w-2 w-3 w-4 last other")
	// It outlives a configuration with the same count, and the supervisor.
	b.tree = roundTrip(t, b.tree, Options{})
	b.configure(instances(2))
	b.wantChildren("root", "first w-1 w-2 w-3 w-4 last other")
	b.wantReply("down", b.order(CmdScale, "w", 1, ""), OK)
	b.wantChildren("root", "first w-1 last other")
	b.configure(instances(2))
	b.wantChildren("root", "first w-1 last other")
	// An instance that comes again goes on counting.
	b.wantReply("up again", b.order(CmdScale, "w", 3, ""), OK)
	b.wantChildren("root", "first w-1 w-2 w-3 last other")
	if inc := b.state("w-3").Incarnation; inc != 2 {
		t.Errorf("w-3 is incarnation %d", inc)
	}
	// Another configured count is the word that counts.
	b.configure(instances(5))
	b.wantChildren("root", "first w-1 w-2 w-3 w-4 w-5 last other")
	if s := b.state("root").Supervisor.Scaled; len(s) > 0 {
		t.Errorf("still scaled: %v", s)
	}
	b.configure(instances(2))
	b.wantChildren("root", "first w-1 w-2 last other")
	b.wantReply("none", b.order(CmdScale, "w", 0, ""), Invalid)
	b.wantReply("no template", b.order(CmdScale, "first", 3, ""), NotFound)
	b.do(Input{Kind: Order, Command: CmdAdd, Node: "w-4", Spec: agent("w-4", "other")})
	b.wantReply("taken", b.order(CmdScale, "w", 4, ""), AlreadyPresent)
	b.wantReply("free", b.order(CmdScale, "w", 3, ""), OK)
	b.crash("w-3")
	b.wantPhase("w-3", Running)
}

// In the middle of a group restart the instances to go wait for its end.
func TestScaleInAGroup(t *testing.T) {
	t.Parallel()
	specs := instances(3)
	specs[0].Supervisor.Strategy = OneForAll
	b := newBench(t, specs...)
	b.raw(Input{Kind: Exited, Node: "first", Incarnation: 1, Reason: "crash"})
	b.raw(Input{Kind: Order, Command: CmdScale, Node: "w", Count: 1})
	if !b.tree.Has("w-3") {
		t.Error("removed in the middle of a restart")
	}
	for range 40 {
		for _, e := range b.tree.Outstanding() {
			kind := map[EffectKind]InputKind{DoStart: Started, DoStop: Stopped}[e.Kind]
			b.raw(Input{Kind: kind, Node: e.Node, Incarnation: e.Incarnation})
		}
	}
	b.wantChildren("root", "first w-1 last other")
}

func TestMove(t *testing.T) {
	t.Parallel()
	b := newBench(t, instances(1)...)
	b.wantReply("move", b.order(CmdMove, "w-1", 0, "other"), OK)
	b.wantChildren("other", "o w-1")
	b.wantChildren("root", "first last other")
	if inc := b.state("w-1").Incarnation; inc != 1 {
		t.Errorf("it was restarted: %d", inc)
	}
	// It is the new supervisor's now, over a restart and a configuration.
	b.tree = roundTrip(t, b.tree, Options{})
	b.configure(instances(1))
	b.wantChildren("other", "o w-1")
	b.crash("o")
	if inc := b.state("w-1").Incarnation; inc != 2 {
		t.Errorf("its new group left it out: %d", inc)
	}
	for _, c := range []struct {
		node, to string
		want     Result
	}{
		{"root", "other", Invalid},
		{"other", "other", Invalid},
		{"w-1", "nobody", NoSupervisor},
		{"w-1", "first", NoSupervisor},
		{"nobody", "root", NotFound},
		{"w-1", "other", OK},
	} {
		b.wantReply(fmt.Sprint(c), b.order(CmdMove, c.node, 0, c.to), c.want)
	}
	// Its supervisor cannot be taken from under it.
	var without []*Spec
	for _, s := range instances(1) {
		if s.ID != "other" && s.ID != "o" {
			without = append(without, s)
		}
	}
	b.took()
	b.configure(without)
	if got := b.took(); got != "reply invalid" {
		t.Errorf("%s", got)
	}
	b.wantReply("back", b.order(CmdMove, "w-1", 0, "root"), OK)
	if spec, _, _ := b.tree.Lookup("w-1"); spec.Origin != "" || spec.Parent != "root" {
		t.Errorf("%+v", spec)
	}
	b.configure(without)
	b.wantChildren("root", "first w-1 last")
}

// Out of a supervisor that is down, a child comes up under one that runs, unless
// it was ordered down.
func TestMoveOutOfADownSupervisor(t *testing.T) {
	t.Parallel()
	b := newBench(t, instances(2)...)
	for _, id := range []string{"w-1", "w-2"} {
		b.wantReply("move", b.order(CmdMove, id, 0, "other"), OK)
	}
	b.wantReply("w-2 down", b.order(CmdTerminate, "w-2", 0, ""), OK)
	b.wantReply("other down", b.order(CmdTerminate, "other", 0, ""), OK)
	b.wantPhase("w-1", Idle)
	for _, id := range []string{"w-1", "w-2"} {
		b.wantReply("move back", b.order(CmdMove, id, 0, "root"), OK)
	}
	b.wantPhase("w-1", Running)
	b.wantPhase("w-2", Idle)
	if inc := b.state("w-1").Incarnation; inc != 2 {
		t.Errorf("incarnation %d", inc)
	}
}

// What is in the middle of something stays where it is.
func TestMoveWhileBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t, instances(2)...)
	b.raw(Input{Kind: Order, Command: CmdRestart, Node: "w-1"})
	b.wantReply("stopping", b.order(CmdMove, "w-1", 0, "other"), Busy)
	b.raw(Input{Kind: Exited, Node: "o", Incarnation: 1, Reason: "crash"})
	b.wantReply("restarting", b.order(CmdMove, "w-2", 0, "other"), Busy)
}

// What is being taken over from somebody else would come up under a supervisor
// that is down; so it is not moved there.
func TestMoveWhileTakenOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, instances(2)...)
	b.wantReply("other down", b.order(CmdTerminate, "other", 0, ""), OK)
	b.mode("w-1", Shadow)
	b.wantReply("watched", b.order(CmdMove, "w-1", 0, "other"), OK)
	b.wantReply("watched, back", b.order(CmdMove, "w-1", 0, "root"), OK)
	b.do(Input{Kind: Exited, Node: "w-1", Incarnation: 1})
	b.mode("w-1", Enforce)
	b.wantPhase("w-1", Claiming)
	b.wantReply("listened for", b.order(CmdMove, "w-1", 0, "other"), NoSupervisor)
	b.do(Input{Kind: Beat, Node: "w-1"})
	b.wantPhase("w-1", Foreign)
	b.wantReply("foreign", b.order(CmdMove, "w-1", 0, "other"), NoSupervisor)
}
