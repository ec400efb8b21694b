package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestYield(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	self := contracts.RunnerAnnouncement{Runner: "r", Session: "m", Started: now}
	tests := []struct {
		name  string
		other any
		goes  bool
	}{
		{"itself", self, false},
		{"an older one", contracts.RunnerAnnouncement{Runner: "r", Session: "z", Started: now.Add(-1)}, true},
		{"a younger one", contracts.RunnerAnnouncement{Runner: "r", Session: "a", Started: now.Add(1)}, false},
		{"one as old, before it by session", contracts.RunnerAnnouncement{Runner: "r", Session: "a", Started: now}, true},
		{"one as old, after it by session", contracts.RunnerAnnouncement{Runner: "r", Session: "z", Started: now}, false},
		{"no announcement", "x", false},
		{"an empty one", struct{}{}, false},
	}
	for _, tt := range tests {
		body, err := json.Marshal(tt.other)
		if err != nil {
			t.Fatal(err)
		}
		if err := yield(self, body); errors.Is(err, ErrNameTaken) != tt.goes {
			t.Errorf("%s: %v, want to yield: %v", tt.name, err, tt.goes)
		}
	}
}

// many is a runner full of agents with the longest names and all their ends.
type many struct{ Agents }

func (many) Fence(uint64) {}

func (many) List() []contracts.RunnerAgent {
	now := time.Now().UTC()
	var list []contracts.RunnerAgent
	for i := range 20_000 {
		a := contracts.RunnerAgent{
			Agent: fmt.Sprintf("%064d", i), Incarnation: 1 << 60, State: "exited", Started: &now,
			Exit: &contracts.Exit{Code: -1, Signal: "SIGKILL", At: now, Tail: strings.Repeat("x", contracts.MaxOutputTail)},
		}
		if i%6 == 0 {
			a.PID, a.State, a.Exit = 1<<22, "running", nil
		}
		list = append(list, a)
	}
	return list
}

func TestListFitsAMessageAndHasEveryRunningAgent(t *testing.T) {
	t.Parallel()
	a := &API{runner: "r", agents: many{}}
	reply, err := a.list(nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(reply)
	if err != nil || len(body) > contracts.MaxEventBytes {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	running, ended := 0, 0
	for _, agent := range reply.(contracts.RunnerList).Agents {
		if agent.State == "running" {
			running++
		} else {
			ended++
		}
		if agent.Exit != nil && agent.Exit.Tail != "" {
			t.Fatal("the list holds output")
		}
	}
	if running != 3334 || ended == 16_666 {
		t.Errorf("%d running agents of 3334, %d ended ones", running, ended)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"agent":"a","incarnation":1,"command":["x"],"env":{"A":"b"},"heartbeats":"runner"}`))
	f.Add([]byte(`{"agent":"a","incarnation":1,"timeout":"5s","kill":true}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		start, err := decode[contracts.StartCommand](body)
		if err == nil && (contracts.ValidateID(start.Agent) != nil || start.Incarnation == 0 || len(start.Command) == 0) {
			t.Fatalf("accepted start %+v", start)
		}
		if err != nil {
			if _, err := json.Marshal(invalid(start.Agent, start.Incarnation, err)); err != nil {
				t.Fatal(err)
			}
			for _, c := range headerLine(err) {
				if c < ' ' {
					t.Fatalf("header %q", headerLine(err))
				}
			}
		}
		if stop, err := decode[contracts.StopCommand](body); err == nil && contracts.ValidateID(stop.Agent) != nil {
			t.Fatalf("accepted stop %+v", stop)
		}
	})
}
