package service

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// serveAPI opens smith.router.{submit,status,agents}.
func (r *router) serveAPI(down *shell.Teardown) error {
	api, err := shell.NewAPI(r.ctx, r.env, "Gives tasks to agents that can do them", nil)
	if err != nil {
		return err
	}
	down.Add("stop the API", 2*time.Second, func(ctx context.Context) error {
		if err := api.Stop(ctx); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		return nil
	})
	return errors.Join(
		shell.Handle(api, "submit", r.submit),
		shell.Handle(api, "status", r.status),
		shell.Handle(api, "agents", r.agents),
	)
}

// submit queues a task.
func (r *router) submit(ctx context.Context, t contracts.Task) (contracts.SubmitReply, error) {
	t = t.WithID()
	if err := t.Validate(); err != nil {
		return contracts.SubmitReply{}, shell.Errorf(contracts.CodeBadRequest, "%v", err)
	}
	body, err := json.Marshal(t)
	if err != nil {
		return contracts.SubmitReply{}, shell.Errorf(contracts.CodeBadRequest, "task %s: %v", t.ID, err)
	}
	if len(body) > contracts.MaxTaskBytes {
		return contracts.SubmitReply{}, shell.Errorf(contracts.CodeTooLarge, "task %s: %d bytes; at most %d", t.ID, len(body), contracts.MaxTaskBytes)
	}
	reply := contracts.SubmitReply{Task: t.ID}
	type standing struct{ known, served, full bool }
	st, err := ask(ctx, r, func() (st standing) {
		_, st.known = r.sched.Task(t.ID)
		if st.full = r.lines[t.Type] == nil && len(r.lines) >= r.cfg.MaxTypes; st.full {
			return st
		}
		st.served = r.sched.Able(t.Type, time.Now()) > 0
		return st
	})
	if err != nil {
		return reply, shell.Errorf(contracts.CodeNotReady, "the router is stopping; try again")
	}
	if st.full {
		return reply, shell.Errorf(contracts.CodeConflict, "task type %q: the router serves %d types already, as many as it may", t.Type, r.cfg.MaxTypes)
	}
	if !st.served {
		reply.Warning = nobody(t.Type)
	}
	if st.known {
		reply.Duplicate = true
		return reply, nil
	}
	ack, err := r.enqueue(ctx, t, body)
	if err != nil {
		return reply, shell.Errorf(contracts.CodeNotReady, "task %s not queued: %v; try again with the same id", t.ID, err)
	}
	reply.Duplicate = ack.Duplicate
	r.input(scheduler.TaskQueued{ID: t.ID, Type: t.Type, Sequence: ack.Sequence})
	r.metrics.submitted.WithLabelValues(t.Type).Inc()
	// The task is safe now. Saying so in the log again is harmless.
	ev, err := submittedEvent(r.env.Source(), t, ack.Sequence, time.Now())
	if err == nil {
		_, err = r.store(ev)
	}
	if err != nil {
		r.env.Log.Warn("submission not in the log", "task", t.ID, "error", err)
	}
	return reply, nil
}

// queueFull is how the server says that a stream has all the messages it may;
// the client has no name for it. It is an answer, and no failure of the queue.
const queueFull jetstream.ErrorCode = 10077

func (r *router) enqueue(ctx context.Context, t contracts.Task, body []byte) (*jetstream.PubAck, error) {
	msg := nats.NewMsg(contracts.TaskSubject(t.Type))
	msg.Data = body
	msg.Header.Set(sourceHeader, r.env.Source())
	msg.Header.Set(jetstream.MsgIDHeader, t.ID)
	return guard.Do(ctx, r.guards.queue, "submit", func(ctx context.Context) (*jetstream.PubAck, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		ack, err := r.env.JS.PublishMsg(ctx, msg)
		var refused *jetstream.APIError
		if errors.As(err, &refused) && (refused.Code < 500 || refused.ErrorCode == queueFull) {
			err = guard.Permanent(err)
		}
		return ack, err
	})
}

// status tells how a task stands.
func (r *router) status(ctx context.Context, req contracts.TaskRequest) (contracts.TaskView, error) {
	if err := contracts.ValidateID(req.Task); err != nil {
		return contracts.TaskView{}, shell.Errorf(contracts.CodeBadRequest, "task: %v", err)
	}
	type found struct {
		scheduler.TaskView
		ok bool
	}
	f, err := ask(ctx, r, func() (f found) {
		f.TaskView, f.ok = r.sched.Task(req.Task)
		return f
	})
	if err != nil {
		return contracts.TaskView{}, shell.Errorf(contracts.CodeNotReady, "the router is stopping; try again")
	}
	if !f.ok {
		return contracts.TaskView{}, shell.Errorf(contracts.CodeNotFound,
			"task %s is not known: never submitted, or finished long ago; its events have it as their correlation id", req.Task)
	}
	v := contracts.TaskView{
		Task: f.ID, Type: f.Type, Status: f.Status, Agent: f.Agent, Incarnation: f.Incarnation,
		Attempt: f.Attempt, Error: f.Reason, History: toAttempts(f.History),
	}
	if !f.Since.IsZero() {
		since := f.Since.UTC()
		v.Since = &since
	}
	if f.Status == string(scheduler.DeadLettered) {
		v.Status = "dead"
	}
	if f.Logged != 0 {
		r.addEnd(ctx, &v, f.Logged)
	}
	return v, nil
}

// addEnd adds what the log has on a task's end.
func (r *router) addEnd(ctx context.Context, v *contracts.TaskView, seq uint64) {
	raw, err := getMsg(ctx, r.guards.log, r.events, seq)
	if err != nil {
		return
	}
	ev, err := contracts.DecodeEvent(raw.Subject, raw.Data)
	if err != nil {
		return
	}
	at := ev.Time.UTC()
	v.Since = &at
	switch ev.Type {
	case contracts.TaskCompleted:
		if d, err := contracts.DecodeData[contracts.TaskResultData](ev); err == nil {
			v.Result, v.Incarnation = d.Result, d.Incarnation
		}
	case contracts.TaskDeadLettered:
		if d, err := contracts.DecodeData[contracts.TaskDeadData](ev); err == nil {
			v.History = d.Attempts
		}
	}
}

// agents tells who can take what: all types, and agents page by page, where
// the last agent's name is the next page's After.
func (r *router) agents(ctx context.Context, req contracts.AgentsRequest) (contracts.RouterView, error) {
	limit := req.Limit
	if limit <= 0 {
		limit = 500
	}
	limit = min(limit, 5000)
	pending, err := r.queueLengths(ctx)
	if err != nil {
		return contracts.RouterView{}, shell.Errorf(contracts.CodeNotReady, "%v", err)
	}
	v, err := ask(ctx, r, func() contracts.RouterView {
		counts := r.sched.Counts()
		v := contracts.RouterView{
			Agents: []contracts.RouterAgent{}, Types: []contracts.RouterType{},
			Submitted: counts.Submitted, Completed: counts.Completed, Failed: counts.Failed,
			Reassigned: counts.Reassigned, DeadLettered: counts.DeadLettered,
		}
		for _, a := range r.sched.Agents() {
			if a.ID <= req.After || req.Type != "" && a.Type != req.Type || len(v.Agents) == limit {
				continue
			}
			v.Agents = append(v.Agents, contracts.RouterAgent{
				Agent: a.ID, Type: a.Type, Capabilities: a.Capabilities, Incarnation: a.Incarnation,
				Available: a.Available, Reason: a.Reason, InFlight: a.InFlight, Capacity: a.Capacity,
			})
		}
		for _, ty := range r.sched.Types(time.Now()) {
			v.Types = append(v.Types, contracts.RouterType{
				Type: ty.Name, Queued: queued(pending[contracts.TaskSubject(ty.Name)], ty), Assigned: ty.Assigned, Able: ty.Able,
			})
		}
		return v
	})
	if err != nil {
		return v, shell.Errorf(contracts.CodeNotReady, "the router is stopping; try again")
	}
	if body, err := json.Marshal(v); err == nil && len(body) > contracts.MaxEventBytes {
		return contracts.RouterView{}, shell.Errorf(contracts.CodeTooLarge, "the answer has %d bytes, more than a message may; ask for fewer agents with limit", len(body))
	}
	return v, nil
}
