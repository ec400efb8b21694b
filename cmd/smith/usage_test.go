package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestUsage asks real runners what real processes use, and says of which runner it
// does not know. Where agents are, a supervisor and a detector would say.
func TestUsage(t *testing.T) {
	server := natstest.Listen(t)
	nc := server.Connect(t)
	natstest.Streams(t, natstest.JetStream(t, nc))
	defer hostOf(t, server, "r1", t.TempDir(), plenty)()
	defer hostOf(t, server, "r2", t.TempDir(), plenty)()
	for runner, agent := range map[string]string{"r1": "small", "r2": "large"} {
		text := "echo up; exec sleep 1000"
		if agent == "large" {
			text = "sleep 1000 & sleep 1000 & echo up; sleep 1000"
		}
		tellRunner(t, nc, runner, "start", script(agent, 3, text))
		defer tellRunner(t, nc, runner, "stop", contracts.StopCommand{Agent: agent, Incarnation: 3, Kill: true})
		eventually(t, "its output", func() bool { return strings.Contains(logs(t, server, agent).out, "up") })
	}
	reply := func(subject string, v any) {
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(body) }); err != nil {
			t.Fatal(err)
		}
	}
	// "other" is of an earlier incarnation than the one that runs, "away" of a runner that is not there.
	views := []contracts.AgentView{
		{Agent: "away", Runner: "r9", Incarnation: 1},
		{Agent: "large", Runner: "r2", Incarnation: 3},
		{Agent: "small", Runner: "r1", Incarnation: 3, Health: contracts.HealthHealthy},
		{Agent: "apart"},
	}
	root := contracts.NodeView{Name: "root", Kind: "supervisor"}
	for _, v := range views {
		root.Children = append(root.Children, contracts.NodeView{Name: v.Agent, Kind: "agent", Runner: v.Runner, Incarnation: v.Incarnation})
	}
	root.Children[2].Incarnation = 2 // that one has ended
	reply(contracts.ServiceSubject(contracts.ServiceDetector, "agents"), contracts.AgentsReply{Agents: views})
	reply(contracts.ServiceSubject(contracts.ServiceSupervisor, "tree"), contracts.TreeReply{Tree: "main", Root: root})
	reply(contracts.ServiceSubject(contracts.ServiceSupervisor, "runners"), contracts.RunnersReply{Runners: []contracts.RunnerView{
		{Runner: "r2", Agents: 1, Capacity: 5, Available: true}, {Runner: "r9", Lost: true},
	}})
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}

	smith := func(args ...string) string {
		t.Helper()
		var out, errOut bytes.Buffer
		if code := run(append(args, "--server", server.URL()), &out, &errOut); code != 0 || !strings.Contains(errOut.String(), "what agents on runner r9 use is not known: ") {
			t.Errorf("smith %s: exit code %d, %s", strings.Join(args, " "), code, errOut.String())
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 81 && args[len(args)-1] == "--usage" {
				t.Errorf("more than 80 columns: %s", line)
			}
		}
		return out.String()
	}
	for _, c := range []struct{ args, want string }{
		{"agents --usage", `(?s)^AGENT +HEALTH +RUNNER +UPTIME +CPU +MEMORY +PROCESSES\nlarge +r2 +\S+s +\S+s +\S+iB +4\nsmall +healthy +r1 +\S+s +\S+s +\S+iB +1\naway +r9 +- +- +- +-\napart +- +- +- +- +-\n`},
		{"tree --wide", `(?s)PID +UPTIME +CPU +MEMORY\n.* large .*- +\S+s +\S+s +\S+iB\n.* small .*- +- +- +-\n`},
		{"runners --usage", `(?s)^RUNNER +STATE +AGENTS +ROOM +UPTIME +CPU +MEMORY +PROCESSES\nr2 +available +1 +4 +\S+s +\S+s +\S+iB +4\nr9 +lost +0 +unbounded +- +- +- +-\n`},
		{"runners --usage --json", `(?s)"runner": "r2".*"usage": \{.*"processes": 4`},
		{"agents --usage --json", `(?s)"agent": "large".*"usage": \{\s+"uptime": "\S+s",\s+"cpu": "\S+s",\s+"memory": \d{5,},\s+"processes": 4`},
		{"tree --wide --json", `(?s)"name": "large".*"usage": \{\s+"uptime": "\S+s"`},
	} {
		if got := smith(strings.Fields(c.args)...); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("smith %s:\n%s", c.args, got)
		}
	}
}
