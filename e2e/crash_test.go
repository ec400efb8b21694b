package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// groupConfig is one group whose members take a moment to stop and to start,
// so that a service can be killed in the middle of a restart.
const groupConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 1s}
  restart_policies:
    default: {max_restarts: 100, time_window: 1h, restart_delay: 50ms, backoff_strategy: {type: fixed}}
  tree:
    - name: group
      strategy: one_for_all
      policy: default
      children:
        - {name: a, type: researcher, heartbeat_interval: 1s, stabilisation: 100ms, command: [WORKER, --records, RECORDS, --start-delay, 100ms]}
        - {name: b, type: researcher, heartbeat_interval: 1s, stabilisation: 100ms, command: [WORKER, --records, RECORDS, --start-delay, 100ms]}
        - {name: c, type: researcher, heartbeat_interval: 1s, stabilisation: 100ms, command: [WORKER, --records, RECORDS, --start-delay, 100ms]}
    - name: bystanders
      strategy: one_for_one
      policy: default
      children:
        - {name: d, type: coder, heartbeat_interval: 1s, command: [WORKER, --records, RECORDS]}
`

var group = []string{"a", "b", "c"}

// TestServiceKilledAmidGroupRestart kills each service with -9 at a different
// moment of a one_for_all restart and starts it again.
func TestServiceKilledAmidGroupRestart(t *testing.T) {
	t.Parallel()
	for _, service := range starting {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			s := deploy(t, groupConfig)
			now := s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
			for round := range rounds() {
				victim := now[group[round%len(group)]]
				want := map[string]uint64{"d": now["d"].Incarnation}
				for _, name := range group {
					want[name] = now[name].Incarnation + 1
				}
				if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
					t.Fatalf("round %d: kill %s: %v", round, victim.Name, err)
				}
				// From just after the exit to well into the restart.
				<-time.After(time.Duration(round%10) * 60 * time.Millisecond)
				s.services[service].Kill()
				s.services[service].Start()
				s.waitReady(service)
				now = s.waitRunning(want)
				for name, incarnation := range want {
					// A runner that is killed just before it starts a process has
					// used up its incarnation, and the group starts once more.
					if got := now[name].Incarnation; got != incarnation && (service != "runner" || name == "d") {
						t.Fatalf("round %d: %s is at incarnation %d, want %d", round, name, got, incarnation)
					}
				}
			}
			s.checkLog()
			s.checkNothingLost()
			s.checkNoDoubles()
		})
	}
}

// TestNATSKilled kills the server with -9 amid a group restart, and under a
// fleet at rest.
func TestNATSKilled(t *testing.T) {
	t.Parallel()
	// The last outage is longer than the silence that makes a verdict.
	s := deploy(t, strings.ReplaceAll(groupConfig, "heartbeat_interval: 1s", "heartbeat_interval: 500ms"))
	const outageTakes, verdictTakes = 4 * time.Second, 4 * time.Second
	now := s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
	for round := range rounds() {
		want := map[string]uint64{"d": 1}
		for _, name := range group {
			want[name] = now[name].Incarnation + 1
		}
		if err := syscall.Kill(now["a"].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(round%10) * 60 * time.Millisecond)
		s.nats.Kill()
		<-time.After(500 * time.Millisecond)
		s.nats.Start()
		now = s.waitRunning(want)
	}
	outage := time.Now()
	s.nats.Kill()
	<-time.After(outageTakes)
	s.nats.Start()
	for _, name := range starting {
		s.waitReady(name)
	}
	// Long enough for a wrong verdict on the silence of the outage.
	<-time.After(verdictTakes)
	after := s.waitRunning(map[string]uint64{"d": 1})
	for name, a := range now {
		if after[name].Incarnation != a.Incarnation {
			t.Errorf("%s went from incarnation %d to %d though nothing had happened to it", name, a.Incarnation, after[name].Incarnation)
		}
	}
	for _, ev := range s.checkLog() {
		// Agent a was killed, so silence rightly tells of its end; in the last
		// outage it was as healthy as the others.
		if ev.Type != contracts.AgentFailed || ev.Entity == "a" && ev.Time.Before(outage) {
			continue
		}
		if d, err := contracts.DecodeData[contracts.AgentFailedData](ev); err != nil || d.Silence != nil {
			t.Errorf("a healthy agent was declared failed: %+v, %v", d, err)
		}
	}
	s.checkNothingLost()
	s.checkNoDoubles()
}

// checkNoDoubles fails if by the agents' own records two incarnations of one
// lived at once. An agent holds a lock for as long as it lives, and records
// when it finds it taken.
func (s *system) checkNoDoubles() {
	s.t.Helper()
	last := map[string]record{}
	starts := 0
	for _, r := range s.readRecords() {
		switch r.Event {
		case "double_run":
			s.t.Errorf("%s#%d (pid %d) found another of itself alive", r.Agent, r.Incarnation, r.PID)
		case "start":
			starts++
			if before, known := last[r.Agent]; known && r.Incarnation <= before.Incarnation {
				s.t.Errorf("%s#%d (pid %d) started after #%d (pid %d)", r.Agent, r.Incarnation, r.PID, before.Incarnation, before.PID)
			}
			last[r.Agent] = r
		}
	}
	if starts == 0 {
		s.t.Error("no agent recorded a start")
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if _, ok := last[name]; !ok {
			s.t.Error(fmt.Errorf("%s never recorded a start", name))
		}
	}
}

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }
