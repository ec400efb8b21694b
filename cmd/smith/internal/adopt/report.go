package adopt

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// work is the agent's work: the command. It reports its start and its end, and ends
// it when the agent is asked to stop.
func (a *adoption) work(ctx context.Context, self *agent.Agent) error {
	close(a.up)
	over := make(chan struct{})
	defer close(over)
	go a.vouch(self, over)
	select {
	case <-a.begun:
	case <-ctx.Done():
		return nil // it was not started
	}
	events, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	started := make(chan struct{})
	go func() {
		defer close(started)
		a.publish(events, self, a.startedEvent(self))
	}()
	ordered := false
	select {
	case <-a.command.Done():
	case <-ctx.Done():
		ordered = !a.command.Ended()
		a.command.Stop(events, self.StopWithin())
		<-a.command.Done()
	}
	late := time.AfterFunc(reportWithin, cancel)
	defer late.Stop()
	<-started
	a.publish(events, self, a.endedEvent(self, ordered))
	return nil
}

// vouch feeds the agent's watchdog as long as the command can act: the heartbeats of
// one that is stopped cease, as they do where a runner beats.
func (a *adoption) vouch(self *agent.Agent, over <-chan struct{}) {
	tick := time.NewTicker(a.Interval / 4)
	defer tick.Stop()
	for {
		if !a.running() || a.command.Active() {
			self.Progress()
		}
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}

// publish has an event stored, unless ctx ends before or NATS refuses it.
func (a *adoption) publish(ctx context.Context, self *agent.Agent, b *contracts.EventBuilder) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.refused:
			cancel()
		case <-ctx.Done():
		}
	}()
	e, err := b.Build()
	if err == nil {
		err = self.Publish(ctx, e)
	}
	if err != nil {
		a.unstored(err)
	}
}

// unstored says once that events are not stored.
func (a *adoption) unstored(err error) {
	a.unheard.Do(func() {
		close(a.refused)
		a.Say(fmt.Sprintf("the event log does not have all of the start and end of agent %s: %v", a.Name, err))
	})
}

func (a *adoption) startedEvent(self *agent.Agent) *contracts.EventBuilder {
	return a.event(self, contracts.AgentStarted, "agent.started").Data(contracts.AgentStartedData{
		Agent: a.Name, PID: a.command.PID(), Type: a.Type,
		Interval: contracts.Duration(a.Interval), ShutdownTimeout: contracts.Duration(a.StopWithin),
	})
}

// endedEvent reports how the command ended: as ordered, by itself and well, or not.
func (a *adoption) endedEvent(self *agent.Agent, ordered bool) *contracts.EventBuilder {
	exit := a.command.Exit()
	if err := a.command.Unwell(); err != nil {
		exit.Health = contracts.Clip(err.Error(), 256)
	}
	if ordered {
		exit.Blame = contracts.BlameOrder
	}
	stopped := contracts.AgentStoppedData{Agent: a.Name, Reason: contracts.StopCompleted, Exit: &exit}
	switch exit.Outcome() {
	case contracts.OutcomeRequested:
		stopped.Reason = contracts.StopRequested
	case contracts.OutcomeFailed:
		return a.event(self, contracts.AgentFailed, "agent.ended").Data(contracts.AgentFailedData{
			Agent: a.Name, Type: a.Type, Reason: contracts.ReasonExited, Exit: &exit, Detail: fmt.Sprintf("process %d: %s", a.command.PID(), describe.Exit(exit)),
		})
	}
	return a.event(self, contracts.AgentStopped, "agent.ended").Data(stopped)
}

// event begins an event whose id is the same however often it is published.
func (a *adoption) event(self *agent.Agent, t contracts.EventType, stage string) *contracts.EventBuilder {
	return self.Event(t, a.Name).ID(contracts.DerivedID(stage, a.Name, a.command.Mark()))
}

// status asks the detector for an agent.
func status(nc *nats.Conn, name string) (view contracts.AgentView, err error) {
	body, err := json.Marshal(contracts.AgentRequest{Agent: name})
	if err != nil {
		return view, err
	}
	const brief = 500 * time.Millisecond
	msg, err := nc.Request(contracts.ServiceSubject(contracts.ServiceDetector, "status"), body, brief)
	if err != nil {
		return view, err
	}
	return view, json.Unmarshal(msg.Data, &view)
}
