package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Why an agent rejects a task: contracts.TaskReply.Reason.
const (
	rejectFull     = "full"
	rejectStopping = "stopping"
	rejectStale    = "stale_incarnation"
	rejectUnknown  = "unknown_type"
	rejectInvalid  = "invalid"
)

// maxUnreported bounds the results that wait for the log beyond the agent's
// capacity.
const maxUnreported = 256

// Task is one attempt at a piece of work.
type Task struct {
	// ID is the task's id, Type the last token of the subject it came in on.
	ID, Type string
	// Attempt counts from 1.
	Attempt int
	// Payload is what the sender gave, JSON or empty.
	Payload json.RawMessage

	agent    *Agent
	dispatch contracts.TaskDispatch
	begun    time.Time
	piece    piece
}

// Decode reads the payload into v. Its error is Permanent: the same payload
// will not become readable.
func (t *Task) Decode(v any) error {
	if err := json.Unmarshal(t.Payload, v); err != nil {
		return Permanent(fmt.Errorf("payload of task %s: %w", t.ID, err))
	}
	return nil
}

// Agent is who works on the task.
func (t *Task) Agent() *Agent { return t.agent }

// Progress says that some of the work got done; it feeds the watchdog of this task.
// The end of a task counts by itself.
func (t *Task) Progress() { t.agent.moved(&t.piece) }

// BusyUntil announces that this task will show no progress before then, so that
// neither the watchdog nor the detector takes it for hung. It is over when the task
// ends, and taken back by the zero time. A handler that calls something that takes
// long and cannot be looked into says so before:
//
//	if deadline, ok := ctx.Deadline(); ok {
//		t.BusyUntil(deadline)
//	}
func (t *Task) BusyUntil(then time.Time) { t.agent.busyUntil(&t.piece, then) }

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks an error of a handler as one that trying the task again
// will not cure. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// onTask accepts or rejects an attempt, and begins it.
func (a *Agent) onTask(msg *nats.Msg) {
	var d contracts.TaskDispatch
	if err := decodeDispatch(a.o.Agent, msg.Data, &d); err != nil {
		a.log.Warn("task rejected", "error", err)
		reply(msg, a.log, contracts.TaskReply{Reason: rejectInvalid})
		return
	}
	t, reason := a.admit(d)
	reply(msg, a.log, contracts.TaskReply{Accepted: reason == "", Reason: reason})
	if t != nil {
		go a.perform(t)
	}
}

func decodeDispatch(agent string, body []byte, d *contracts.TaskDispatch) error {
	if len(body) > contracts.MaxTaskBytes+contracts.MaxHeartbeatBytes {
		return fmt.Errorf("dispatch of %d bytes; a task has at most %d", len(body), contracts.MaxTaskBytes)
	}
	if err := json.Unmarshal(body, d); err != nil {
		return fmt.Errorf("dispatch is not JSON: %w", err)
	}
	if d.Task == "" {
		return errors.New("dispatch: task: missing")
	}
	if err := (contracts.Task{ID: d.Task, Type: d.Type, CausationID: d.CausationID}).Validate(); err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	if d.Agent != "" && d.Agent != agent {
		return fmt.Errorf("dispatch of task %s: is for agent %.64q", d.Task, d.Agent)
	}
	if d.Attempt < 1 {
		return fmt.Errorf("dispatch of task %s: attempt: %d; counts from 1", d.Task, d.Attempt)
	}
	return nil
}

// admit gives the task to perform, or why it is rejected; neither when this
// attempt is already known here.
func (a *Agent) admit(d contracts.TaskDispatch) (t *Task, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case d.Incarnation != a.o.Incarnation:
		return nil, rejectStale
	case a.attempts.has(d.Task, d.Attempt):
		return nil, ""
	case a.status != contracts.StatusRunning:
		return nil, rejectStopping
	case a.o.Handle == nil:
		return nil, rejectUnknown
	case a.inFlight >= a.o.Capacity || a.unreported.Load() >= int64(a.o.Capacity+maxUnreported):
		return nil, rejectFull
	}
	a.attempts.add(d.Task, d.Attempt)
	a.inFlight++
	a.beginLocked()
	a.unreported.Add(1)
	return &Task{
		ID: d.Task, Type: d.Type, Attempt: d.Attempt, Payload: d.Payload,
		agent: a, dispatch: d, begun: time.Now(), piece: piece{name: "task " + d.Task},
	}, ""
}

// perform runs the handler and reports. The place is free before the report,
// so that the router, which hears of the result first, can fill it at once.
func (a *Agent) perform(t *Task) {
	defer a.running.Done()
	ctx, cancel := context.WithCancel(a.tasks)
	if t.dispatch.Deadline != nil {
		ctx, cancel = context.WithDeadline(a.tasks, *t.dispatch.Deadline)
	}
	defer cancel()
	var value any
	a.do(ctx, &t.piece,
		func(ctx context.Context) (err error) { value, err = a.o.Handle(ctx, t); return err },
		func(err error) {
			result := a.result(t, value, err)
			a.mu.Lock()
			a.inFlight--
			a.mu.Unlock()
			a.progress.Add(1)
			a.handlers.Add(-1)
			a.report(t, result)
		})
}

// result says how an attempt ended.
func (a *Agent) result(t *Task, value any, err error) contracts.TaskResultData {
	r := contracts.TaskResultData{
		Task: t.ID, Type: t.Type, Agent: a.o.Agent, Incarnation: a.o.Incarnation, Attempt: t.Attempt,
		Took: contracts.Duration(time.Since(t.begun)),
	}
	if err == nil {
		r.Result, err = encodeResult(value)
	}
	if err == nil {
		return r
	}
	var panicked *PanicError
	if errors.As(err, &panicked) {
		a.log.Error("a handler panicked", "task", t.ID, "value", fmt.Sprint(panicked.Value), "stack", panicked.Stack)
	}
	var permanent permanentError
	r.Retry = !errors.As(err, &permanent)
	r.Error = orDefault(contracts.Clip(err.Error(), contracts.MaxOutputTail), "failed without saying why")
	return r
}

func encodeResult(value any) (json.RawMessage, error) {
	if value == nil {
		return nil, nil
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, Permanent(fmt.Errorf("result of type %T is not JSON: %w", value, err))
	}
	if len(raw) > contracts.MaxResultBytes {
		return nil, Permanent(fmt.Errorf("result has %d bytes; at most %d: store it elsewhere and return where", len(raw), contracts.MaxResultBytes))
	}
	return raw, nil
}

// report publishes the result until the log has it. The id is derived from
// what it reports, so a second copy can be told.
func (a *Agent) report(t *Task, r contracts.TaskResultData) {
	kind := contracts.TaskCompleted
	if r.Error != "" {
		kind = contracts.TaskFailed
	}
	e, err := a.Event(kind, t.Type).
		ID(contracts.DerivedID("task.result", t.ID, strconv.Itoa(t.Attempt), a.o.Agent, strconv.FormatUint(a.o.Incarnation, 10))).
		Correlation(t.ID).Causation(t.dispatch.CausationID).Data(r).Build()
	if err == nil {
		err = a.Publish(a.reports, e)
	}
	if err != nil {
		a.log.Error("result of a task not reported; the router will give it to another agent", "task", t.ID, "attempt", t.Attempt, "error", err)
		return
	}
	a.unreported.Add(-1)
}
