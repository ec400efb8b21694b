package diagnosis

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// constants are the values that package tree declares of a type of strings.
func constants[T ~string](t *testing.T, name string) []T {
	t.Helper()
	var out []T
	for _, file := range []string{"end.go", "state.go", "spec.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), "../tree/"+file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && fmt.Sprint(v.Type) == name {
				s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, T(s))
			}
			return true
		})
	}
	if len(out) < 3 {
		t.Fatalf("found %d constants of type %s", len(out), name)
	}
	return out
}

// overs are all that a supervisor can be doing while the child with rank 5 is
// down.
var overs = map[string]above{
	"none":         {},
	"boot, ahead":  {op: &tree.Operation{Kind: tree.OpBoot, Stage: tree.StageStart, At: 3}},
	"boot, passed": {op: &tree.Operation{Kind: tree.OpBoot, Stage: tree.StageStart, At: 7}},
	"boot, at":     {op: &tree.Operation{Kind: tree.OpBoot, Stage: tree.StageStart, At: 5}},
	"boot, all":    {op: &tree.Operation{Kind: tree.OpBoot, Stage: tree.StageStart}},
	"group, stops": {op: &tree.Operation{Kind: tree.OpGroup, Stage: tree.StageStop, At: 7, From: 4}},
	"group, waits": {op: &tree.Operation{Kind: tree.OpGroup, Stage: tree.StageWait, From: 5, Due: 9}},
	"group, ahead": {op: &tree.Operation{Kind: tree.OpGroup, Stage: tree.StageStart, From: 1, At: 3}},
	"group, after": {op: &tree.Operation{Kind: tree.OpGroup, Stage: tree.StageWait, From: 6}},
	"group, past":  {op: &tree.Operation{Kind: tree.OpGroup, Stage: tree.StageStart, At: 6}},
	"fill, ahead":  {op: &tree.Operation{Kind: tree.OpFill, Stage: tree.StageStart, From: 4, At: 3}},
	"stops":        {down: true, op: &tree.Operation{Kind: tree.OpStop, Stage: tree.StageStop, At: 7}},
	"down":         {down: true},
	"suspended":    {suspended: "s"},
}

// idle are the state and the status of an idle child by how it ended: by itself,
// while nothing is to start it; in other situations those below count.
var idle = map[tree.End][2]string{
	"":                  {"stopped", "stopped"},
	tree.EndStopped:     {"stopped", "stopped"},
	tree.EndExited:      {"failed", "failed"},
	tree.EndStartFailed: {"failed", "failed"},
	tree.EndFailed:      {"failed", "failed"},
	tree.EndLost:        {"failed", "failed"},
	tree.EndShutdown:    {"failed", "failed"},
	tree.EndEscalated:   {"failed", "failed"},
	tree.EndGaveUp:      {"gave_up", "failed"},
	tree.EndCooling:     {"failed", "failed"},
	tree.EndCompleted:   {"finished", "stopped"},
	tree.EndFinished:    {"finished", "stopped"},
}

// of is the state and the status of a node in a phase that says enough.
var of = map[tree.Phase][2]string{
	tree.Throttled: {"budget", "starting"}, tree.Unplaced: {"unplaced", "starting"}, tree.Starting: {"starting", "starting"},
	tree.Verifying: {"verifying", "starting"}, tree.Stabilising: {"verifying", "starting"}, tree.Unverified: {"verifying", "starting"}, tree.Running: {"running", "running"},
	tree.Stopping: {"stopping", "stopping"}, tree.Isolated: {"isolated", "failed"}, tree.Claiming: {"listening", "starting"},
	tree.Foreign: {"foreign", "foreign"},
}

// want is what a child in a phase, with an end, is by what its supervisor does.
func want(phase tree.Phase, end tree.End, over string, due bool) [2]string {
	failed := [2]string{"", "stopped"}
	if b := end.Blame(); b == tree.BlameAgent || b == tree.BlameHost {
		failed[1] = "failed"
	}
	state := func(s string) [2]string { return [2]string{s, failed[1]} }
	switch {
	case (phase == tree.Gone || phase == tree.Idle) && end == tree.EndTerminated:
		return state("terminated")
	case phase == tree.Watched && end == "":
		return [2]string{"watched", "watched"}
	case phase == tree.Watched:
		return state("watched")
	case phase == tree.Waiting && over == "suspended":
		return [2]string{"held", "restarting"}
	case phase == tree.Waiting && due:
		return [2]string{"backoff", "restarting"}
	case phase == tree.Ended && failed[1] == "failed":
		return state("held")
	case phase == tree.Ended:
		return [2]string{"held", "restarting"} // it is permanent
	case phase == tree.Gone && failed[1] == "failed":
		return state("failed")
	case phase == tree.Gone:
		return state("finished")
	case phase != tree.Idle && phase != tree.Waiting:
		return of[phase]
	case slices.Contains([]string{"group, stops", "group, waits", "group, ahead"}, over):
		return [2]string{"group", "restarting"}
	case over == "boot, ahead", over == "fill, ahead" && end == "":
		return [2]string{"starting", "starting"}
	case (over == "stops" || over == "down") && end != tree.EndFinished && end != tree.EndGaveUp:
		return state("with_supervisor")
	}
	return idle[end]
}

// TestEveryState: every phase, end and operation of the supervisor has one state,
// and a status and a reason that follow from it; nobody is said to be stopped by
// order but what an operator ended.
func TestEveryState(t *testing.T) {
	spec := agent("a", "s", func(s *tree.Spec) { s.Rank = 5 })
	ends := append(constants[tree.End](t, "End"), "")
	phases := constants[tree.Phase](t, "Phase")
	f := newFleet(t, sup("root", "", nil), sup("s", "root", nil), agent("first", "s", nil), spec)
	spec.Rank = 5
	seen := 0
	for _, phase := range phases {
		for _, end := range ends {
			if phase == tree.Waiting && end == tree.EndTerminated {
				continue // an order to terminate what waits makes it idle
			}
			for over, a := range overs {
				for _, due := range []tree.Instant{0, noon} {
					seen++
					st := tree.State{Phase: phase, End: end, Why: "how"}
					st.Due = due
					n := subject{spec: spec, st: st, above: a, state: stateOf(spec, &st, a)}
					got := [2]string{string(n.state), string(n.status())}
					if w := want(phase, end, over, due > 0); got != w {
						t.Errorf("%s, end %q, supervisor: %s, due %t: %v, want %v", phase, end, over, due > 0, got, w)
					}
					r := NewReader(f.tree)
					r.tops["s"] = &subject{spec: spec, st: st, state: contracts.StateStopping}
					if words := r.words(&n); words == "" || strings.Contains(words, "order") && n.state != contracts.StateStopped {
						t.Errorf("%s, end %q, supervisor: %s: %q", phase, end, over, words)
					}
				}
			}
		}
	}
	if seen < 14*13*10 {
		t.Errorf("%d combinations", seen)
	}
	// Supervisors have operations of their own.
	for _, c := range []struct {
		s    tree.Supervised
		want [2]string
	}{
		{tree.Supervised{}, [2]string{"running", "running"}},
		{tree.Supervised{Op: overs["group, waits"].op}, [2]string{"restarting", "restarting"}},
		{tree.Supervised{Suspended: true}, [2]string{"suspended", "suspended"}},
		{tree.Supervised{Suspended: true, Op: overs["group, waits"].op}, [2]string{"suspended", "suspended"}},
	} {
		st := tree.State{Phase: tree.Running, Supervisor: &c.s}
		n := subject{spec: spec, st: st, state: stateOf(spec, &st, above{})}
		if got := [2]string{string(n.state), string(n.status())}; got != c.want {
			t.Errorf("%+v: %v, want %v", c.s, got, c.want)
		}
	}
}

// brief checks a node's status, reason, and whether it is said when its wait ends.
func (f *fleet) brief(id string, status contracts.NodeStatus, reason string, until bool) {
	f.t.Helper()
	spec, st, ok := f.tree.Lookup(id)
	if !ok {
		f.t.Fatalf("there is no %s", id)
	}
	b := NewReader(f.tree).Brief(spec, st)
	if b.Status != status || b.Reason != reason || (b.Until != nil) != until {
		f.t.Errorf("%s: %s (%s) until %v\nwant %s (%s) until: %t", id, b.Status, b.Reason, b.Until, status, reason, until)
	}
}

// TestBriefGroups: a member of a group that ended by itself is said to restart,
// and how it ended; those that were stopped for it say so, and by whom.
func TestBriefGroups(t *testing.T) {
	for _, strategy := range []tree.Strategy{tree.OneForAll, tree.RestForOne} {
		f := newFleet(t, sup("root", "", nil), sup("g", "root", func(s *tree.Supervisor) { s.Strategy, s.MaxRestarts = strategy, 9 }),
			agent("crashed", "g", delayed), agent("sibling", "g", delayed), sup("inner", "g", nil), agent("leaf", "inner", nil))
		f.raw(f.exit("crashed"))
		f.brief("crashed", contracts.NodeRestarting, "exited with code 3, waits with its group", false)
		f.brief("inner", contracts.NodeStopping, "with its group", false)
		f.brief("leaf", contracts.NodeStopping, "with its supervisor", false)
		f.do(tree.Input{Kind: tree.Stopped, Node: "leaf", Incarnation: 1})
		f.do(tree.Input{Kind: tree.Stopped, Node: "sibling", Incarnation: 1})
		f.brief("g", contracts.NodeRestarting, "crashed exited with code 3", true)
		f.brief("crashed", contracts.NodeRestarting, "exited with code 3, waits with its group", true)
		for _, id := range []string{"sibling", "inner"} {
			f.brief(id, contracts.NodeRestarting, "waits with its group: crashed exited with code 3", true)
		}
		f.brief("leaf", contracts.NodeStopped, "with supervisor inner", true)
		f.want("leaf", contracts.StateWithSupervisor, "inner: supervisor g restarts its children together because crashed failed", "inner", "crashed")
		f.want("crashed", contracts.StateGroup, "it starts with them; it ended by itself: exited with code 3", "g", "")
		// An order that ends the supervisor ends the wait, and says so.
		f.order(tree.CmdTerminate, "g")
		f.brief("g", contracts.NodeStopped, "terminated", false)
		f.brief("crashed", contracts.NodeStopped, "with supervisor g", false)
		f.brief("sibling", contracts.NodeStopped, "with supervisor g", false)
	}
}

// TestBriefLastOfRest: the last member of a rest_for_one group, which nobody is
// stopped for, waits with its group all the same; so does one that ended in order,
// one that ended while others were being stopped, and one that was found failed.
func TestBriefLastOfRest(t *testing.T) {
	rest := func(s *tree.Supervisor) { s.Strategy, s.MaxRestarts = tree.RestForOne, 9 }
	f := newFleet(t, sup("root", "", nil), sup("g", "root", rest), agent("a", "g", delayed), agent("b", "g", delayed))
	f.do(f.exit("b"))
	f.brief("a", contracts.NodeRunning, "", false)
	f.brief("b", contracts.NodeRestarting, "exited with code 3, waits with its group", true)
	// A second failure widens it, and both keep how they ended.
	f.do(f.exit("a"))
	f.brief("a", contracts.NodeRestarting, "exited with code 3, waits with its group", true)
	f.brief("b", contracts.NodeRestarting, "exited with code 3, waits with its group", true)
	f.order(tree.CmdSuspend, "g")
	f.brief("b", contracts.NodeRestarting, "exited with code 3, waits with its group", false)
	f.want("b", contracts.StateGroup, "not while supervisor g is suspended", "g", "a")

	f = newFleet(t, sup("root", "", nil), sup("g", "root", rest), agent("a", "g", delayed), agent("b", "g", delayed))
	done := f.exit("b")
	done.Normal, done.Reason = true, "completed"
	f.raw(f.exit("a"))
	f.raw(tree.Input{Kind: tree.Failed, Node: "b", Incarnation: 1, Reason: "missed_heartbeats"}) // too late: it is being stopped
	f.brief("b", contracts.NodeStopping, "with its group", false)
	f.do(tree.Input{Kind: tree.Stopped, Node: "b", Incarnation: 1})
	f.brief("b", contracts.NodeRestarting, "waits with its group: a exited with code 3", true)

	f = newFleet(t, sup("root", "", nil), sup("g", "root", rest), agent("a", "g", delayed), agent("b", "g", delayed))
	f.do(done)
	f.brief("b", contracts.NodeRestarting, "completed, waits with its group", true)
	f = newFleet(t, sup("root", "", nil), sup("g", "root", rest), agent("a", "g", delayed), agent("b", "g", delayed))
	verdict := tree.Input{Kind: tree.Failed, Node: "a", Incarnation: 1, Reason: "missed_heartbeats", Event: "verdict"}
	f.do(verdict)
	f.brief("a", contracts.NodeRestarting, "missed_heartbeats, waits with its group", true)
	f.brief("b", contracts.NodeRestarting, "waits with its group: a: missed_heartbeats", true)
}

// TestBriefBoot: a group that starts one after another says what is awaited.
func TestBriefBoot(t *testing.T) {
	f := &fleet{t: t, tree: tree.New(tree.Options{}), now: noon}
	specs := []*tree.Spec{sup("root", "", func(s *tree.Supervisor) { s.Strategy = tree.OneForAll }), agent("a", "root", nil), agent("b", "root", nil)}
	for i, s := range specs {
		s.Rank = int64(i + 1)
	}
	f.raw(tree.Input{Kind: tree.Configure, Specs: specs, Boot: true})
	f.brief("b", contracts.NodeStarting, "waits until a has started", false)
	f.want("b", contracts.StateStarting, "one after another; a comes first", "root", "")
	f.do(tree.Input{Kind: tree.Started, Node: "a", Incarnation: 1})
	f.brief("b", contracts.NodeRunning, "", false)
	f.now = f.now.Add(time.Second)
	f.order(tree.CmdTerminate, "root")
	f.brief("b", contracts.NodeStopped, "with supervisor root", false)
}
