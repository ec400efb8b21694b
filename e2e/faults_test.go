package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const faultsConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 1s}
  restart_policies:
    default: {max_restarts: 5, time_window: 30s, restart_delay: 50ms, backoff_strategy: {type: fixed}}
    brittle: {max_restarts: 2, time_window: 30s, restart_delay: 50ms, backoff_strategy: {type: fixed}}
  tree:
    - name: one
      strategy: one_for_one
      policy: default
      children:
        - {name: a, type: researcher, count: 2, capacity: 2, heartbeat_interval: 500ms, command: [WORKER, --records, RECORDS]}
    - name: all
      strategy: one_for_all
      policy: default
      children:
        - {name: b, type: coder, count: 2, heartbeat_interval: 1s, command: [WORKER, --records, RECORDS]}
    - name: rest
      strategy: rest_for_one
      policy: default
      children:
        - {name: c, type: analyst, count: 3, heartbeat_interval: 1s, command: [WORKER, --records, RECORDS]}
    - name: edge
      strategy: one_for_one
      policy: default
      children:
        - name: unstable
          strategy: one_for_one
          escalation: escalate
          policy: brittle
          children:
            - {name: flaky, heartbeat_interval: 1s, command: [sh, DIR/flaky.sh, WORKER, --records, RECORDS]}
            - {name: neighbour, heartbeat_interval: 1s, command: [WORKER, --records, RECORDS]}
`

// TestFaults lets each kind of fault happen to five separate services' fleet
// and checks who is restarted and who is left alone.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := deployWith(t, faultsConfig, map[string]string{
		// Crashes for as long as there is a token to take.
		"flaky.sh": `d=$(dirname "$0"); for t in "$d"/token.*; do [ -e "$t" ] && rm "$t" && exit 3; done; exec "$@"`,
	})
	all := []string{"a-1", "a-2", "b-1", "b-2", "c-1", "c-2", "c-3", "flaky", "neighbour"}
	first := map[string]uint64{}
	for _, name := range all {
		first[name] = 1
	}
	now := s.waitRunning(first)
	for _, f := range []struct {
		name   string
		victim string
		signal syscall.Signal
		before func()
		// moves are how many incarnations later each must be; all others stay.
		moves  map[string]uint64
		reason contracts.FailureReason
	}{
		{"kill under one_for_one", "a-1", syscall.SIGKILL, nil, map[string]uint64{"a-1": 1}, contracts.ReasonExited},
		{"hung", "a-2", syscall.SIGSTOP, nil, map[string]uint64{"a-2": 1}, contracts.ReasonHeartbeatTimeout},
		{"kill under one_for_all", "b-1", syscall.SIGKILL, nil, map[string]uint64{"b-1": 1, "b-2": 1}, contracts.ReasonExited},
		{"kill amid rest_for_one", "c-2", syscall.SIGKILL, nil, map[string]uint64{"c-2": 1, "c-3": 1}, contracts.ReasonExited},
		{"crashes at every start", "flaky", syscall.SIGKILL, func() { s.tokens(2) }, map[string]uint64{"flaky": 3, "neighbour": 1}, contracts.ReasonExited},
	} {
		want := map[string]uint64{}
		for _, name := range all {
			want[name] = now[name].Incarnation + f.moves[name]
		}
		if f.before != nil {
			f.before()
		}
		begin := time.Now()
		if err := syscall.Kill(now[f.victim].PID, f.signal); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		before := now
		now = s.waitRunning(want)
		t.Logf("%s: running again after %s", f.name, time.Since(begin).Round(time.Millisecond))
		for _, name := range all {
			moved := now[name].Incarnation - before[name].Incarnation
			if moved != f.moves[name] {
				t.Errorf("%s: %s moved by %d incarnations, want %d", f.name, name, moved, f.moves[name])
			}
		}
		if reason := s.failureOf(f.victim, before[f.victim].Incarnation); reason != f.reason {
			t.Errorf("%s: found as %q, want %q", f.name, reason, f.reason)
		}
	}
	escalated := false
	for _, ev := range s.checkLog() {
		escalated = escalated || ev.Type == contracts.TreeEscalated
	}
	if !escalated {
		t.Error("no escalation in the log")
	}
	s.checkNothingLost()
}

func (s *system) failureOf(agent string, incarnation uint64) contracts.FailureReason {
	for _, ev := range s.events() {
		if ev.Type != contracts.AgentFailed || ev.Entity != agent {
			continue
		}
		if d, err := contracts.DecodeData[contracts.AgentFailedData](ev); err == nil && d.Incarnation == incarnation {
			return d.Reason
		}
	}
	return ""
}

// tokens makes flaky crash at its next n starts.
func (s *system) tokens(n int) {
	for i := range n {
		s.write(fmt.Sprintf("token.%d", i), "")
	}
}

// TestTasksSurviveTheirAgents: two hundred tasks flow while workers that hold
// some are killed; each is completed, and by the log exactly once.
func TestTasksSurviveTheirAgents(t *testing.T) {
	t.Parallel()
	s := deploy(t, faultsConfig2)
	now := s.waitRunning(map[string]uint64{"w-1": 1, "w-2": 1, "w-3": 1, "w-4": 1})
	const tasks = 200
	for i := range tasks {
		s.submit("research", fmt.Sprintf("task-%d", i))
		if i%60 == 59 {
			victim := now[fmt.Sprintf("w-%d", 1+i/60)]
			s.waitHolding(victim.Name)
			if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	completed := map[string]int{}
	eventually(t, 60*time.Second, "all tasks to complete", func() bool {
		clear(completed)
		for _, ev := range s.events() {
			if ev.Type == contracts.TaskCompleted {
				completed[ev.CorrelationID]++
			}
		}
		return len(completed) == tasks
	})
	for id, n := range completed {
		if n != 1 {
			t.Errorf("task %s was completed %d times", id, n)
		}
	}
	reassigned := 0
	for _, ev := range s.checkLog() {
		if ev.Type == contracts.TaskReassigned {
			reassigned++
		}
	}
	if reassigned == 0 {
		t.Error("no task was reassigned, though workers died with tasks in hand")
	}
	t.Logf("%d tasks completed, %d reassigned", len(completed), reassigned)
	s.checkNothingLost()
}

const faultsConfig2 = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 1s}
  # A task may be in the hands of all three that are killed, one after the other.
  routing: {max_attempts: 10}
  tree:
    - name: pool
      strategy: one_for_one
      children:
        - {name: w, type: researcher, count: 4, capacity: 3, heartbeat_interval: 1s, command: [WORKER, --records, RECORDS, --service-time, 400ms]}
`
