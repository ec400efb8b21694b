package supervisor

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// plain and rewritten say the same: the second has another order of keys and of
// sets, other forms of durations and words, and writes down what is the default.
const (
	plain = `
supervision_tree:
  restart_policies:
    calm: {restart_delay: 1m, time_window: 60s}
  routing:
    types:
      print: {agent_types: [printer, plotter], capabilities: [pdf, duplex]}
  tree:
    - name: svc
      children:
        - name: w
          count: 2
          command: [sleep, "1001"]
          policy: calm
          env: {B: "2", A: "1"}
          capabilities: [web, pdf]
          runner_labels: {zone: b, gpu: "yes"}
    - {name: grp, strategy: rest_for_one, children: [{name: db, command: [sleep, "1002"], heartbeats: runner}]}
`
	rewritten = `
supervision_tree:
  root_strategy: OneForOne
  routing:
    types:
      print:
        capabilities: [duplex, pdf]
        agent_types: [plotter, printer]
  restart_policies:
    calm:
      time_window: 1m0s
      restart_delay: 60000ms
      max_restarts: 3
  tree:
    - children:
        - command: &c
            - sleep
            - '1001'
          runner_labels: {gpu: 'yes', zone: b}
          type: worker
          capacity: 1
          capabilities:
            - pdf
            - web
          env:
            A: '1'
            B: '2'
          shutdown_timeout: 5000ms
          stop_signal: SIGTERM
          leave_children: no
          policy: calm
          restart: Permanent
          count: 2
          name: w
      strategy: one-for-one
      name: svc
    - name: grp
      strategy: RestForOne
      escalation: escalate
      children:
        - {heartbeats: runner, name: db, command: [sleep, '1002']}
`
)

// TestTheSameInOtherWords: files that say the same configure the same, so that
// applying one over the other changes nothing.
func TestTheSameInOtherWords(t *testing.T) {
	t.Parallel()
	read := func(text string) *config.File {
		f, err := config.Parse("supervision-config.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := read(plain), read(rewritten)
	before, err := specs(a)
	if err != nil {
		t.Fatal(err)
	}
	after, err := specs(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range before {
		if !reflect.DeepEqual(before[i], after[i]) {
			t.Errorf("%+v, rewritten %+v", before[i], after[i])
		}
	}
	if len(before) != 6 || !reflect.DeepEqual(environments(a), environments(b)) || !reflect.DeepEqual(a.Routing, b.Routing) {
		t.Errorf("%d nodes; environments %v, rewritten %v; routing %v, rewritten %v",
			len(before), environments(a), environments(b), a.Routing, b.Routing)
	}
}

// TestAddedCapabilitiesAreASet: an order to add an agent may list capabilities in
// any order, and twice.
func TestAddedCapabilitiesAreASet(t *testing.T) {
	t.Parallel()
	f, err := config.Parse("supervision-config.yaml", []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	start := func(capabilities ...string) string {
		s, _, err := child(f, contracts.AddRequest{
			Parent: "svc", Child: contracts.ChildSpec{Name: "x", Command: []string{"sleep"}, Capabilities: capabilities},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(s.Agent.Start)
	}
	if a, b := start("web", "pdf", "web"), start("pdf", "web"); a != b {
		t.Errorf("%s, and %s", a, b)
	}
}

// TestStopSettingsReachTheRunner: from the file and from an order to add an agent.
func TestStopSettingsReachTheRunner(t *testing.T) {
	t.Parallel()
	f, err := config.Parse("c.yaml", []byte(`
supervision_tree:
  tree: [{name: a, command: [x], stop_signal: SIGINT, leave_children: true}]
`))
	if err != nil {
		t.Fatal(err)
	}
	configured, err := specs(f)
	if err != nil {
		t.Fatal(err)
	}
	added, _, err := child(f, contracts.AddRequest{Parent: "root", Child: contracts.ChildSpec{
		Name: "b", Command: []string{"x"}, StopSignal: contracts.StopINT, LeaveChildren: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*tree.Spec{configured[len(configured)-1], added} {
		var start contracts.StartCommand
		if err := json.Unmarshal(s.Agent.Start, &start); err != nil || start.StopSignal != contracts.StopINT || !start.LeaveChildren {
			t.Errorf("%s: %+v, %v", s.ID, start, err)
		}
	}
	if _, _, err := child(f, contracts.AddRequest{Parent: "root", Child: contracts.ChildSpec{Name: "c", Command: []string{"x"}, StopSignal: "SIGKILL"}}); err == nil {
		t.Error("SIGKILL is taken for a signal to stop by")
	}
}

// TestExecutionReachesTheRunner: from the file and from an order to add an agent.
func TestExecutionReachesTheRunner(t *testing.T) {
	t.Parallel()
	f, err := config.Parse("c.yaml", []byte(`
supervision_tree:
  tree: [{name: a, command: [x], user: www, group: 33, umask: 27, nice: 0, pass_env: [B, A, B], env_file: a.env, limits: {open_files: 64, processes: 10, core: infinity}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	nice, core := 0, int64(-1)
	want := contracts.Execution{
		PassEnv: []string{"A", "B"}, EnvFile: "a.env", User: "www", Group: "33", Umask: "0027", Nice: &nice,
		Limits: &contracts.ProcessLimits{OpenFiles: 64, Processes: 10, Core: &core},
	}
	configured, err := specs(f)
	if err != nil {
		t.Fatal(err)
	}
	added, _, err := child(f, contracts.AddRequest{Parent: "root", Child: contracts.ChildSpec{Name: "b", Command: []string{"x"}, Execution: want}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*tree.Spec{configured[len(configured)-1], added} {
		var start contracts.StartCommand
		if err := json.Unmarshal(s.Agent.Start, &start); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, start.Execution); diff != "" {
			t.Errorf("%s: %s", s.ID, diff)
		}
	}
	bad := contracts.Execution{User: "a b", Umask: "8"}
	if _, _, err := child(f, contracts.AddRequest{Parent: "root", Child: contracts.ChildSpec{Name: "c", Command: []string{"x"}, Execution: bad}}); err == nil {
		t.Error("an agent of no user is taken")
	}
}

// TestReferencesReachTheRunner: what a command refers to is kept with the
// environment, and is in no specification.
func TestReferencesReachTheRunner(t *testing.T) {
	t.Parallel()
	f, err := config.ParseEnv("c.yaml", []byte(`
supervision_tree:
  tree: [{name: a, count: 2, command: [x, "${KEY}"], env: {TOKEN: "${KEY}"}}, {name: b, command: [x]}]
`), []string{"KEY=hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := specs(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(all)
	if err != nil || strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), `"expand":true`) {
		t.Errorf("%s, %v", text, err)
	}
	kept := environments(f)
	for _, name := range []string{"a", "a-1", "a-2"} {
		env, vars := reference.Split(kept[name])
		if env["TOKEN"] != "hunter2" || vars["KEY"] != "hunter2" || len(env)+len(vars) != 2 {
			t.Errorf("%s: %v, %v", name, env, vars)
		}
	}
	if kept["b"] != nil {
		t.Errorf("%v", kept["b"])
	}
}
