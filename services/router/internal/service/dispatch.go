package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// Ids of events are derived from what they report: whoever reports it again,
// after a lost acknowledgement or a restart, says the same, and the log keeps
// one.

func submittedID(task string, seq uint64) string {
	return contracts.DerivedID("task.submitted", task, strconv.FormatUint(seq, 10))
}

func assignedID(task string, seq uint64, attempt int) string {
	return contracts.DerivedID("task.assigned", task, strconv.FormatUint(seq, 10), strconv.Itoa(attempt))
}

func deadID(task string, seq uint64) string {
	return contracts.DerivedID("task.dead_lettered", task, strconv.FormatUint(seq, 10))
}

// assign stores an assignment, which makes it so.
func (r *router) assign(e scheduler.Assign) {
	if r.appending.Acquire(r.ctx, 1) != nil {
		return
	}
	defer r.appending.Release(1)
	begin := time.Now()
	ev, err := r.assignedEvent(e.Attempt, begin)
	if err != nil {
		r.env.Log.Error("assignment cannot be written", "task", e.Task, "error", err)
		return
	}
	var ack *jetstream.PubAck
	stored := r.persist(func() bool {
		ack, err = r.store(ev)
		return err == nil
	})
	if !stored {
		return
	}
	if ack.Duplicate && !r.ours(ack.Sequence, e.Attempt) {
		return
	}
	r.metrics.assigned(e, time.Since(begin))
	r.input(scheduler.Appended{Task: e.Task, Number: e.Number, Logged: ack.Sequence})
}

func (r *router) assignedEvent(a scheduler.Attempt, now time.Time) (contracts.Event, error) {
	kind, cause := contracts.TaskAssigned, submittedID(a.Task, a.Sequence)
	if a.Number > 1 {
		kind = contracts.TaskReassigned
		if a.Cause != "" {
			cause = a.Cause
		}
	}
	return contracts.NewEvent(r.env.Source(), kind, a.Type, now).
		ID(assignedID(a.Task, a.Sequence, a.Number)).Correlation(a.Task).Causation(cause).
		Data(contracts.TaskAssignedData{
			Task: a.Task, Type: a.Type, Agent: a.Agent, Incarnation: a.Incarnation, Attempt: a.Number,
			Sequence: a.Sequence, PreviousAgent: a.PreviousAgent, Reason: string(a.Reason),
		}).Build()
}

// store appends an event to the log.
func (r *router) store(ev contracts.Event) (*jetstream.PubAck, error) {
	msg, err := shell.EventMessage(ev)
	if err != nil {
		return nil, err
	}
	ack, err := guard.Do(r.ctx, r.guards.log, "append", func(ctx context.Context) (*jetstream.PubAck, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return r.env.JS.PublishMsg(ctx, msg)
	})
	if err != nil && r.ctx.Err() == nil {
		r.env.Log.Warn("event not stored yet", "type", string(ev.Type), "event", ev.ID, "error", err)
	}
	return ack, err
}

// ours tells whether the assignment that the log already has is the one meant.
// If it is another router's, the scheduler takes that over.
func (r *router) ours(seq uint64, want scheduler.Attempt) bool {
	var stored scheduler.TaskAssigned
	found := r.persist(func() bool {
		raw, err := getMsg(r.ctx, r.guards.log, r.events, seq)
		if err != nil {
			return false
		}
		ev, err := contracts.DecodeEvent(raw.Subject, raw.Data)
		if err != nil {
			return true
		}
		d, err := contracts.DecodeData[contracts.TaskAssignedData](ev)
		if err == nil {
			stored = toAssigned(ev, d, seq)
		}
		return true
	})
	if !found {
		return false
	}
	if stored.Agent == want.Agent && stored.Incarnation == want.Incarnation {
		return true
	}
	r.env.Log.Warn("another router gave this attempt out; going on with that",
		"task", want.Task, "attempt", want.Number, "agent", stored.Agent, "instead_of", want.Agent)
	r.input(stored)
	return false
}

// What an agent's answer can be, beside yes.
var (
	errNoReply = errors.New("no reply")
	errReply   = errors.New("reply not understood")
	// errOvertaken: the attempt ended before it was sent.
	errOvertaken = errors.New("overtaken")
)

// dispatch asks an agent to do an attempt.
func (r *router) dispatch(e scheduler.Dispatch, payload json.RawMessage, decided time.Time) {
	if r.dispatching.Acquire(r.ctx, 1) != nil {
		return
	}
	defer r.dispatching.Release(1)
	begin := time.Now()
	d := contracts.TaskDispatch{
		Task: e.Task, Type: e.Type, Payload: payload, Attempt: e.Number, Agent: e.Agent, Incarnation: e.Incarnation,
		CausationID: assignedID(e.Task, e.Sequence, e.Number),
	}
	if e.Timeout > 0 {
		deadline := begin.Add(e.Timeout).UTC()
		d.Deadline = &deadline
	}
	var reply contracts.TaskReply
	var err error
	sent := r.persist(func() bool {
		if r.overtaken(e, decided) {
			err = errOvertaken
			return true
		}
		reply, err = r.request(d)
		// Not sent: the guard refused, or the connection is gone.
		return err == nil || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, errNoReply) || errors.Is(err, errReply)
	})
	if !sent || errors.Is(err, errOvertaken) {
		return
	}
	in, outcome := answer(e, reply, err)
	r.metrics.dispatched(outcome, time.Since(begin))
	if outcome != "accepted" {
		r.env.Log.Info("agent did not take the task", "agent", e.Agent, "incarnation", e.Incarnation,
			"task", e.Task, "attempt", e.Number, "outcome", outcome, "reason", reply.Reason)
	}
	r.input(in)
}

// overtaken tells whether an attempt that had to wait for its dispatch has
// been given up meanwhile, so that no agent must get it any more.
func (r *router) overtaken(e scheduler.Dispatch, decided time.Time) bool {
	if time.Since(decided) < 100*time.Millisecond {
		return false
	}
	current, err := ask(r.ctx, r, func() bool { return r.sched.Current(e.Task, e.Number) })
	return err == nil && !current
}

// request sends a dispatch through the guard. What one agent does or leaves
// undone is an answer, not a failure of the way to all of them: the scheduler
// leaves that agent alone for a while.
func (r *router) request(d contracts.TaskDispatch) (contracts.TaskReply, error) {
	var reply contracts.TaskReply
	body, err := json.Marshal(d)
	if err != nil {
		return reply, fmt.Errorf("%w: %w", errReply, err)
	}
	return guard.Do(r.ctx, r.guards.agents, "create_task", func(ctx context.Context) (contracts.TaskReply, error) {
		own, cancel := context.WithTimeout(ctx, r.cfg.DispatchTimeout)
		defer cancel()
		msg, err := r.env.NC.RequestWithContext(own, contracts.AgentTaskSubject(d.Agent), body)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return reply, guard.Permanent(err)
		case err != nil && errors.Is(own.Err(), context.DeadlineExceeded):
			return reply, guard.Permanent(errNoReply)
		case err != nil:
			return reply, err
		}
		if err := json.Unmarshal(msg.Data, &reply); err != nil || len(reply.Reason) > 256 {
			return contracts.TaskReply{Reason: "its reply is not {\"accepted\": …}"}, guard.Permanent(errReply)
		}
		return reply, nil
	})
}

func answer(e scheduler.Dispatch, reply contracts.TaskReply, err error) (in scheduler.Input, outcome string) {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return scheduler.Unreached{Task: e.Task, Number: e.Number, NoResponders: true}, "no_responders"
	case errors.Is(err, errNoReply):
		return scheduler.Unreached{Task: e.Task, Number: e.Number}, "no_reply"
	case reply.Accepted:
		return scheduler.Accepted{Task: e.Task, Number: e.Number}, "accepted"
	}
	return scheduler.Rejected{
		Task: e.Task, Number: e.Number, Reason: reply.Reason,
		UnknownType: reply.Reason == "unknown_type", Stale: reply.Reason == "stale_incarnation" || reply.Reason == "stopping",
	}, "refused"
}

// announce reports a task that came into the queue past the API.
func (r *router) announce(t contracts.Task, seq uint64, at time.Time) {
	if r.appending.Acquire(r.ctx, 1) != nil {
		return
	}
	defer r.appending.Release(1)
	ev, err := submittedEvent(r.env.Source(), t, seq, at)
	if err != nil {
		r.env.Log.Error("submission cannot be written", "task", t.ID, "error", err)
		return
	}
	r.persist(func() bool {
		_, err := r.store(ev)
		return err == nil
	})
}

func submittedEvent(source string, t contracts.Task, seq uint64, at time.Time) (contracts.Event, error) {
	return contracts.NewEvent(source, contracts.TaskSubmitted, t.Type, at).
		ID(submittedID(t.ID, seq)).Correlation(t.ID).Causation(t.CausationID).
		Data(contracts.TaskSubmittedData{Task: t.ID, Type: t.Type, Sequence: seq}).Build()
}

// bury sets a task aside with its history; it tells whether that is safe.
func (r *router) bury(e scheduler.DeadLetter, payload json.RawMessage) bool {
	data := contracts.TaskDeadData{Task: e.Task, Type: e.Type, Reason: e.Reason, Attempts: toAttempts(e.History), Payload: payload}
	id := deadID(e.Task, e.Sequence)
	body, err := json.Marshal(data)
	if err != nil {
		r.env.Log.Error("dead task cannot be written", "task", e.Task, "error", err)
		return false
	}
	data.Payload = nil // the log has no need of it
	ev, err := contracts.NewEvent(r.env.Source(), contracts.TaskDeadLettered, e.Type, time.Now()).
		ID(id).Correlation(e.Task).Causation(e.Cause).Data(data).Build()
	if err != nil {
		r.env.Log.Error("dead task cannot be reported", "task", e.Task, "error", err)
		return false
	}
	return r.persist(func() bool {
		_, err := guard.Do(r.ctx, r.guards.queue, "dead_letter", func(ctx context.Context) (*jetstream.PubAck, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return r.env.JS.Publish(ctx, contracts.DeadTaskSubject(e.Type), body, jetstream.WithMsgID(id))
		})
		if err != nil && r.ctx.Err() == nil {
			r.env.Log.Warn("task not set aside yet", "task", e.Task, "error", err)
		}
		return err == nil
	}) && r.persist(func() bool {
		_, err := r.store(ev)
		return err == nil
	})
}

func toAttempts(history []scheduler.Failure) []contracts.TaskAttempt {
	attempts := make([]contracts.TaskAttempt, 0, len(history))
	for _, f := range history {
		text := string(f.Reason)
		if f.Detail != "" {
			text += ": " + f.Detail
		}
		attempts = append(attempts, contracts.TaskAttempt{
			Attempt: f.Attempt, Agent: f.Agent, Incarnation: f.Incarnation, Error: text, Ended: f.Ended.UTC(),
		})
	}
	return attempts
}
