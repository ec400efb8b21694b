package describe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestWhat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		eventType contracts.EventType
		data      any
		want      string
	}{
		{contracts.AgentFailed, contracts.AgentFailedData{Incarnation: 2, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: 3}}, "#2 exited: exit code 3"},
		{contracts.AgentFailed, contracts.AgentFailedData{Incarnation: 2, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: -1, Signal: "SIGKILL"}}, "#2 exited: SIGKILL"},
		{contracts.AgentFailed, contracts.AgentFailedData{Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: -1, Unknown: true}}, "#0 exited: exit status unknown"},
		{contracts.AgentFailed, contracts.AgentFailedData{Incarnation: 2, Reason: contracts.ReasonHostLost, Detail: "runner r1 was ended, and process 7 ended with it, with exit code 0", Exit: &contracts.Exit{Blame: contracts.BlameHost}}, "#2 host_lost: runner r1 was ended, and process 7 ended with it, with exit code 0"},
		{contracts.AgentFailed, contracts.AgentFailedData{Incarnation: 1, Reason: contracts.ReasonHeartbeatTimeout, Silence: &contracts.Silence{Phi: 5.04, Elapsed: contracts.Duration(1234567 * time.Microsecond)}}, "#1 heartbeat_timeout: silent for 1.23s, phi 5.0"},
		{contracts.AgentFailed, contracts.AgentFailedData{Incarnation: 1, Reason: contracts.ReasonStoppingTimeout, Silence: &contracts.Silence{Elapsed: contracts.Duration(time.Millisecond)}, Detail: "it has not ended"}, "#1 stopping_timeout: it has not ended"},
		{contracts.AgentStarted, contracts.AgentStartedData{Incarnation: 4, Runner: "host1", PID: 77}, "#4 on host1, pid 77"},
		{contracts.TreeDecided, contracts.DecisionsData{Effects: []contracts.DecisionEffect{{Kind: "stop", Node: "a"}, {Kind: "start", Node: "b", Incarnation: 2, Detail: "group"}}}, "stop a, start b#2 (group)"},
		{contracts.TreeDecided, contracts.DecisionsData{Inputs: []contracts.DecisionInput{{Kind: "config", Detail: "unchanged"}}}, "config  unchanged"},
		{contracts.TaskReassigned, contracts.TaskAssignedData{Task: "t1", Agent: "b", Incarnation: 1, Attempt: 2, PreviousAgent: "a", Reason: "exited"}, "t1 to b#1, attempt 2, taken from a: exited"},
		{contracts.SystemMessageRejected, contracts.SystemRejectedData{Origin: "smith.task.x", Cause: "not JSON"}, "smith.task.x: not JSON"},
		{contracts.CustomEventType("hello"), map[string]int{"a": 1}, ""},
	} {
		ev, err := contracts.NewEvent("test/1", c.eventType, "x", time.Now()).Data(c.data).Build()
		if err != nil {
			t.Fatal(err)
		}
		if got := describe.What(ev); got != c.want {
			t.Errorf("%s: got %q, want %q", c.eventType, got, c.want)
		}
	}
}

func TestUnreadableDataIsSaidSo(t *testing.T) {
	t.Parallel()
	ev := contracts.Event{Type: contracts.AgentFailed, Data: []byte(`"text"`)}
	if got := describe.What(ev); !strings.HasPrefix(got, "(") {
		t.Errorf("got %q", got)
	}
}
