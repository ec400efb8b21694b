package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func (many) Fence(uint64) uint64 { return 40 }

func (many) AddUsage([]contracts.RunnerAgent) {}

func (many) List() []contracts.RunnerAgent {
	now := time.Now().UTC()
	var list []contracts.RunnerAgent
	for i := range 20_000 {
		a := contracts.RunnerAgent{
			Agent: fmt.Sprintf("%064d", i), Incarnation: 1 << 50, State: contracts.AgentExited, Started: &now,
			Exit: &contracts.Exit{Code: -1, Signal: "SIGKILL", At: now, Tail: strings.Repeat("x", contracts.MaxOutputTail)},
		}
		if i%6 == 0 {
			a.PID, a.State, a.Exit = 1<<22, contracts.AgentRunning, nil
		}
		list = append(list, a)
	}
	return list
}

func TestListComesInPagesThatFitAMessage(t *testing.T) {
	t.Parallel()
	a := &API{runner: "r", agents: many{}}
	var all []string
	pages := 0
	for after, more := "", true; more; pages++ {
		cmd, err := json.Marshal(contracts.ListCommand{Term: 7, After: after})
		if err != nil {
			t.Fatal(err)
		}
		reply, err := a.list(cmd)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(reply)
		if err != nil || len(body) > contracts.MaxEventBytes {
			t.Fatalf("%d bytes, %v", len(body), err)
		}
		list, rejected, err := contracts.DecodeRunnerList("r", body)
		if err != nil || len(rejected) > 0 || list.Term != 40 {
			t.Fatalf("%v, %v, decision %d", rejected, err, list.Term)
		}
		for _, agent := range list.Agents {
			if agent.Exit != nil && agent.Exit.Tail != "" {
				t.Fatal("the list holds output")
			}
			all = append(all, agent.Agent)
		}
		after, more = all[len(all)-1], list.More
	}
	if len(all) != 20_000 || !slices.IsSorted(all) || len(slices.Compact(all)) != 20_000 || pages < 2 {
		t.Errorf("%d agents in %d pages", len(all), pages)
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
		}
		if stop, err := decode[contracts.StopCommand](body); err == nil && contracts.ValidateID(stop.Agent) != nil {
			t.Fatalf("accepted stop %+v", stop)
		}
	})
}

// Of two runners of one name exactly one goes, whatever they say of themselves.
func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte(`{"runner":"r","session":"a","started":"2026-01-02T15:04:05Z","host":"h"}`), "m", int64(0))
	f.Add([]byte(`{"session":"m","started":"9999-12-31T23:59:59.999999999-23:59"}`), "m", int64(1))
	f.Add([]byte(`{"session":"z","started":"2001-09-09T01:46:40Z"}`), "m", int64(1e18))
	f.Add([]byte(`{"session":1}`), "m", int64(0))
	f.Add([]byte(`null`), "", int64(0))
	f.Fuzz(func(t *testing.T, body []byte, session string, started int64) {
		self := contracts.RunnerAnnouncement{Runner: "r", Session: strings.ToValidUTF8(session, ""), Started: time.Unix(0, started).UTC()}
		err := yield(self, body)
		if err != nil && (!errors.Is(err, ErrNameTaken) || len(err.Error()) > 1024) {
			t.Fatalf("%.2000v", err)
		}
		var other contracts.RunnerAnnouncement
		if json.Unmarshal(body, &other) != nil || other.Session == self.Session || other.Session == "" || self.Session == "" {
			return
		}
		mine, encodeErr := json.Marshal(self)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		if goes := yield(other, mine) != nil; goes == (err != nil) {
			t.Fatalf("%s and %s: both yield, or neither: %v", mine, body, err)
		}
	})
}

// fenced is a runner without agents that notes the fence.
type fenced struct {
	Agents
	term uint64
}

func (f *fenced) Fence(term uint64) uint64    { f.term = term; return 0 }
func (*fenced) List() []contracts.RunnerAgent { return nil }

func (*fenced) AddUsage([]contracts.RunnerAgent) {}

// A list fences what it names; one that cannot be read changes nothing.
func FuzzList(f *testing.F) {
	f.Add([]byte(``))
	f.Add([]byte(`{"decision":4711}`))
	f.Add([]byte(`{"decision":-1}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"decision":1}` + strings.Repeat(" ", contracts.MaxRequestBytes)))
	f.Fuzz(func(t *testing.T, body []byte) {
		agents := &fenced{}
		reply, err := (&API{runner: "r", agents: agents}).list(body)
		list, ok := reply.(contracts.RunnerList)
		if !ok || list.Runner != "r" || list.Agents == nil {
			t.Fatalf("%+v", reply)
		}
		if err != nil {
			if !errors.Is(err, contracts.ErrRunnerCommand) || agents.term != 0 {
				t.Fatalf("%v, and fenced %d", err, agents.term)
			}
			return
		}
		if cmd, _ := decodeList(body); agents.term != cmd.Term || len(body) > contracts.MaxRequestBytes {
			t.Fatalf("fenced %d of %s", agents.term, body)
		}
	})
}
