package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// answers serves fixed answers by subject until stop is called.
func answers(t *testing.T, s *natstest.Server, by map[string]any) (stop func()) {
	t.Helper()
	nc := s.Connect(t)
	var subs []*nats.Subscription
	for subject, answer := range by {
		body, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(body) })
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe()
		}
		_ = nc.Flush()
	}
}

// smith runs a command and returns what it prints, errors last.
func smith(line string) (code int, printed string) {
	var out, errOut bytes.Buffer
	code = run(strings.Fields(line), &out, &errOut)
	return code, out.String() + errOut.String()
}

// TestDegradedAgentsAreShown: what an agent reports of itself shows in the tree, is a
// problem, and is told by why with the agent's own words. What a former process of it
// said, or one that is down, does not.
func TestDegradedAgentsAreShown(t *testing.T) {
	s := natstest.Listen(t)
	t.Setenv("NATS_URL", s.URL())
	agent := func(name string, status contracts.NodeStatus) contracts.NodeView {
		return contracts.NodeView{Name: name, Kind: "agent", Status: status, Incarnation: 2}
	}
	view := func(name string, status contracts.AgentStatus, incarnation uint64) contracts.AgentView {
		return contracts.AgentView{Agent: name, Health: contracts.HealthHealthy, Status: status, Incarnation: incarnation}
	}
	ill := agent("ill", contracts.NodeRunning)
	answers(t, s, map[string]any{
		"smith.supervisor.tree": contracts.TreeReply{Tree: "main", Root: contracts.NodeView{
			Name: "root", Kind: "supervisor", Status: contracts.NodeRunning, Children: []contracts.NodeView{
				ill, agent("restarted", contracts.NodeRunning), agent("down", contracts.NodeStopped), agent("busy", contracts.NodeRunning),
			},
		}},
		"smith.supervisor.why": contracts.Diagnosis{Tree: "main", Node: ill, State: contracts.StateRunning},
		"smith.eventstore.why": contracts.WhyReply{Agent: "ill", Complete: true},
		"smith.agent.ill.ping": contracts.PingReply{Incarnation: 2, Status: contracts.StatusDegraded, Detail: "disk is full\x1b[2J"},
	})
	stop := answers(t, s, map[string]any{
		// One that is older than the choice by status answers with others, too.
		"smith.detector.agents": contracts.AgentsReply{Agents: []contracts.AgentView{
			view("busy", contracts.StatusBusy, 2), view("down", contracts.StatusDegraded, 2), view("ill", contracts.StatusDegraded, 2), view("restarted", contracts.StatusDegraded, 1),
		}},
		"smith.detector.status": view("ill", contracts.StatusDegraded, 2),
	})
	code, out := smith("tree")
	if code != 0 || strings.Count(out, "degraded") != 1 || !strings.Contains(out, "running, degraded") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out = smith("tree --problems")
	if code != 1 || strings.Count(out, "degraded") != 1 || !strings.Contains(out, "it reports itself degraded\n\ntree main: 1 problem;") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out = smith("tree --problems --json")
	if code != 1 || strings.Count(out, `"degraded": true`) != 1 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out = smith("why ill")
	if code != 0 || !strings.HasPrefix(out, "ill runs\n  it reports itself degraded: disk is full\\x1b[2J\n") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out = smith("why ill --json")
	if code != 0 || !strings.Contains(out, `"degraded": true`) || !strings.Contains(out, `"detail": "disk is full`) {
		t.Errorf("exit code %d:\n%s", code, out)
	}

	stop() // now no detector answers
	code, out = smith("tree")
	if code != 0 || strings.Contains(out, "degraded") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out = smith("tree --problems")
	if code != 0 || !strings.HasPrefix(out, "tree main: nothing is wrong\nsmith: which agents report themselves degraded is not known: nobody answers") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out = smith("why ill")
	if code != 0 || !strings.Contains(out, "whether it reports itself degraded is not known: nobody answers") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
