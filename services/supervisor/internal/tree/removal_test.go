package tree

import (
	"fmt"
	"testing"
)

// An order that brings a node down is done when a configuration, or the removal of its
// supervisor, removes the node: that is what it asked for.
func TestRemovalFulfilsOrdersThatEnd(t *testing.T) {
	t.Parallel()
	root, group := sup("root", "", Supervisor{MaxRestarts: 9}), sup("group", "root", Supervisor{MaxRestarts: 9})
	for _, cmd := range []CommandKind{CmdTerminate, CmdRemove} {
		for name, less := range map[string][]*Spec{"itself": {root, group}, "with its supervisor": {root}} {
			b := newBench(t, root, group, agent("a", "group"))
			b.raw(Input{Kind: Order, Command: cmd, Node: "a", Token: "order"})
			b.raw(Input{Kind: Configure, Specs: less, Token: "file"})
			b.tree = roundTrip(t, b.tree, Options{})
			if a, over := b.tree.Answered("order"); over {
				t.Errorf("%s, %s: answered while it stops: %+v", cmd, name, a)
			}
			b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
			if a, over := b.tree.Answered("order"); !over || a.Result != OK || b.tree.Has("a") {
				t.Errorf("%s, %s: %+v", cmd, name, a)
			}
		}
	}
	// Configured again, the order is superseded: the node stays.
	b := newBench(t, root, agent("a", "root"))
	b.raw(Input{Kind: Order, Command: CmdRemove, Node: "a", Token: "order"})
	b.raw(Input{Kind: Configure, Specs: []*Spec{root}})
	b.raw(Input{Kind: Configure, Specs: []*Spec{root, agent("a", "root")}})
	if a, over := b.tree.Answered("order"); !over || a.Result != Superseded {
		t.Errorf("%+v", a)
	}
}

// A name that is being removed, or is under what is, is not there to run: an addition
// can be tried again.
func TestAdditionsWaitForRemovals(t *testing.T) {
	t.Parallel()
	root, group := sup("root", "", Supervisor{MaxRestarts: 9}), sup("group", "root", Supervisor{MaxRestarts: 9})
	for _, c := range []struct {
		remove string
		add    *Spec
		want   string
	}{
		{"a", agent("a", "root"), "busy: there is an older one, which is being removed; try again when that is done"},
		{"group", agent("a", "root"), "busy: there is an older one, which is being removed; try again when that is done"},
		{"group", agent("b", "group"), "no_supervisor: supervisor group is being removed"},
	} {
		b := newBench(t, root, group, agent("a", "group"))
		b.raw(Input{Kind: Order, Command: CmdRemove, Node: c.remove})
		got := ""
		for _, e := range b.raw(Input{Kind: Order, Command: CmdAdd, Spec: c.add, Node: c.add.ID, Token: "t"}) {
			got += fmt.Sprintf("%s: %s", e.Result, e.Reason)
		}
		b.equal("add of "+c.add.ID+" while "+c.remove+" is removed", got, c.want)
	}
}

// What an agent is being stopped for is said as long as it stops.
func TestStopsSayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{MaxRestarts: 9})
	b := newBench(t, root, agent("a", "root"))
	for _, c := range []struct {
		in   Input
		want string
	}{
		{Input{Kind: Order, Command: CmdRestart, Node: "a"}, whyRestart},
		{Input{Kind: Order, Command: CmdTerminate, Node: "a"}, whyTerminated},
		{Input{Kind: Configure, Specs: []*Spec{root}}, whyRemove},
		{Input{Kind: Configure, Specs: []*Spec{root, agent("a", "root")}}, whyRestart},
	} {
		b.raw(c.in)
		b.wantPhase("a", Stopping)
		b.equal(string(c.in.Kind+" ")+string(c.in.Command), b.state("a").Why, c.want)
	}
}

// An agent that a file has again while it is being removed is followed as a new one is:
// it stops nothing when it fails, whatever it is changed to.
func TestAgentsThatComeBackAreFollowedAsNew(t *testing.T) {
	t.Parallel()
	for _, build := range []string{"1", "2"} {
		without := five("1")[:5]
		b := newBench(t, five("1")...)
		b.apply(1, without...)
		b.wantPhase("e", Stopping)
		b.apply(1, append(without, agent("e", "root", built(build)))...)
		r := b.tree.Rolling()
		if r == nil || r.Added != 1 || r.Total != 1 {
			t.Fatalf("build %s: %+v", build, r)
		}
		b.raw(Input{Kind: Stopped, Node: "e", Incarnation: 1})
		b.raw(Input{Kind: StartFailed, Node: "e", Incarnation: 2, Reason: "no such program"})
		if r := b.tree.Rolling(); r != nil {
			t.Errorf("build %s: %+v", build, r)
		}
	}
}
