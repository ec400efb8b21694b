package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestProblems: only what is not well is listed, and there being anything is a
// failure of the command.
func TestProblems(t *testing.T) {
	agent := func(name string, status contracts.NodeStatus, reason string) contracts.NodeView {
		return contracts.NodeView{Name: name, Kind: "agent", Status: status, Reason: reason}
	}
	outdated := agent("old", contracts.NodeRunning, "")
	outdated.Outdated = true
	loops, starts := agent("loops", contracts.NodeRunning, ""), agent("starts", contracts.NodeStarting, "")
	loops.Unsteady = &contracts.Unsteady{Restarts: 34, Last: time.Now().Add(-2 * time.Second), Reason: "exited with code 7\x1b[2J"}
	starts.Unsteady = &contracts.Unsteady{Restarts: 1, Last: time.Now()}
	misplaced := agent("misplaced", contracts.NodeRunning, "")
	misplaced.Runner, misplaced.Lacks = "r1", map[string]string{"zone": "a-zone-of-a-long-name", "gpu": "yes"}
	well := []contracts.NodeView{
		agent("up", contracts.NodeRunning, ""), agent("ended", contracts.NodeStopped, "terminated"),
		agent("comes", contracts.NodeStarting, ""), agent("seen", contracts.NodeWatched, ""),
	}
	bad := []contracts.NodeView{
		agent("fails", contracts.NodeFailed, "exit status 1, "+strings.Repeat("x", 200)), agent("waits", contracts.NodeStarting, "waits for a runner"),
		agent("again", contracts.NodeRestarting, "exited with code 2, waits with its group"), agent("theirs", contracts.NodeForeign, ""), outdated, loops, starts, misplaced,
	}
	until := time.Now().Add(time.Minute)
	bad[2].Until = &until
	tree := func(children ...contracts.NodeView) contracts.TreeReply {
		return contracts.TreeReply{Tree: "main", Root: contracts.NodeView{Name: "root", Kind: "supervisor", Status: contracts.NodeRunning, Children: children}}
	}
	var out bytes.Buffer
	a := &app{stdout: &out}
	if err := (&treeCmd{}).showProblems(a, tree(well...)); err != nil || out.String() != "tree main: nothing is wrong\n" {
		t.Errorf("%v: %s", err, out.String())
	}
	out.Reset()
	if err := (&treeCmd{}).showProblems(a, tree(append(well, bad...)...)); !errors.Is(err, errSilent) {
		t.Errorf("%v", err)
	}
	for _, n := range bad {
		if !strings.Contains(out.String(), "\n"+n.Name+" ") {
			t.Errorf("%s is not listed:\n%s", n.Name, out.String())
		}
	}
	for _, n := range well {
		if strings.Contains(out.String(), "\n"+n.Name+" ") {
			t.Errorf("%s is listed:\n%s", n.Name, out.String())
		}
	}
	if !strings.Contains(out.String(), "runs on r1, which lacks gpu=yes and zone=a-zone-of-a-long-name\n") {
		t.Error(out.String())
	}
	if end := "; until " + until.Local().Format("15:04:05"); !strings.Contains(out.String(), bad[2].Reason+end) {
		t.Errorf("it is not said until when:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "\ntree main: 8 problems; smith why NODE tells more\n") {
		t.Error(out.String())
	}
	if text := out.String(); !strings.Contains(text, `restarted 34 times, last 2s ago: exited with code 7\x1b[2J`) || !strings.Contains(text, "restarted once, 0s ago\n") {
		t.Errorf("it is not said how often it was restarted:\n%s", text)
	}
	if !strings.Contains(out.String(), bad[0].Reason+"\n") {
		t.Errorf("a reason is not on one line, or not all there:\n%s", out.String())
	}
	out.Reset()
	c := treeCmd{clientFlags: clientFlags{JSON: true}}
	if err := c.showProblems(a, tree(well...)); err != nil || strings.TrimSpace(out.String()) != "[]" {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestProblemsAndOrders: a rolling restart that stopped is told with the problems, and
// what operators ended is told and is not one.
func TestProblemsAndOrders(t *testing.T) {
	root := contracts.NodeView{Name: "root", Kind: "supervisor", Status: contracts.NodeRunning, Children: []contracts.NodeView{
		{Name: "a", Kind: "agent", Status: contracts.NodeRunning},
		{Name: "b", Kind: "agent", Status: contracts.NodeStopped, KeptDown: true, Reason: "terminated"},
	}}
	tree := contracts.TreeReply{Tree: "main", Root: root, Rolling: &contracts.RollingView{State: contracts.RollingStopped, Done: 1, Total: 8, Reason: "app-1 failed"}}
	show := func() (string, error) {
		var out bytes.Buffer
		err := (&treeCmd{}).showProblems(&app{stdout: &out}, tree)
		return out.String(), err
	}
	const orders = "1 node terminated by operators; smith tree --stopped lists them\n"
	if out, err := show(); err != nil || out != "tree main: nothing is wrong\n"+orders {
		t.Errorf("%v: %s", err, out)
	}
	tree.Root.Children[0].Outdated = true
	const stopped = "smith why NODE tells more\nrolling restart stopped after 1 of 8 agents: app-1 failed\n"
	if out, err := show(); !errors.Is(err, errSilent) || !strings.HasSuffix(out, stopped+orders) {
		t.Errorf("%v: %s", err, out)
	}
	tree.Rolling.State = contracts.RollingOn
	if out, _ := show(); strings.Contains(out, "rolling") {
		t.Error(out)
	}
}

// TestWrapLast: on a terminal no line is wider than 80 columns, and nothing is cut
// off.
func TestWrapLast(t *testing.T) {
	reason := "start_failed: program /home/admin/ex_sample/" + strings.Repeat("x", 90) + ": no such file or directory; until 12:00:00"
	rows := [][]string{{"sammlung-ä", "restarting", "local", reason}, {"b", "failed", "-", "-"}}
	wrapped := wrapLast(problemColumns, rows, 80)
	var out bytes.Buffer
	if err := (&app{stdout: &out}).table(problemColumns, wrapped); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(line)) - 1; n > 80 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	var all strings.Builder
	for _, r := range wrapped[:len(wrapped)-1] {
		all.WriteString(r[3])
	}
	if got := strings.ReplaceAll(all.String(), " ", ""); got != strings.ReplaceAll(reason, " ", "") {
		t.Errorf("%s, of %s", got, reason)
	}
	if last := wrapped[len(wrapped)-1]; len(wrapped) < 4 || last[0] != "b" || last[3] != "-" || wrapped[1][0] != "" {
		t.Errorf("%q", wrapped)
	}
}

func TestRunnersPrint(t *testing.T) {
	for _, c := range []struct {
		r           contracts.RunnerView
		state, room string
	}{
		{contracts.RunnerView{Available: true, Kind: "process", Capacity: 8, Agents: 3}, "available", "5"},
		{contracts.RunnerView{Available: true, Kind: "goroutine"}, "named only", "unbounded"},
		{contracts.RunnerView{Capacity: 2, Agents: 4}, "silent", "0"},
		{contracts.RunnerView{NoResources: true, Capacity: 8}, "no resources", "8"},
		{contracts.RunnerView{Lost: true}, "lost", "unbounded"},
		{contracts.RunnerView{Held: true, Capacity: 2}, "comparing", "2"},
		{contracts.RunnerView{Held: true, Capacity: 2, Comparison: &contracts.Comparison{Overdue: true}}, "not compared", "2"},
		{contracts.RunnerView{Available: true, Comparison: &contracts.Comparison{Overdue: true}}, "available", "unbounded"},
	} {
		if s, r := runnerState(c.r), room(c.r); s != c.state || r != c.room {
			t.Errorf("%+v: %s, %s", c.r, s, r)
		}
	}
	late := contracts.RunnerView{Runner: "r1", Held: true, Comparison: &contracts.Comparison{
		Since: time.Now().Add(-time.Minute), Entries: 12_000, Problem: "no answer\x1b[2J " + strings.Repeat("of it ", 40), Overdue: true,
	}}
	got := comparison(late)
	if !strings.Contains(got, "it began 1m0s ago, 12000 entries are read\n  it takes no starts until then\n  no answer") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	for line := range strings.Lines(got) {
		if n := len([]rune(line)); n > 81 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	if got := labels(map[string]string{"zone": "b", "gpu": "yes"}); got != "gpu=yes,zone=b" {
		t.Error(got)
	}
}

// TestStopped: what operators terminated or suspended is listed, and nothing else.
func TestStopped(t *testing.T) {
	tree := contracts.TreeReply{Tree: "main", Root: contracts.NodeView{Name: "root", Kind: "supervisor", Status: contracts.NodeRunning}}
	show := func(c treeCmd) string {
		var out bytes.Buffer
		if err := c.showStopped(&app{stdout: &out}, tree); err != nil {
			t.Error(err)
		}
		return out.String()
	}
	if out := show(treeCmd{}); out != "tree main: no node is terminated or suspended, or has another mode by order\n" {
		t.Error(out)
	}
	tree.Root.Children = []contracts.NodeView{
		{Name: "held", Kind: "agent", Status: contracts.NodeStopped, KeptDown: true, Reason: "terminated"},
		{Name: "group", Kind: "supervisor", Status: contracts.NodeSuspended, Children: []contracts.NodeView{
			{Name: "member", Kind: "agent", Status: contracts.NodeStopped, Reason: "finished"},
		}},
	}
	out := show(treeCmd{})
	for name, want := range map[string]bool{"held": true, "group": true, "member": false, "root": false} {
		if got := strings.Contains("\n"+out, "\n"+name+" "); got != want {
			t.Errorf("%s is listed: %t\n%s", name, got, out)
		}
	}
	if !strings.Contains(out, "terminated") || !strings.Contains(out, "tree main: 2 nodes;") {
		t.Error(out)
	}
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	by := &contracts.Operator{User: "ada", Host: "ops1", Program: "smith"}
	tree.Root.Children = []contracts.NodeView{
		{Name: "w", Kind: "agent", Mode: "off", ModeSet: "runtime", Orders: []contracts.StandingOrder{{Node: "w", Order: "mode off", Reason: "first\x1b[2J week", By: by, At: &at}}},
		{Name: "configured", Kind: "agent", Mode: "off", ModeSet: "config"},
		{Name: "enforced", Kind: "agent", Mode: "enforce", ModeSet: "runtime"},
	}
	out = show(treeCmd{})
	if !strings.Contains(out, `mode off, "first\x1b[2J week", by ada@ops1 with smith at 2026-01-02T15:04:05Z`) || !strings.Contains(out, "tree main: 1 node;") {
		t.Error(out)
	}
}

// TestDrainedLine: who drained the tree, when and why is in the tree's state.
func TestDrainedLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local)
	root := contracts.NodeView{Name: "root", Kind: "supervisor", Status: contracts.NodeStopped, KeptDown: true}
	for want, all := range map[string][]contracts.StandingOrder{
		"the tree is drained; smith child restart root starts it\n": nil,
		"the tree is drained since 2026-01-02 15:04:05, by ada@ops1, \"night\"; smith child restart root starts it\n": {
			{Order: "suspend", Reason: "look"}, {Order: "drain", Reason: "night", By: &contracts.Operator{User: "ada", Host: "ops1"}, At: &at},
		},
	} {
		root.Orders = all
		if got := orders(contracts.TreeReply{Tree: "main", Root: root}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
