package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/golden"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestRehearsePrints: what a storm of crashes cost with a restart budget, and
// would have cost without.
func TestRehearsePrints(t *testing.T) {
	const second = contracts.Duration(time.Second)
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.Local)
	reply := contracts.RehearseReply{
		Tree: "main", From: contracts.TreeMark{Decision: 12, Sequence: 40, At: at}, To: contracts.TreeMark{Decision: 31, Sequence: 99, At: at.Add(time.Minute)},
		Decisions: 19, Faithful: true,
		Recorded: contracts.RehearsalTotals{
			Starts: 3, Restarts: 3, Downtime: 31 * second, Waiting: 30*second + 303*second/1000, BudgetWaits: 2, BudgetWaited: 30 * second,
		},
		Rehearsed: contracts.RehearsalTotals{Starts: 3, Restarts: 3, Downtime: second, Waiting: 303 * second / 1000},
		Others:    4,
		First: &contracts.RehearsalDifference{
			At: at.Add(time.Second), Decision: 20, Sequence: 55, Inputs: []string{"timer"},
			Recorded: []string{"budget b incarnation 2 until 12:00:11.000000"}, Rehearsed: []string{"start b incarnation 2 on r1"},
		},
		Assumed: contracts.RehearsalAssumed{Shifted: 4},
	}
	for i, name := range []string{"c", "b", "a"} {
		life := contracts.RehearsalLife{Starts: 1, Restarts: 1, Downtime: second / 3, Waiting: second / 10, Phase: "running"}
		was := life
		if wait := contracts.Duration(20-10*i) * second; wait > 0 {
			was.BudgetWaits, was.BudgetWaited, was.Downtime, was.Waiting = 1, wait, life.Downtime+wait, life.Waiting+wait
		}
		reply.Agents = append(reply.Agents, contracts.RehearsalAgent{Agent: name, Recorded: was, Rehearsed: life})
	}
	var out bytes.Buffer
	if err := (&rehearseCmd{Beyond: "run"}).print(&app{stdout: &out}, reply); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/rehearse-budget.golden", out.String())

	raw, err := json.Marshal(reply.Agents[0].Recorded)
	if err != nil || !strings.Contains(string(raw), `"budget_waits":1,"budget_waited":"20s"`) {
		t.Errorf("%s, %v", raw, err)
	}
}
