package tree

import (
	"slices"
	"strings"
	"testing"
)

func groups(a, b string, more ...*Spec) []*Spec {
	return append([]*Spec{
		sup("root", "", Supervisor{MaxRestarts: 9}),
		sup("g", "root", Supervisor{MaxRestarts: 9}), sup("h", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 9}),
		agent("x", "h"), agent("y", "h"), agent("a", a), agent("b", b),
	}, more...)
}

// An agent that the file puts elsewhere moves there as it runs.
func TestConfiguredMove(t *testing.T) {
	t.Parallel()
	b := newBench(t, groups("g", "g")...)
	b.took()
	moved := groups("h", "g")
	moved[3], moved[5] = moved[5], moved[3] // a, y, x are in h
	b.apply(1, moved...)
	b.equal("done", b.took(), "move a, configure root, reply ok")
	b.wantPhase("a", Running)
	b.equal("incarnation", b.state("a").Incarnation, uint64(1))
	b.equal("children of h", strings.Join(b.tree.Children("h"), " "), "a y x")
	if spec, _, _ := b.tree.Lookup("a"); spec.Origin != "" {
		t.Errorf("its place is not the configured one: %+v", spec)
	}
	// It is the new supervisor's from now on.
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
	b.equal("stopping", b.stopping(), "x")
}

// A supervisor that is new takes over what the file puts under it, and one that
// is gone loses first what moves away.
func TestConfiguredMoveBetweenNewAndOld(t *testing.T) {
	t.Parallel()
	b := newBench(t, groups("g", "g")...)
	b.took()
	specs := []*Spec{
		sup("root", "", Supervisor{MaxRestarts: 9}), sup("h", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 9}),
		agent("x", "h"), agent("y", "h"),
		sup("n", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 9}), sup("m", "n", Supervisor{MaxRestarts: 9}),
		agent("first", "n"), agent("a", "m"), agent("b", "n"), agent("last", "n"),
	}
	b.do(Input{Kind: Configure, Specs: specs})
	for _, id := range []string{"n", "m", "first", "a", "b", "last"} {
		b.wantPhase(id, Running)
	}
	b.equal("g is there", b.tree.Has("g"), false)
	b.equal("a", b.state("a").Incarnation, uint64(1))
	b.equal("b", b.state("b").Incarnation, uint64(1))
	b.equal("children of n", strings.Join(b.tree.Children("n"), " "), "m first b last")
	if slices.ContainsFunc(b.done, func(s string) bool { return strings.HasPrefix(s, "stop ") }) {
		t.Errorf("done: %v", b.done)
	}
}

// Two supervisors change places.
func TestConfiguredMoveTurnsSupervisorsAround(t *testing.T) {
	t.Parallel()
	chain := func(up, down string) []*Spec {
		return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup(up, "root", Supervisor{MaxRestarts: 9}), sup(down, up, Supervisor{MaxRestarts: 9}), agent("a", "g")}
	}
	b := newBench(t, chain("g", "h")...)
	b.took()
	b.apply(1, chain("h", "g")...)
	b.equal("done", b.took(), "move h, move g, configure root, reply ok")
	b.equal("children of h", strings.Join(b.tree.Children("h"), " "), "g")
	b.wantPhase("a", Running)
	if s := b.tree.Snapshot(); s.Validate() != nil {
		t.Error(s.Validate())
	}
}

func TestConfiguredMoveThatMustWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before Input
		want   Result
	}{
		"the agent is being restarted":    {Input{Kind: Order, Command: CmdRestart, Node: "a"}, Busy},
		"the new supervisor is restarted": {Input{Kind: Exited, Node: "x", Incarnation: 1, Reason: "crash"}, Busy},
		"the new supervisor is stopping":  {Input{Kind: Order, Command: CmdTerminate, Node: "h"}, Busy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, groups("g", "g")...)
			b.raw(c.before)
			before := b.tree.Revision()
			out := b.apply(1, groups("h", "g")...)
			if last := out[len(out)-1]; last.Result != c.want || b.tree.Revision() != before {
				t.Errorf("got %+v; changed: %t", last, b.tree.Revision() != before)
			}
		})
	}
	b := newBench(t, groups("g", "g")...)
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "h"})
	out := b.apply(1, groups("h", "g")...)
	if last := out[len(out)-1]; last.Result != Invalid || !strings.Contains(last.Reason, "supervisor h is down; restart it first") {
		t.Errorf("to a supervisor that is down: %+v", last)
	}
}

// An agent that waits for a runner has no process that a move could disturb.
func TestConfiguredMoveOfWhatWaits(t *testing.T) {
	t.Parallel()
	with := func(parent string) []*Spec {
		specs := groups(parent, "g")
		specs[5].Agent.Runner = AnyRunner
		return specs
	}
	b := newBench(t, with("g")...)
	b.wantPhase("a", Unplaced)
	b.apply(1, with("h")...)
	b.equal("children of h", strings.Join(b.tree.Children("h"), " "), "x y a")
	b.wantPhase("a", Unplaced)
	b.wantPhase("g", Running)
	b.do(Input{Kind: Runners, Runners: []Runner{{Name: "r"}}})
	b.wantPhase("a", Running)
	b.wantPhase("g", Running)
	b.wantPhase("h", Running)
}

// What an operator moved stays there, unless the file puts it elsewhere itself.
func TestConfiguredMoveAndAnOperators(t *testing.T) {
	t.Parallel()
	b := newBench(t, groups("g", "g")...)
	b.do(Input{Kind: Order, Command: CmdMove, Node: "a", To: "h"})
	b.apply(1, groups("g", "g")...)
	b.equal("moved by order", strings.Join(b.tree.Children("h"), " "), "x y a")
	b.apply(1, groups("root", "g")...)
	b.equal("moved by the file", strings.Join(b.tree.Children("root"), " "), "g h a")
	b.apply(1, groups("g", "g")...)
	b.equal("and back", strings.Join(b.tree.Children("g"), " "), "a b")
}
