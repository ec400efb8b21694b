package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// foreignConfig supervises nothing and finds silence fast.
const foreignConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 200ms}
`

// TestForeignAgent: whoever publishes an empty heartbeat is watched, and its
// silence is an event. It uses the real nats CLI where there is one (NATS_CLI,
// or on PATH), else the same messages from here.
func TestForeignAgent(t *testing.T) {
	t.Parallel()
	s := deploy(t, foreignConfig)
	failures := s.subscribe("smith.event.agent.failed.*")
	beat := func() { s.publish("smith.heartbeat.foo", "") }
	for range 15 {
		beat()
		<-time.After(200 * time.Millisecond) // this is the agent's heartbeat
	}
	eventually(t, 5*time.Second, "foo to be healthy", func() bool {
		beat()
		return s.agentView("foo").Health == contracts.HealthHealthy
	})
	silent := time.Now()
	ev, err := contracts.DecodeEvent("", []byte(failures()))
	if err != nil {
		t.Fatal(err)
	}
	failed, err := contracts.DecodeData[contracts.AgentFailedData](ev)
	if err != nil || ev.Entity != "foo" || failed.Silence == nil {
		t.Errorf("%+v, %v", failed, err)
	}
	t.Logf("silence found after %s: %s, phi %.1f", time.Since(silent), failed.Silence.Rule, failed.Silence.Phi)
	eventually(t, 5*time.Second, "foo to recover", func() bool {
		beat()
		return s.agentView("foo").Health != contracts.HealthUnhealthy
	})
	services := s.microServices()
	for _, want := range []string{"smith-detector", "smith-eventstore", "smith-router", "smith-runner", "smith-supervisor"} {
		if !strings.Contains(services, want) {
			t.Errorf("no %s among the services:\n%s", want, services)
		}
	}
}

func (s *system) agentView(agent string) contracts.AgentView {
	var view contracts.AgentView
	msg, err := s.nc.Request("smith.detector.status", []byte(`{"agent":"`+agent+`"}`), 2*time.Second)
	if err == nil {
		_ = json.Unmarshal(msg.Data, &view)
	}
	return view
}

// natsCLI is the real nats CLI, or "".
func natsCLI() string {
	if path := os.Getenv("NATS_CLI"); path != "" {
		return path
	}
	path, _ := exec.LookPath("nats")
	return path
}

func (s *system) cli(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, natsCLI(), append([]string{"--server", s.url}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("nats %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *system) publish(subject, body string) {
	s.t.Helper()
	if natsCLI() != "" {
		s.cli("pub", subject, body)
		return
	}
	if err := s.nc.Publish(subject, []byte(body)); err != nil {
		s.t.Fatal(err)
	}
}

// subscribe gives a function that waits for the next message's body.
func (s *system) subscribe(subject string) func() string {
	s.t.Helper()
	if natsCLI() == "" {
		sub, err := s.nc.SubscribeSync(subject)
		if err != nil {
			s.t.Fatal(err)
		}
		return func() string {
			msg, err := sub.NextMsg(20 * time.Second)
			if err != nil {
				s.t.Fatalf("nothing on %s: %v", subject, err)
			}
			return string(msg.Data)
		}
	}
	cmd := exec.Command(natsCLI(), "--server", s.url, "sub", "--raw", subject)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	lines := make(chan string, 16)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range lines {
		}
		_ = cmd.Wait()
	})
	return func() string {
		select {
		case line := <-lines:
			return line
		case <-time.After(20 * time.Second):
			s.t.Fatalf("nats sub %s printed nothing", subject)
			return ""
		}
	}
}

// microServices is what `nats micro ls` prints.
func (s *system) microServices() string {
	s.t.Helper()
	if natsCLI() != "" {
		return s.cli("micro", "ls")
	}
	inbox := nats.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err == nil {
		err = s.nc.PublishRequest("$SRV.PING", inbox, nil)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for {
		msg, err := sub.NextMsg(3 * time.Second)
		if err != nil {
			return all.String()
		}
		all.Write(msg.Data)
	}
}
