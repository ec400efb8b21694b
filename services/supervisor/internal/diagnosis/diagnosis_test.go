package diagnosis

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const noon = tree.Instant(1_800_000_000 * time.Second)

// fleet is a tree whose agents do as they are told, unless an input says
// otherwise.
type fleet struct {
	t       *testing.T
	tree    *tree.Tree
	now     tree.Instant
	runners []contracts.RunnerView
}

func newFleet(t *testing.T, specs ...*tree.Spec) *fleet {
	f := &fleet{t: t, tree: tree.New(tree.Options{}), now: noon}
	for i, s := range specs {
		s.Rank = int64(i + 1)
	}
	f.do(tree.Input{Kind: tree.Configure, Specs: specs, Boot: true})
	return f
}

// do takes an input, and answers starts and stops.
func (f *fleet) do(in tree.Input) {
	for queue := []tree.Input{in}; len(queue) > 0; {
		var effects []tree.Effect
		effects, queue = f.raw(queue[0]), queue[1:]
		for _, e := range effects {
			switch e.Kind {
			case tree.DoStart:
				queue = append(queue, tree.Input{Kind: tree.Started, Node: e.Node, Incarnation: e.Incarnation, PID: 7})
			case tree.DoStop:
				queue = append(queue, tree.Input{Kind: tree.Stopped, Node: e.Node, Incarnation: e.Incarnation})
			}
		}
	}
}

// raw takes an input and answers nothing.
func (f *fleet) raw(in tree.Input) []tree.Effect { return f.tree.Step(&in, f.now, nil) }

func (f *fleet) order(kind tree.CommandKind, node string) {
	f.do(tree.Input{Kind: tree.Order, Command: kind, Node: node, Token: string(kind) + " " + node})
}

func (f *fleet) exit(agent string) tree.Input {
	_, st, _ := f.tree.Lookup(agent)
	return tree.Input{Kind: tree.Exited, Node: agent, Incarnation: st.Incarnation, Event: "end of " + agent, Reason: "exited with code 3"}
}

// hear makes runners known to the tree and to the explanation.
func (f *fleet) hear(views ...contracts.RunnerView) {
	f.runners = views
	var all []tree.Runner
	for _, v := range views {
		if v.Available {
			all = append(all, tree.Runner{Name: v.Runner, Capacity: v.Capacity, Named: v.Kind == "goroutine", Labels: v.Labels})
		}
	}
	f.do(tree.Input{Kind: tree.Runners, Runners: all})
}

// holdBack lets starts of an agent be held back, where its placement says so.
func (f *fleet) holdBack(agent string, p contracts.Placement) {
	if !p.Gathering && len(p.Ending) == 0 {
		return
	}
	in := tree.Input{Kind: tree.Runners, Gathering: p.Gathering}
	for _, r := range p.Ending {
		in.Lingering = append(in.Lingering, tree.Lingering{Agent: agent, Runner: r})
	}
	f.do(in)
}

func (f *fleet) explain(id string) contracts.Diagnosis {
	f.t.Helper()
	d, ok := Of(f.tree, id, f.runners, f.now.Time())
	if !ok {
		f.t.Fatalf("there is no %s", id)
	}
	return d
}

// want checks a state, that the reason has some words, and whom it names.
func (f *fleet) want(id string, s contracts.State, reason, with, because string) {
	f.t.Helper()
	d := f.explain(id)
	if d.State != s || !strings.Contains(d.Reason, reason) || d.With != with || d.Because != because {
		f.t.Errorf("%s: %s, %q, with %q because %q\nwant %s, %q, with %q because %q", id, d.State, d.Reason, d.With, d.Because, s, reason, with, because)
	}
}

func sup(id, parent string, change func(*tree.Supervisor)) *tree.Spec {
	s := &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 1, Period: time.Minute}
	if change != nil {
		change(s)
	}
	return &tree.Spec{ID: id, Parent: parent, Supervisor: s}
}

func agent(id, parent string, change func(*tree.Spec)) *tree.Spec {
	s := &tree.Spec{ID: id, Parent: parent, Agent: &tree.Agent{}, ShutdownTimeout: time.Second}
	if change != nil {
		change(s)
	}
	return s
}

func delayed(s *tree.Spec) { s.Backoff = backoff.Delays{Type: backoff.Fixed, Delay: time.Minute} }

func TestOrders(t *testing.T) {
	f := newFleet(t, sup("root", "", nil), sup("web", "root", nil), agent("a", "web", nil), agent("b", "web", delayed))
	f.want("a", contracts.StateRunning, "", "", "")
	f.want("web", contracts.StateRunning, "", "", "")
	f.raw(tree.Input{Kind: tree.Order, Command: tree.CmdRestart, Node: "a", Token: "t"})
	f.want("a", contracts.StateStopping, "by an operator; then it starts again", "", "")
	f.do(tree.Input{Kind: tree.Stopped, Node: "a", Incarnation: 1})
	f.order(tree.CmdTerminate, "a")
	f.want("a", contracts.StateTerminated, "operator", "", "")
	f.do(tree.Input{
		Kind: tree.Order, Command: tree.CmdSuspend, Node: "root", Token: "s", Reason: "suspend: db migration",
		By: &tree.Operator{User: "alice"},
	})
	f.want("root", contracts.StateSuspended, `what fails below it waits: suspend, "db migration", by alice at 2027-01-15T08:00:00Z`, "", "")
	f.brief("root", contracts.NodeSuspended, "suspend: db migration, by alice", false)
	f.do(f.exit("b"))
	f.want("b", contracts.StateHeld, `supervisor root is suspended: exited with code 3; ordered for root: suspend, "db migration", by alice`, "root", "")
	f.order(tree.CmdResume, "root")
	f.brief("root", contracts.NodeRunning, "", false)
	f.want("b", contracts.StateBackoff, "exited with code 3", "", "")
	if d := f.explain("b"); d.Due == nil || !d.Due.Equal(f.now.Add(time.Minute).Time()) || d.Cause != "end of b" {
		t.Errorf("%+v", d)
	}
	f.order(tree.CmdTerminate, "root")
	f.want("b", contracts.StateWithSupervisor, "root: an operator ended it", "root", "")
	f.want("web", contracts.StateWithSupervisor, "root: an operator ended it", "root", "")
	f.want("root", contracts.StateTerminated, "operator", "", "")
}

// TestOrdersOutlastTheLog: who ordered it, when and why is told of each state that an
// order made, from the tree alone.
func TestOrdersOutlastTheLog(t *testing.T) {
	f := newFleet(t, sup("root", "", nil), sup("web", "root", nil), agent("a", "web", nil), agent("b", "web", nil), sup("lab", "root", nil), agent("x", "lab", nil), agent("y", "root", nil))
	by := &tree.Operator{User: "ada", Host: "ops1", Program: "smith"}
	f.now = f.now.Add(time.Hour)
	order := func(kind tree.CommandKind, node, reason string, change ...func(*tree.Input)) {
		in := tree.Input{Kind: tree.Order, Command: kind, Node: node, Token: node, Reason: reason, By: by}
		for _, c := range change {
			c(&in)
		}
		f.tree.Deciding(string(kind) + " of " + node)
		f.do(in)
	}
	check := func(id string, s contracts.State, reason, with, cause string, orders ...string) {
		t.Helper()
		f.want(id, s, reason+`, by ada@ops1 with smith at 2027-01-15T09:00:00Z`, with, "")
		d := f.explain(id)
		if cause != "" && d.Cause != cause || d.Since == nil {
			t.Errorf("%s: since %v, because of %q", id, d.Since, d.Cause)
		}
		var got []string
		for _, o := range d.Orders {
			got = append(got, o.Node+": "+o.Order)
		}
		if diff := cmp.Diff(orders, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	order(tree.CmdSuspend, "web", "suspend: db moves")
	check("web", contracts.StateSuspended, `what fails below it waits: suspend, "db moves"`, "", "suspend of web", "web: suspend")
	if d := f.explain("web"); !d.Since.Equal(f.now.Time()) {
		t.Errorf("suspended since %v", d.Since)
	}
	f.do(f.exit("b"))
	check("b", contracts.StateHeld, `ordered for web: suspend, "db moves"`, "web", "end of b", "web: suspend")
	order(tree.CmdTerminate, "a", "terminate: ticket 1")
	check("a", contracts.StateTerminated, `an operator ended it: terminate, "ticket 1"`, "", "terminate of a", "a: terminate")
	f.brief("a", contracts.NodeStopped, "terminated: ticket 1, by ada", false)
	mode := func(m tree.Mode) func(*tree.Input) {
		r := tree.RolloutOf(m)
		return func(in *tree.Input) { in.Mode = &r }
	}
	order(tree.CmdMode, "lab", "mode off: first week", mode(tree.Off))
	check("x", contracts.StateWatched, `nothing is started or stopped: ordered for lab: mode off, "first week"`, "", "mode of lab", "lab: mode off")
	check("lab", contracts.StateRunning, `ordered: mode off, "first week"`, "", "mode of lab", "lab: mode off")
	order(tree.CmdMove, "y", "move to lab: more room", func(in *tree.Input) { in.To = "lab" })
	check("y", contracts.StateWatched, `; ordered: move to lab, "more room"`, "", "", "lab: mode off", "y: move to lab")
	order(tree.CmdTerminate, "root", "drain: night")
	check("root", contracts.StateTerminated, `an operator ended it: drain, "night"`, "", "terminate of root", "root: drain")
	f.brief("root", contracts.NodeStopped, "drained: night, by ada", false)
	check("web", contracts.StateWithSupervisor, `ended it: drain, "night"`, "root", "terminate of root", "root: drain", "web: suspend")
}

// TestMisplaced: an agent that runs where it lacks a label says so, and what helps.
func TestMisplaced(t *testing.T) {
	f := newFleet(t, sup("root", "", nil), agent("a", "root", func(s *tree.Spec) {
		s.Agent.Runner, s.Agent.Labels = tree.AnyRunner, map[string]string{"zone": "a", "gpu": "yes"}
	}))
	labels := func(zone string) map[string]string { return map[string]string{"zone": zone, "gpu": "yes"} }
	r1, r2 := contracts.RunnerView{Runner: "r1", Available: true, Labels: labels("a")}, contracts.RunnerView{Runner: "r2", Available: true, Labels: labels("a")}
	f.hear(r1)
	f.want("a", contracts.StateRunning, "", "", "")
	r1.Labels = labels("d")
	f.hear(r1)
	f.want("a", contracts.StateRunning, "it runs on r1, which lacks zone=a; no runner that is available would take it", "", "")
	f.hear(r1, r2)
	f.want("a", contracts.StateRunning, "it runs on r1, which lacks zone=a; smith rebalance moves it", "", "")
	f.raw(f.exit("a"))
	if d := f.explain("a"); strings.Contains(d.Reason, "lacks") {
		t.Errorf("it does not run: %s", d.Reason)
	}
}

func TestGroups(t *testing.T) {
	f := newFleet(t, sup("root", "", nil), sup("all", "root", func(s *tree.Supervisor) { s.Strategy = tree.OneForAll }),
		agent("a", "all", delayed), agent("b", "all", nil), agent("c", "all", nil))
	f.do(f.exit("a"))
	f.want("a", contracts.StateGroup, "it starts with them; it ended by itself: exited with code 3", "all", "")
	f.want("b", contracts.StateGroup, "because a failed", "all", "a")
	f.want("all", contracts.StateRestarting, "because a failed", "", "a")
	if d := f.explain("b"); d.Due == nil || d.Cause != "end of a" {
		t.Errorf("%+v", d)
	}
}

// TestLimits: whoever is down with a supervisor is told what brought that down,
// through several levels, and nothing of anybody else.
func TestLimits(t *testing.T) {
	f := newFleet(t, sup("root", "", nil), agent("stranger", "root", nil),
		sup("term", "root", func(s *tree.Supervisor) { s.Escalation, s.MaxRestarts = tree.Terminate, 0 }), agent("crasher", "term", nil), agent("sib", "term", nil),
		sup("below", "term", nil), agent("leaf", "below", nil))
	f.do(f.exit("crasher"))
	f.want("term", contracts.StateGaveUp, "restart limit exceeded by child crasher: exited with code 3", "", "crasher")
	for _, id := range []string{"sib", "leaf", "below", "crasher"} {
		f.want(id, contracts.StateWithSupervisor, "supervisor term: it gave up: restart limit exceeded by child crasher", "term", "crasher")
	}
	f.want("stranger", contracts.StateRunning, "", "", "")

	f = newFleet(t, sup("root", "", func(s *tree.Supervisor) { s.Escalation, s.MaxRestarts = tree.Isolate, 0 }), agent("bad", "root", nil), agent("job", "root", nil), agent("good", "root", nil))
	f.do(f.exit("bad"))
	f.want("bad", contracts.StateIsolated, "failed more often than root allows, and is tried again later: exited with code 3", "", "")
	completed := f.exit("job")
	completed.Normal, completed.Reason = true, "completed"
	f.do(completed)
	f.want("job", contracts.StateIsolated, "completed (exit code 0) more often than root allows, and is tried again later; if its work is done each time, give root a higher max_restarts", "", "")
	if d := f.explain("bad"); d.Due == nil {
		t.Error("it is not said when")
	}
	f.want("good", contracts.StateRunning, "", "", "")
}

// TestEnds: what is temporary or transient and is left down has finished, unless it
// failed.
func TestEnds(t *testing.T) {
	once := func(r tree.Restart) func(*tree.Spec) { return func(s *tree.Spec) { s.Restart = r } }
	f := newFleet(t, sup("root", "", nil), agent("temp", "root", once(tree.Temporary)), agent("trans", "root", once(tree.Transient)),
		agent("crashed", "root", once(tree.Temporary)), agent("lost", "root", once(tree.Temporary)))
	for _, id := range []string{"temp", "trans"} {
		in := f.exit(id)
		in.Normal, in.Reason = true, "completed"
		f.do(in)
	}
	f.want("temp", contracts.StateFinished, "it is temporary and ended: completed", "", "")
	f.brief("temp", contracts.NodeStopped, "completed", false)
	f.want("trans", contracts.StateFinished, "not to be restarted", "", "")
	f.do(f.exit("crashed"))
	f.want("crashed", contracts.StateFailed, "it failed and, being temporary, is not restarted: exited with code 3; smith child restart crashed starts it", "", "")
	f.brief("crashed", contracts.NodeFailed, "exited with code 3", false)
	f.do(tree.Input{Kind: tree.Lost, Node: "lost", Incarnation: 1, Reason: "host_lost: runner r is silent"})
	f.want("lost", contracts.StateFailed, "it was lost with its host and, being temporary, is not restarted: host_lost: runner r is silent; smith child", "", "")
	f.brief("lost", contracts.NodeFailed, "host_lost: runner r is silent", false)
	// An order about it is refused while its supervisor is down.
	f.order(tree.CmdTerminate, "root")
	if d := f.explain("crashed"); d.State != contracts.StateFailed || strings.Contains(d.Reason, "starts it") {
		t.Errorf("%+v", d)
	}
}

// TestEndsOfSupervisors: so it is with supervisors; one that shut down by its
// auto_shutdown says because of which child, and how that ended if it failed.
func TestEndsOfSupervisors(t *testing.T) {
	auto := func(s *tree.Supervisor) { s.AutoShutdown = tree.AnySignificant }
	significant := func(s *tree.Spec) { s.Restart, s.Significant = tree.Temporary, true }
	supervisor := func(id string, restart tree.Restart, change func(*tree.Supervisor)) *tree.Spec {
		s := sup(id, "root", change)
		s.Restart = restart
		return s
	}
	f := newFleet(t, sup("root", "", nil),
		supervisor("limit", tree.Temporary, func(s *tree.Supervisor) { s.MaxRestarts = 0 }), agent("bad", "limit", nil),
		supervisor("crashes", tree.Transient, auto), agent("sig", "crashes", significant), agent("other", "crashes", nil),
		supervisor("completes", tree.Temporary, auto), agent("done", "completes", significant))
	f.do(f.exit("bad"))
	f.want("limit", contracts.StateFailed, "it gave up and, being temporary, is not restarted: restart limit exceeded by child bad: exited with code 3; smith child restart limit starts it", "", "bad")
	f.brief("limit", contracts.NodeFailed, "restart limit exceeded by child bad: exited with code 3", false)
	f.do(f.exit("sig"))
	f.do(tree.Input{Kind: tree.Stopped, Node: "other", Incarnation: 1})
	f.want("crashes", contracts.StateFinished, "it shut down by its auto_shutdown, and is not to be restarted: significant child sig ended: exited with code 3", "", "sig")
	f.brief("crashes", contracts.NodeStopped, "significant child sig ended: exited with code 3", false)
	f.want("other", contracts.StateWithSupervisor, "it is down with supervisor crashes: it shut down by its auto_shutdown", "crashes", "sig")
	in := f.exit("done")
	in.Normal, in.Reason = true, "completed"
	f.do(in)
	f.want("completes", contracts.StateFinished, "it shut down by its auto_shutdown, and is not to be restarted: significant child done ended", "", "")
	f.brief("completes", contracts.NodeStopped, "significant child done ended", false)
}

func TestModes(t *testing.T) {
	r := tree.RolloutOf(tree.Shadow)
	root := sup("root", "", nil)
	root.Mode = &r
	f := newFleet(t, root, agent("a", "root", nil))
	f.want("a", contracts.StateWatched, "its mode is shadow", "", "")
	enforce := tree.RolloutOf(tree.Enforce)
	f.raw(tree.Input{Kind: tree.Order, Command: tree.CmdMode, Node: "a", Mode: &enforce, Token: "t"})
	f.want("a", contracts.StateListening, "may run already", "", "")
	f.raw(tree.Input{Kind: tree.Beat, Node: "a"})
	f.want("a", contracts.StateForeign, "not started from here", "", "")
}

func TestStarts(t *testing.T) {
	f := newFleet(t, sup("root", "", nil), agent("a", "root", func(s *tree.Spec) {
		s.Agent = &tree.Agent{Runner: tree.AnyRunner, Verify: true, StartDeadline: time.Second, Stabilisation: time.Second}
	}))
	f.want("a", contracts.StateUnplaced, "no runner was heard", "", "")
	up := contracts.RunnerView{Runner: "r1", Available: true, Seen: f.now.Time()}
	f.runners = []contracts.RunnerView{up}
	f.raw(tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r1"}}})
	f.want("a", contracts.StateStarting, "runner r1 has not answered yet", "", "")
	f.runners[0].Available, f.runners[0].Seen = false, f.now.Add(-time.Minute).Time()
	f.want("a", contracts.StateStarting, "runner r1 is silent since 2027-01-15T07:59:00Z", "", "")
	f.raw(tree.Input{Kind: tree.Started, Node: "a", Incarnation: 1})
	f.want("a", contracts.StateVerifying, "first heartbeat", "", "")
	f.raw(tree.Input{Kind: tree.Beat, Node: "a", Incarnation: 1})
	f.want("a", contracts.StateVerifying, "stabilisation", "", "")
}

func TestBudget(t *testing.T) {
	root := sup("root", "", func(s *tree.Supervisor) {
		s.MaxRestarts, s.Budget = 9, &tree.Budget{Fleet: tree.Allowance{Restarts: 1, Per: time.Minute}}
	})
	f := newFleet(t, root, agent("a", "root", nil), agent("b", "root", nil))
	f.do(f.exit("a"))
	f.do(f.exit("b"))
	f.want("b", contracts.StateBudget, "number 1 in line", "", "")
	if d := f.explain("b"); d.Due == nil || d.Cause != "end of b" {
		t.Errorf("%+v", d)
	}
}

func TestPlacement(t *testing.T) {
	labels := map[string]string{"zone": "eu", "gpu": "yes"}
	view := func(name string, labels map[string]string, change func(*contracts.RunnerView)) contracts.RunnerView {
		v := contracts.RunnerView{Runner: name, Available: true, Labels: labels, Seen: noon.Time()}
		if change != nil {
			change(&v)
		}
		return v
	}
	silent := func(v *contracts.RunnerView) { v.Available, v.Seen = false, noon.Add(-time.Hour).Time() }
	back := func(v *contracts.RunnerView) { v.Available = false }
	strained := func(v *contracts.RunnerView) { v.Available, v.NoResources = false, true }
	long := contracts.Comparison{Since: noon.Add(-time.Hour).Time(), Stage: contracts.ComparisonReading, Entries: 70}
	stuck := long
	stuck.Problem = "no answer"
	compared := func(c contracts.Comparison) func(*contracts.RunnerView) {
		return func(v *contracts.RunnerView) { v.Available, v.Comparison = false, &c }
	}
	for _, c := range []struct {
		name    string
		runner  string
		runners []contracts.RunnerView
		reason  string
		want    contracts.Placement
	}{
		{"a label that nobody has", tree.AnyRunner, []contracts.RunnerView{view("r1", map[string]string{"zone": "eu"}, nil)}, "no runner has the label gpu=yes", contracts.Placement{Missing: map[string]string{"gpu": "yes"}, Unfit: 1}},
		{"labels that nobody has together", tree.AnyRunner, []contracts.RunnerView{view("r1", map[string]string{"zone": "eu"}, nil), view("r2", map[string]string{"gpu": "yes"}, nil)}, "no runner has all of gpu=yes and zone=eu", contracts.Placement{Unfit: 2}},
		{"silent", tree.AnyRunner, []contracts.RunnerView{view("r1", labels, silent), view("r2", nil, nil)}, "no runner with gpu=yes and zone=eu can take it: runner r1 is silent since 2027-01-15T07:00:00Z", contracts.Placement{Silent: map[string]time.Time{"r1": noon.Add(-time.Hour).Time()}, Unfit: 1}},
		{"without resources", tree.AnyRunner, []contracts.RunnerView{view("r1", labels, strained), view("r2", labels, back)}, "runner r1 takes no starts for a while: its host lacks descriptors, processes, memory or disk; runner r2 is not ready yet", contracts.Placement{NoResources: []string{"r1"}, NotReady: []string{"r2"}}},
		{"named, without resources", "r1", []contracts.RunnerView{view("r1", labels, strained)}, "it names runner r1, which takes no starts for a while: its host lacks", contracts.Placement{NoResources: []string{"r1"}}},
		{"not ready", tree.AnyRunner, []contracts.RunnerView{view("r1", labels, back)}, "runner r1 is not ready yet", contracts.Placement{NotReady: []string{"r1"}}},
		{"compared", "r1", []contracts.RunnerView{view("r1", labels, compared(long))}, "it names runner r1, which is being compared with the tree since 2027-01-15T07:00:00Z, 70 entries read", contracts.Placement{NotReady: []string{"r1"}, Comparing: map[string]contracts.Comparison{"r1": long}}},
		{"not compared", tree.AnyRunner, []contracts.RunnerView{view("r1", labels, compared(stuck))}, "runner r1 is not compared with the tree since 2027-01-15T07:00:00Z: no answer", contracts.Placement{NotReady: []string{"r1"}, Comparing: map[string]contracts.Comparison{"r1": stuck}}},
		{"full", tree.AnyRunner, []contracts.RunnerView{view("r1", labels, func(v *contracts.RunnerView) { v.Capacity = 1 })}, "runner r1 is full with 1 agents", contracts.Placement{Full: map[string]int{"r1": 1}}},
		{"goroutines", tree.AnyRunner, []contracts.RunnerView{view("r1", labels, func(v *contracts.RunnerView) { v.Kind = "goroutine" })}, "no runner has all of", contracts.Placement{Unfit: 1}},
		{"by name, never heard", "r9", []contracts.RunnerView{view("r1", labels, nil)}, "it names runner r9, which was never heard", contracts.Placement{Missing: nil}},
		{"a copy is ended", tree.AnyRunner, []contracts.RunnerView{view("r1", labels, back)}, "an older copy of it runs on runner r2, and is being ended first", contracts.Placement{Ending: []string{"r2"}, NotReady: []string{"r1"}}},
		{"gathering", tree.AnyRunner, []contracts.RunnerView{view("r2", labels, compared(stuck))}, "it may run already: not every runner that is there has been compared with the tree; runner r2 is not compared", contracts.Placement{Gathering: true, NotReady: []string{"r2"}, Comparing: map[string]contracts.Comparison{"r2": stuck}}},
		{"by name, silent", "r1", []contracts.RunnerView{view("r1", labels, silent)}, "it names runner r1, which is silent since", contracts.Placement{Silent: map[string]time.Time{"r1": noon.Add(-time.Hour).Time()}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			filler := agent("filler", "root", func(s *tree.Spec) { s.Agent = &tree.Agent{Runner: tree.AnyRunner, Labels: labels} })
			picky := agent("picky", "root", func(s *tree.Spec) { s.Agent = &tree.Agent{Runner: c.runner, Labels: labels} })
			f := newFleet(t, sup("root", "", nil), filler, picky)
			f.hear(c.runners...)
			f.holdBack("picky", c.want)
			d := f.explain("picky")
			if d.State != contracts.StateUnplaced || !strings.Contains(d.Reason, c.reason) || d.Placement == nil {
				t.Fatalf("%s, %q, %+v; want %q", d.State, d.Reason, d.Placement, c.reason)
			}
			c.want.Runner, c.want.Labels = c.runner, labels
			if diff := cmp.Diff(c.want, *d.Placement); diff != "" {
				t.Errorf("placement (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	f := newFleet(t, sup("root", "", nil))
	if _, ok := Of(f.tree, "nobody", nil, time.Time{}); ok {
		t.Error("explained a node that there is not")
	}
}
