package service

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// subjects are what the router reads of the log: all in one order.
func subjects() []string {
	var s []string
	for _, t := range []contracts.EventType{
		contracts.AgentCreated, contracts.AgentStarted, contracts.AgentStopped, contracts.AgentFailed,
		contracts.AgentRecovered, contracts.AgentStateChanged,
	} {
		s = append(s, contracts.EventTypeWildcard(t))
	}
	return append(s, contracts.EventPrefix+contracts.FamilyTask+".>")
}

// follow folds the log from the cursor on, and returns once it has caught up
// with what was there.
func (r *router) follow(down *shell.Teardown) error {
	var consumer jetstream.Consumer
	opened := r.persist(func() bool {
		ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
		defer cancel()
		c, err := r.openLog(ctx)
		if err != nil && r.ctx.Err() == nil {
			r.env.Log.Warn("the event log cannot be read yet; trying again", "error", err)
		}
		consumer = c
		return err == nil
	})
	if !opened {
		return context.Cause(r.ctx)
	}
	caughtUp := make(chan struct{})
	var behind uint64
	if info := consumer.CachedInfo(); info != nil {
		behind = info.NumPending
	}
	if behind == 0 {
		close(caughtUp)
	}
	reading, err := consumer.Consume(func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		if err != nil {
			r.env.Log.Error("an event without metadata came from the log", "subject", msg.Subject(), "error", err)
			return
		}
		r.read(msg, meta.Sequence.Stream, meta.Timestamp)
		if behind > 0 {
			if behind--; behind == 0 || meta.NumPending == 0 {
				behind = 0
				r.do(func() { close(caughtUp) })
			}
		}
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		r.env.Log.Debug("reading the event log", "error", err)
	}))
	if err != nil {
		return fmt.Errorf("read the event log: %w", err)
	}
	down.Add("stop reading the log", 2*time.Second, func(ctx context.Context) error {
		// It waits while a lost consumer is being replaced, which takes up to
		// 10 s and heeds no context.
		go reading.Stop()
		select {
		case <-reading.Closed():
		case <-ctx.Done():
		}
		return nil
	})
	select {
	case <-caughtUp:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

func (r *router) openLog(ctx context.Context) (jetstream.Consumer, error) {
	info, err := r.events.Info(ctx)
	if err != nil {
		return nil, err
	}
	cursor, err := ask(ctx, r, func() uint64 {
		if r.cursor > info.State.LastSeq {
			r.env.Log.Warn("the event log ends before the router's cursor: events were lost, or the log is new",
				"cursor", r.cursor, "last", info.State.LastSeq)
			r.cursor = info.State.LastSeq
		}
		return r.cursor
	})
	if err != nil {
		return nil, err
	}
	return r.env.JS.OrderedConsumer(ctx, contracts.EventStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects(), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: cursor + 1,
	})
}

// read takes in one message of the log.
func (r *router) read(msg jetstream.Msg, seq uint64, at time.Time) {
	ev, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
	var in scheduler.Input
	if err == nil {
		in, err = toInput(ev, seq, at)
	}
	if err != nil {
		// The event store, whose log it is, reports it and sets it aside.
		r.metrics.dropped.WithLabelValues("malformed_event").Inc()
		r.env.Log.Warn("event not understood", "subject", msg.Subject(), "sequence", seq, "error", err)
	}
	r.do(func() {
		if in != nil {
			r.step(in)
		}
		r.cursor = max(r.cursor, seq)
	})
}

// toInput tells the scheduler what an event means; nil means nothing to it.
func toInput(ev contracts.Event, seq uint64, at time.Time) (scheduler.Input, error) {
	switch ev.Type {
	case contracts.AgentCreated:
		d, err := contracts.DecodeData[contracts.AgentCreatedData](ev)
		return scheduler.AgentUp{
			Agent: ev.Entity, Incarnation: d.Incarnation, Type: d.Type, Capabilities: d.Capabilities,
			Capacity: d.Capacity, Cause: ev.ID,
		}, err
	case contracts.AgentStarted:
		d, err := contracts.DecodeData[contracts.AgentStartedData](ev)
		return scheduler.AgentUp{
			Agent: ev.Entity, Incarnation: d.Incarnation, Type: d.Type, Capabilities: d.Capabilities,
			Capacity: d.Capacity, Cause: ev.ID,
		}, err
	case contracts.AgentStopped:
		d, err := contracts.DecodeData[contracts.AgentStoppedData](ev)
		return scheduler.AgentDown{
			Agent: ev.Entity, Incarnation: d.Incarnation, Stopped: true, Exited: true, Detail: string(d.Reason), Cause: ev.ID,
		}, err
	case contracts.AgentFailed:
		d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
		return scheduler.AgentDown{
			Agent: ev.Entity, Incarnation: d.Incarnation, Exited: ended(d), Detail: string(d.Reason), Cause: ev.ID,
		}, err
	case contracts.AgentRecovered:
		d, err := contracts.DecodeData[contracts.AgentRecoveredData](ev)
		return scheduler.AgentRecovered{Agent: ev.Entity, Incarnation: d.Incarnation}, err
	case contracts.AgentStateChanged:
		d, err := contracts.DecodeData[contracts.AgentStateChangedData](ev)
		return scheduler.HealthChanged{Agent: ev.Entity, Incarnation: d.Incarnation, Health: d.To}, err
	}
	return taskInput(ev, seq, at)
}

func taskInput(ev contracts.Event, seq uint64, at time.Time) (scheduler.Input, error) {
	switch ev.Type {
	case contracts.TaskSubmitted:
		d, err := contracts.DecodeData[contracts.TaskSubmittedData](ev)
		return scheduler.TaskQueued{ID: d.Task, Type: ev.Entity, Sequence: d.Sequence, Logged: true}, err
	case contracts.TaskAssigned, contracts.TaskReassigned:
		d, err := contracts.DecodeData[contracts.TaskAssignedData](ev)
		return toAssigned(ev, d, seq), err
	case contracts.TaskCompleted, contracts.TaskFailed:
		d, err := contracts.DecodeData[contracts.TaskResultData](ev)
		return scheduler.TaskResult{
			Task: d.Task, Agent: d.Agent, Incarnation: d.Incarnation, Number: d.Attempt,
			Failed: ev.Type == contracts.TaskFailed, Retry: d.Retry, Error: contracts.Clip(d.Error, 512),
			Logged: seq, At: at, Cause: ev.ID,
		}, err
	case contracts.TaskDeadLettered:
		d, err := contracts.DecodeData[contracts.TaskDeadData](ev)
		return scheduler.TaskDeadLettered{ID: d.Task, Type: ev.Entity, Reason: contracts.Clip(d.Reason, 512), Logged: seq}, err
	}
	return nil, nil
}

func toAssigned(ev contracts.Event, d contracts.TaskAssignedData, seq uint64) scheduler.TaskAssigned {
	return scheduler.TaskAssigned{
		Attempt: scheduler.Attempt{
			Task: d.Task, Type: ev.Entity, Sequence: d.Sequence, Agent: d.Agent, Incarnation: d.Incarnation,
			Number: d.Attempt, PreviousAgent: d.PreviousAgent, Reason: scheduler.Reason(d.Reason),
		},
		Logged: seq, At: ev.Time,
	}
}

// ended reports whether a failure means that the process is gone for certain.
func ended(d contracts.AgentFailedData) bool {
	switch d.Reason {
	case contracts.ReasonExited, contracts.ReasonPanicked, contracts.ReasonStartFailed:
		return true
	case contracts.ReasonHostLost:
		// The supervisor concludes it from silence; a runner that is back knows.
		return d.Exit != nil
	}
	return false
}

// beat takes in a heartbeat.
func (r *router) beat(msg *nats.Msg) {
	agent, err := contracts.ParseHeartbeatSubject(msg.Subject)
	var h contracts.Heartbeat
	if err == nil {
		h, err = contracts.DecodeHeartbeat(msg.Data)
	}
	if err != nil {
		// The detector, whose matter heartbeats are, reports it.
		r.metrics.dropped.WithLabelValues("malformed_heartbeat").Inc()
		return
	}
	r.input(scheduler.Beat{
		Agent: agent, Incarnation: h.Incarnation, Seq: h.Seq, Type: h.Type, Capabilities: h.Capabilities,
		Capacity: h.Capacity, Status: h.Status,
	})
}
