package proposals

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record is something the log tells a ledger.
type record func(*Ledger) error

func decided(number uint64, effects ...contracts.DecisionEffect) record {
	return func(l *Ledger) error {
		return l.Decided(&decisionlog.Decision{
			Number: number, Inputs: []contracts.DecisionInput{{Event: "cause"}}, Effects: effects,
			ID: "d", At: tree.Instant(noon.UnixNano()), Sequence: number,
		})
	}
}

func happened(t *testing.T, after time.Duration, kind contracts.EventType, agent string, data any) record {
	t.Helper()
	ev, err := contracts.NewEvent("detector/d", kind, agent, noon.Add(after)).Data(data).Build()
	if err != nil {
		t.Fatal(err)
	}
	return func(l *Ledger) error {
		l.Happened(ev)
		return nil
	}
}

// TestOutcomes: the first sign after a proposal is what really happened.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	recovered := func(process string) record {
		return happened(t, time.Second, contracts.AgentRecovered, "a", contracts.AgentRecoveredData{Agent: "a", Process: process})
	}
	health := func(from contracts.Health) record {
		return happened(t, time.Second, contracts.AgentStateChanged, "a", contracts.AgentStateChangedData{Agent: "a", From: from, To: contracts.HealthHealthy})
	}
	propose := contracts.DecisionEffect{Kind: "propose", Action: "restart", Node: "a", Detail: "silent"}
	for _, c := range []struct {
		what string
		then []record
		want contracts.ProposalOutcome
	}{
		{"nothing", nil, contracts.OutcomeNothing},
		{"somebody else's sign", []record{happened(t, 1, contracts.AgentCreated, "b", contracts.AgentCreatedData{})}, contracts.OutcomeNothing},
		{"of long ago", []record{happened(t, -time.Hour, contracts.AgentCreated, "a", contracts.AgentCreatedData{})}, contracts.OutcomeNothing},
		{"new process", []record{recovered(contracts.ProcessNew), recovered(contracts.ProcessSame)}, contracts.OutcomeSame},
		{"same process", []record{recovered(contracts.ProcessSame)}, contracts.OutcomeRecovered},
		{"not told", []record{recovered("")}, contracts.OutcomeAlive},
		{"discovered", []record{happened(t, 1, contracts.AgentCreated, "a", contracts.AgentCreatedData{})}, contracts.OutcomeSame},
		{"started", []record{happened(t, 1, contracts.AgentStarted, "a", contracts.AgentStartedData{Incarnation: 3})}, contracts.OutcomeSame},
		{"stopped", []record{happened(t, 1, contracts.AgentStopped, "a", contracts.AgentStoppedData{})}, contracts.OutcomeOther},
		{"healthy", []record{health(contracts.HealthUnknown)}, contracts.OutcomeAlive},
		{"was never bad", []record{health(contracts.HealthDegraded)}, contracts.OutcomeNothing},
		{"started here", []record{decided(2, contracts.DecisionEffect{Kind: "start", Node: "a"})}, contracts.OutcomeSame},
		{"foreign", []record{decided(2, contracts.DecisionEffect{Kind: "foreign", Node: "a"})}, contracts.OutcomeAlive},
		{"removed", []record{decided(2, contracts.DecisionEffect{Kind: "remove", Node: "a"})}, contracts.OutcomeOther},
	} {
		var l Ledger
		for _, r := range append([]record{decided(1, propose)}, c.then...) {
			if err := r(&l); err != nil {
				t.Fatal(err)
			}
		}
		reply := l.Reply(10)
		if p := reply.Proposals[0]; p.Outcome != c.want || p.Cause != "cause" || p.Really == "" || reply.Outcomes[c.want] != 1 {
			t.Errorf("%s: %+v, want %s", c.what, p, c.want)
		}
	}
	l := Ledger{Only: func(node string) bool { return node == "b" }}
	for i := range uint64(5) {
		b := propose
		b.Node = "b"
		if err := decided(i+1, propose, b)(&l); err != nil {
			t.Fatal(err)
		}
	}
	if reply := l.Reply(2); reply.Total != 5 || len(reply.Proposals) != 2 || reply.Proposals[1].Decision != 5 || reply.From.Decision != 1 {
		t.Errorf("of b, the last two: %+v", reply)
	}
}
