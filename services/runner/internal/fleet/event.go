package fleet

import (
	"fmt"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

// startedEvent tells that a process was started.
func (f *Fleet) startedEvent(rec ledger.Record) *contracts.EventBuilder {
	c := rec.Start
	return contracts.NewEvent(f.source(), contracts.AgentStarted, rec.Agent, rec.Started).
		ID(contracts.DerivedID("agent started", rec.Token)).
		Causation(c.CausationID).Correlation(c.CorrelationID).
		Data(contracts.AgentStartedData{
			Agent: rec.Agent, Incarnation: c.Incarnation, Runner: f.o.Runner, PID: rec.Process.PID,
			Type: c.Type, Capabilities: c.Capabilities, Capacity: c.Capacity,
			Interval: c.HeartbeatInterval, StartDeadline: c.StartDeadline, ShutdownTimeout: c.ShutdownTimeout,
			Heartbeats: c.Heartbeats,
		})
}

// exitEvent reports how an agent ended.
func (f *Fleet) exitEvent(rec ledger.Record) (contracts.Outcome, *contracts.EventBuilder) {
	exit := *rec.Exit
	outcome := exit.Outcome()
	event := func(t contracts.EventType) *contracts.EventBuilder {
		return contracts.NewEvent(f.source(), t, rec.Agent, exit.At).ID(endedID(rec))
	}
	stopped := func(reason contracts.StopReason) *contracts.EventBuilder {
		return event(contracts.AgentStopped).Data(contracts.AgentStoppedData{
			Agent: rec.Agent, Incarnation: rec.Incarnation(), Runner: f.o.Runner, Reason: reason, Exit: &exit,
		})
	}
	failed := func(reason contracts.FailureReason) *contracts.EventBuilder {
		return event(contracts.AgentFailed).Data(contracts.AgentFailedData{
			Agent: rec.Agent, Incarnation: rec.Incarnation(), Reason: reason,
			Type: rec.Start.Type, Runner: f.o.Runner, Detail: detail(rec), Exit: &exit,
		})
	}
	switch outcome {
	case contracts.OutcomeRequested:
		e := stopped(contracts.StopRequested)
		if rec.Stop != nil {
			e = e.Causation(rec.Stop.CausationID).Correlation(rec.Stop.CorrelationID)
		}
		return outcome, e
	case contracts.OutcomeCompleted:
		return outcome, stopped(contracts.StopCompleted)
	case contracts.OutcomeLost:
		return outcome, failed(contracts.ReasonHostLost)
	}
	return outcome, failed(contracts.ReasonExited)
}

// endedID is the id of the event that reports the end.
func endedID(rec ledger.Record) string { return contracts.DerivedID("agent ended", rec.Token) }

// detail is the evidence in one sentence.
func detail(rec ledger.Record) string {
	who := fmt.Sprintf("process %d", rec.Process.PID)
	if rec.Process.PID == 0 {
		who = "the process"
	}
	switch {
	case rec.Exit.Blame == contracts.BlameHost:
		return rec.How + ", and " + who + " ended with it" + manner(*rec.Exit)
	case rec.Exit.OutOfMemory:
		return fmt.Sprintf("%s ran out of memory: it reached its limit of %d bytes and was ended by the kernel", who, memory(rec))
	case rec.Exit.Unknown:
		return who + " ended while its runner was away; how is not known"
	case rec.Exit.Core:
		return fmt.Sprintf("%s was ended by %s and left a core dump", who, rec.Exit.Signal)
	case rec.Exit.Signal != "":
		return fmt.Sprintf("%s was ended by %s", who, rec.Exit.Signal)
	}
	return fmt.Sprintf("%s exited with code %d", who, rec.Exit.Code)
}

// manner is how a process ended, where that is not the point; it follows "ended".
func manner(x contracts.Exit) string {
	switch {
	case x.Unknown:
		return ""
	case x.Signal != "":
		return ", by " + x.Signal
	}
	return fmt.Sprintf(", with exit code %d", x.Code)
}

func memory(rec ledger.Record) int64 {
	if rec.Start.Limits == nil {
		return 0
	}
	return rec.Start.Limits.Memory
}

func (f *Fleet) source() string { return contracts.ServiceRunner + "/" + f.o.Runner }

// tell adds an event to the outbox; a.mu is held, and the record is written and
// announced by the caller.
func (f *Fleet) tell(a *agent, b *contracts.EventBuilder) {
	event, err := b.Build()
	if err == nil {
		_, err = event.Encode()
	}
	if err != nil {
		f.o.Log.Error("event lost", "agent", a.name, "error", err)
		return
	}
	a.rec.Outbox = append(a.rec.Outbox, event)
}

// Pending gives the oldest event of an agent that is not acknowledged.
func (f *Fleet) Pending(name string) (contracts.Event, bool) {
	a := f.agent(name)
	if a == nil {
		return contracts.Event{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.rec.Outbox) == 0 {
		return contracts.Event{}, false
	}
	return a.rec.Outbox[0], true
}

// Acknowledge removes an event from an agent's outbox: it is stored. The disk
// learns of it with the next change or within a second (Tidy); if the runner
// dies before that, its successor publishes the event again, with the same id.
func (f *Fleet) Acknowledge(name, id string) {
	a := f.agent(name)
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.rec.Outbox) > 0 && a.rec.Outbox[0].ID == id {
		a.rec.Outbox = append([]contracts.Event(nil), a.rec.Outbox[1:]...)
		a.unsaved = true
	}
}
