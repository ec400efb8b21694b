package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func load(t *testing.T, path string) *File {
	t.Helper()
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The requirement's file loads as it stands, and says what it says.
func TestRequirementsFile(t *testing.T) {
	f := load(t, "testdata/good/requirements.yaml")
	want := Default()
	want.Path = "testdata/good/requirements.yaml"
	supervisor := RestartPolicy{
		MaxRestarts: 10, TimeWindow: 300 * time.Second, Delay: 500 * time.Millisecond,
		Backoff: Backoff{Type: Fibonacci, MaxDelay: time.Minute, Jitter: 0.1}, ResetAfter: 300 * time.Second,
	}
	want.RestartPolicies = map[string]RestartPolicy{
		"default": {
			MaxRestarts: 5, TimeWindow: time.Minute, Delay: 100 * time.Millisecond,
			Backoff: Backoff{Type: Exponential, Base: 2, MaxDelay: 30 * time.Second, Jitter: 0.1}, ResetAfter: time.Minute,
		},
		"agent_supervisor": supervisor,
	}
	want.Tree.Root.Strategy = OneForAll
	want.Tree.Root.Escalation, want.Tree.Root.CoolOff, want.Tree.Root.MaxCoolOff = EscalationTerminate, DefaultCoolOff, 0
	want.Tree.Root.Policy, want.Tree.Root.PolicyName = supervisor, "agent_supervisor"
	want.FailureDetection = FailureDetection{
		HeartbeatInterval: 5 * time.Second, FailureThreshold: 3, Algorithm: AlgorithmTail, PhiThreshold: 8,
		SamplingWindowSize: 100, MinSamples: 10, Correlation: Default().FailureDetection.Correlation, ProbeTimeout: time.Second,
	}
	want.CircuitBreakers = map[string]CircuitBreaker{
		"default":      {FailureThreshold: 5, SuccessThreshold: 3, Timeout: 30 * time.Second, HalfOpenMaxCalls: 3},
		"external_api": {FailureThreshold: 3, SuccessThreshold: 2, Timeout: time.Minute, HalfOpenMaxCalls: 1},
	}
	want.Bulkheads["agent_pool"] = Bulkhead{MaxConcurrentCalls: 50, MaxWaitDuration: 5 * time.Second, MaxWaiting: 1000}
	want.Bulkheads["database_pool"] = Bulkhead{MaxConcurrentCalls: 20, MaxWaitDuration: 2 * time.Second, MaxWaiting: 1000}
	want.Timeouts = Timeouts{
		Global:   time.Minute,
		Services: map[string]time.Duration{"agent_service": 30 * time.Second, "database_service": 10 * time.Second},
		Operations: map[string]map[string]time.Duration{
			"agent_service":    {"create_task": 5 * time.Second, "process_result": 15 * time.Second},
			"database_service": {"query": 2 * time.Second, "transaction": 5 * time.Second},
		},
	}
	if diff := cmp.Diff(want, f, cmpopts.IgnoreUnexported(Node{}, File{})); diff != "" {
		t.Fatal(diff)
	}
}

func TestTreeFile(t *testing.T) {
	f := load(t, "testdata/good/tree.yaml")
	var names []string
	for _, a := range f.Tree.Agents() {
		names = append(names, a.Name)
	}
	if diff := cmp.Diff([]string{"crawler-1", "crawler-2", "crawler-3"}, names); diff != "" {
		t.Fatal(diff)
	}
	got := f.Tree.Agents()[1]
	want := Agent{
		Name: "crawler-2", Index: 2,
	}
	want.Template = &Template{
		Name: "crawler", Type: "researcher",
		Command: []string{"./my-agent", "--flag"}, Env: map[string]string{"KEY": "value"},
		Restart: Permanent, Capabilities: []string{"web"}, Capacity: 4,
		HeartbeatInterval: time.Second, StartDeadline: 30 * time.Second, ShutdownTimeout: 5 * time.Second,
		Stabilisation: 500 * time.Millisecond, Heartbeats: ByAgent, StopSignal: "SIGTERM", Runner: AnyRunner, OnReturn: OnReturnStay,
		Policy: f.RestartPolicies["agent_supervisor"], PolicyName: "agent_supervisor",
		FailureThreshold: 3, Pos: Position{15, 11}, Setting: "supervision_tree.tree[0].children[0]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	nodes := f.Tree.Nodes()
	if len(nodes) != 2 || nodes[0].Name != "root" || nodes[1].Name != "research" || nodes[1].PolicyName != "agent_supervisor" {
		t.Fatalf("nodes: %+v", nodes)
	}
}

// Anchors, aliases and merges work, and own keys win over merged ones.
func TestMergedAgents(t *testing.T) {
	f := load(t, "testdata/good/everything.yaml")
	agents := f.Tree.Agents()
	if len(agents) != 2 || agents[1].Name != "two" || agents[1].Capacity != 2 || agents[1].Command[0] != "one" || agents[0].Capacity != 1 {
		t.Fatalf("got %+v", agents)
	}
}

// No file, an empty one and one that says nothing are the defaults.
func TestNothingIsTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n# nothing\n", "{}", "~", "supervision_tree:\n", "supervision_tree: {tree: , routing: ~}"} {
		f, err := Parse("", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(Default(), f, cmpopts.IgnoreUnexported(Node{}, File{})); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}
