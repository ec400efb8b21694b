package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const now = tree.Instant(1_700_000_000_000_000_000)

func sup(id, parent string) *tree.Spec {
	return &tree.Spec{ID: id, Parent: parent, Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 3, Period: time.Minute}}
}

// agent is one whose command is the build.
func agent(id, parent, build string) *tree.Spec {
	return &tree.Spec{ID: id, Parent: parent, Agent: &tree.Agent{Build: build, Start: json.RawMessage(`{"agent":"","incarnation":0,"command":["` + build + `"]}`)}}
}

// grow makes a tree whose agents run, but for those that are to be down.
func grow(t interface{ Fatal(...any) }, specs []*tree.Spec, down ...string) *tree.Tree {
	tr := tree.New(tree.Options{})
	settle(tr, tree.Input{Kind: tree.Configure, Specs: specs, Boot: true})
	for _, id := range down {
		settle(tr, tree.Input{Kind: tree.Order, Command: tree.CmdTerminate, Node: id})
	}
	if tr.Len() != len(specs) {
		t.Fatal("not all of the tree is there")
	}
	return tr
}

// settle has an input decided and everything done that follows, and returns what
// was done with agents.
func settle(tr *tree.Tree, in tree.Input) []string {
	var did []string
	for queue := []tree.Input{in}; len(queue) > 0; queue = queue[1:] {
		for _, e := range tr.Step(&queue[0], now, nil) {
			switch e.Kind {
			case tree.DoStart:
				did = append(did, "start "+e.Node)
				queue = append(queue, tree.Input{Kind: tree.Started, Node: e.Node, Incarnation: e.Incarnation})
			case tree.DoStop:
				did = append(did, "stop "+e.Node)
				queue = append(queue, tree.Input{Kind: tree.Stopped, Node: e.Node, Incarnation: e.Incarnation})
			}
		}
	}
	return did
}

func configure(most int, specs ...*tree.Spec) tree.Input {
	return tree.Input{Kind: tree.Configure, Specs: specs, Configuration: &tree.Configuration{Source: "f", Digest: "d", MaxUnavailable: most, Sections: map[string]string{"limits": "2"}}}
}

// lines are the changes of a plan, one a line.
func lines(p contracts.ConfigPlan) string {
	var out []string
	for _, c := range p.Changes {
		s := fmt.Sprintf("%s %s %s: %s", c.Change, c.Kind, c.Node, c.Then)
		for _, f := range c.Fields {
			s += fmt.Sprintf(" [%s %s>%s]", f.Field, f.From, f.To)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	before := []*tree.Spec{sup("root", ""), sup("g", "root"), agent("a", "g", "1"), agent("b", "g", "1"), sup("h", "root"), agent("c", "h", "1"), agent("down", "h", "1"), agent("same", "h", "1")}
	limited := sup("h", "root")
	limited.Supervisor.MaxRestarts = 7
	after := []*tree.Spec{sup("root", ""), sup("g", "root"), agent("b", "g", "1"), limited, agent("c", "h", "2"), agent("down", "h", "2"), agent("same", "h", "1"), agent("new", "h", "1"), agent("a", "h", "1")}
	for _, c := range []struct {
		name string
		in   tree.Input
		want string
	}{
		{"restarting", configure(1, after...), `changed supervisor h: at once [max_restarts 3>7]
changed agent c: restarted [command ["1"]>["2"]]
changed agent down: at its next start [command ["1"]>["2"]]
added agent new: started
moved agent a: at once`},
		{"keeping", configure(0, after...), `changed supervisor h: at once [max_restarts 3>7]
changed agent c: left running, outdated [command ["1"]>["2"]]
changed agent down: at its next start [command ["1"]>["2"]]
added agent new: started
moved agent a: at once`},
		{"fewer", configure(1, before[0], before[4], before[5]), `removed agent a: stopped
removed agent b: stopped
removed agent down: forgotten
removed supervisor g: stopped
removed agent same: stopped`},
		{"the other way round", configure(1, before[0], before[4], before[7], before[6], before[5], before[1], before[2], before[3]), `changed supervisor root: at once [order of children >]
changed supervisor h: at once [order of children >]`},
		{"none", configure(1, before...), ""},
	} {
		tr := grow(t, before, "down")
		p, no, err := Of(tr.Snapshot(), c.in, now)
		if err != nil || len(no) > 0 {
			t.Fatal(err, no)
		}
		got := strings.Split(lines(p), "\n")
		want := strings.Split(c.want, "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, lines(p), c.want)
		}
		if len(p.Changes)+p.Same != tr.Len()+strings.Count(c.want, "added ") {
			t.Errorf("%s: %d changes and %d the same of %d", c.name, len(p.Changes), p.Same, tr.Len())
		}
	}
}

// TestPlanOfGroups: members that start in their turn are said to be started.
func TestPlanOfGroups(t *testing.T) {
	t.Parallel()
	specs := func(r tree.Restart, members ...string) []*tree.Spec {
		group := sup("g", "root")
		group.Supervisor.Strategy = tree.RestForOne
		out := []*tree.Spec{sup("root", ""), group}
		for _, id := range members {
			m := agent(id, "g", "1")
			m.Restart = r
			out = append(out, m)
		}
		return out
	}
	tr := grow(t, specs(tree.Transient, "a", "b"))
	for _, id := range []string{"a", "b"} {
		settle(tr, tree.Input{Kind: tree.Exited, Node: id, Incarnation: 1, Normal: true, Reason: "done"})
	}
	p, no, err := Of(tr.Snapshot(), configure(1, specs(tree.Permanent, "a", "b", "c", "d")...), now)
	if err != nil || len(no) > 0 {
		t.Fatal(err, no)
	}
	want := "changed agent a: started [restart transient>permanent]\nchanged agent b: started [restart transient>permanent]\nadded agent c: started\nadded agent d: started"
	if got := lines(p); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestPlanOfRestartTypes: the plan says what another restart type does to what is down.
func TestPlanOfRestartTypes(t *testing.T) {
	t.Parallel()
	specs := func(done, waits tree.Restart) []*tree.Spec {
		job, service := agent("job", "g", "1"), agent("service", "g", "1")
		job.Restart, service.Restart, service.Backoff.Delay = done, waits, time.Minute
		return []*tree.Spec{sup("root", ""), sup("g", "root"), job, service}
	}
	tr := grow(t, specs(tree.Transient, tree.Permanent))
	settle(tr, tree.Input{Kind: tree.Exited, Node: "job", Incarnation: 1, Normal: true, Reason: "done"})
	settle(tr, tree.Input{Kind: tree.Exited, Node: "service", Incarnation: 1, Reason: "crash"})
	p, no, err := Of(tr.Snapshot(), configure(1, specs(tree.Permanent, tree.Temporary)...), now)
	if err != nil || len(no) > 0 {
		t.Fatal(err, no)
	}
	want := "changed agent job: started [restart transient>permanent]\nchanged agent service: stays down [restart permanent>temporary]"
	if got := lines(p); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestPlanOfWhatTheTreeRefuses(t *testing.T) {
	t.Parallel()
	tr := grow(t, []*tree.Spec{sup("root", ""), agent("a", "root", "1"), agent("b", "root", "1")})
	p, no, err := Of(tr.Snapshot(), configure(1, sup("root", ""), sup("a", "root"), sup("b", "root")), now)
	if err != nil || len(no) != 2 || len(p.Changes) != 0 {
		t.Errorf("%+v, %v, %v", p, no, err)
	}
}

// A large plan is cut, and stands for all of it.
func TestLargePlans(t *testing.T) {
	t.Parallel()
	many := func(n int, build string) []*tree.Spec {
		specs := []*tree.Spec{sup("root", "")}
		for i := range n {
			specs = append(specs, agent(fmt.Sprintf("a%04d", i), "root", build))
		}
		return specs
	}
	tr := grow(t, many(600, "1"))
	p, _, err := Of(tr.Snapshot(), configure(1, many(600, "2")...), now)
	if err != nil || len(p.Changes) != contracts.MaxPlannedChanges || p.Others != 100 {
		t.Errorf("%d changes and %d others, %v", len(p.Changes), p.Others, err)
	}
	last := many(600, "2")
	last[600] = agent("a0599", "root", "3")
	q, _, err := Of(tr.Snapshot(), configure(1, last...), now)
	if err != nil || q.Plan == p.Plan {
		t.Errorf("plans %s and %s, %v", p.Plan, q.Plan, err)
	}
}

// TestPlansComeTrue: what a plan says of agents is what happens when it is
// applied, and to others nothing happens.
func TestPlansComeTrue(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		sups := []string{"root", "g", "h"}
		draw := func(label string) []*tree.Spec {
			specs := []*tree.Spec{sup("root", ""), sup("g", "root"), sup("h", rapid.SampledFrom([]string{"root", "g"}).Draw(rt, label+" h"))}
			for _, id := range []string{"a", "b", "c", "d", "e"} {
				if rapid.IntRange(0, 3).Draw(rt, label+id) > 0 {
					specs = append(specs, agent(id, rapid.SampledFrom(sups).Draw(rt, label+id+" under"), rapid.SampledFrom([]string{"1", "2"}).Draw(rt, label+id+" build")))
				}
			}
			return specs
		}
		before := draw("before ")
		tr := grow(rt, before)
		for _, s := range before {
			if s.Agent != nil && rapid.IntRange(0, 4).Draw(rt, s.ID+" is down") == 0 {
				settle(tr, tree.Input{Kind: tree.Order, Command: tree.CmdTerminate, Node: s.ID})
			}
		}
		in := configure(rapid.IntRange(0, 2).Draw(rt, "at once"), draw("after ")...)
		p, no, err := Of(tr.Snapshot(), in, now)
		if err != nil || len(no) > 0 {
			rt.Fatal(err, no)
		}
		var want []string
		for _, c := range p.Changes {
			if c.Kind != "agent" {
				continue
			}
			if (c.Then == contracts.WillStop || c.Then == contracts.WillRestart) != c.Interrupts {
				rt.Fatalf("it interrupts what it does not stop, or the reverse: %+v", c)
			}
			switch c.Then {
			case contracts.WillStart:
				want = append(want, "start "+c.Node)
			case contracts.WillStop:
				want = append(want, "stop "+c.Node)
			case contracts.WillRestart:
				want = append(want, "start "+c.Node, "stop "+c.Node)
			}
		}
		did := settle(tr, in)
		slices.Sort(did)
		slices.Sort(want)
		if !slices.Equal(did, want) {
			rt.Fatalf("planned:\n%s\ndone: %v", lines(p), did)
		}
	})
}

// TestPlanOfWhatIsScaled: a count that an operator has ordered stays while the file has the
// count that it had, and the plan says so.
func TestPlanOfWhatIsScaled(t *testing.T) {
	t.Parallel()
	specs := func(count int) []*tree.Spec {
		out := []*tree.Spec{sup("root", ""), sup("g", "root")}
		for i := range count {
			s := agent(tree.Instance("w", i+1), "g", "1")
			s.Template, s.Index, s.Instances = "w", i+1, count
			out = append(out, s)
		}
		return out
	}
	tr := grow(t, specs(4))
	settle(tr, tree.Input{Kind: tree.Order, Command: tree.CmdScale, Node: "w", Count: 3})
	for count, want := range map[int]string{4: "[{w 3 4}] and 0 changes", 5: "[] and 2 changes"} {
		p, _, err := Of(tr.Snapshot(), configure(1, specs(count)...), now)
		if got := fmt.Sprintf("%v and %d changes", p.Scaled, len(p.Changes)); err != nil || got != want {
			t.Errorf("%d in the file: %s, want %s, %v\n%s", count, got, want, err, lines(p))
		}
	}
}

func TestElsewhere(t *testing.T) {
	t.Parallel()
	before := &tree.Configured{Sections: map[string]string{"limits": "1", "routing": "1"}}
	after := &tree.Configuration{Sections: map[string]string{"limits": "2", "routing": "1", "timeouts": "1"}}
	if got := elsewhere(before, after); !slices.Equal(got, []string{"limits", "timeouts"}) {
		t.Error(got)
	}
	if got := elsewhere(nil, after); got != nil {
		t.Error(got)
	}
}

// An agent that is still being removed and is configured again is one more.
func TestPlanOfWhatIsBeingRemoved(t *testing.T) {
	t.Parallel()
	specs := []*tree.Spec{sup("root", ""), agent("a", "root", "1"), agent("b", "root", "1")}
	tr := grow(t, specs)
	less := configure(1, specs[0], specs[1])
	tr.Step(&less, now, nil) // b is being stopped
	p, objections, err := Of(tr.Snapshot(), configure(1, specs...), now)
	if err != nil || len(objections) > 0 {
		t.Fatal(err, objections)
	}
	if len(p.Changes) != 1 || p.Changes[0].Node != "b" || p.Changes[0].Change != contracts.PlanAdded || p.Changes[0].Then != contracts.WillStart {
		t.Errorf("the plan is %+v", p.Changes)
	}
}

// TestPlanOfWhatWaits: a plan names what another limit starts.
func TestPlanOfWhatWaits(t *testing.T) {
	t.Parallel()
	specs := func(most int, policy tree.Escalation) []*tree.Spec {
		s := sup("s", "root")
		s.Supervisor.MaxRestarts, s.Supervisor.Escalation, s.Supervisor.CoolOff = most, policy, time.Minute
		return []*tree.Spec{sup("root", ""), s, agent("a", "s", "1"), agent("b", "s", "1")}
	}
	for policy, want := range map[tree.Escalation]string{
		tree.Isolate: "changed supervisor s: at once [max_restarts 0>1]\ndue agent a: started",
		tree.CoolOff: "changed supervisor s: started [max_restarts 0>1]",
	} {
		tr := grow(t, specs(0, policy))
		settle(tr, tree.Input{Kind: tree.Exited, Node: "a", Incarnation: 1, Reason: "crash"})
		p, _, err := Of(tr.Snapshot(), configure(1, specs(1, policy)...), now)
		if got := lines(p); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", policy, err, got, want)
		}
	}
}

// TestPlanOfARename: what is added starts after what is removed has ended.
func TestPlanOfARename(t *testing.T) {
	t.Parallel()
	root := sup("root", "")
	tr := grow(t, []*tree.Spec{root, agent("old", "root", "1"), agent("down", "root", "1")}, "down")
	p, _, err := Of(tr.Snapshot(), configure(1, root, agent("new", "root", "1")), now)
	if got := lines(p); err != nil || got != "added agent new: started\nremoved agent old: stopped\nremoved agent down: forgotten" {
		t.Errorf("%s, %v", got, err)
	}
	if after := p.Changes[0].After; !slices.Equal(after, []string{"old"}) {
		t.Errorf("%s starts after %v", p.Changes[0].Node, after)
	}
	var many []*tree.Spec
	for i := range 9 {
		many = append(many, agent(fmt.Sprint("a", i), "root", "1"))
	}
	tr = grow(t, append([]*tree.Spec{root}, many...))
	p, _, _ = Of(tr.Snapshot(), configure(1, root, agent("new", "root", "1")), now)
	for _, c := range p.Changes {
		if c.Node == "new" && len(c.After) != contracts.MaxAfter {
			t.Errorf("it names %v", c.After)
		}
	}
}

// What people read is not made fit for HTML.
func TestPlansAreForTerminals(t *testing.T) {
	t.Parallel()
	if got := asJSON([]string{"a > b && c < d", "\x1b"}, []string(nil)); got != `["a > b && c < d","\u001b"]` {
		t.Error(got)
	}
}
