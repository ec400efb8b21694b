package service

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// message is a task's message in our hands: not acknowledged, and kept from
// being delivered again by signs of life.
type message struct {
	msg       jetstream.Msg
	task      contracts.Task
	submitted time.Time
	// settling: it is being taken off the queue and needs no signs of life.
	settling bool
}

// sourceHeader names the router that queued the task and reports that itself.
const sourceHeader = "Smith-Source"

// arrive takes in a message of the queue; on a line's goroutine.
func (r *router) arrive(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		r.env.Log.Error("a message without metadata came from the task queue", "subject", msg.Subject(), "error", err)
		return
	}
	seq := meta.Sequence.Stream
	t, err := contracts.DecodeTask(msg.Subject(), msg.Data())
	if err != nil {
		r.refuse(msg, seq, err)
		return
	}
	if t.ID == "" {
		t.ID = contracts.DerivedID("task", contracts.TaskStream, strconv.FormatUint(seq, 10), meta.Timestamp.UTC().String())
	}
	m := &message{msg: msg, task: t, submitted: meta.Timestamp}
	r.do(func() { r.take(seq, m) })
}

// take puts a message into the router's hands; on the loop.
func (r *router) take(seq uint64, m *message) {
	if old := r.held[seq]; old != nil {
		old.msg = m.msg // delivered again: only the newest delivery can be acknowledged
		return
	}
	r.held[seq] = m
	r.heldBytes += len(m.msg.Data())
	if _, known := r.sched.Task(m.task.ID); !known && m.msg.Headers().Get(sourceHeader) != r.env.Source() {
		r.jobs.Go(func() { r.announce(m.task, seq, m.submitted) })
	}
	r.step(scheduler.TaskArrived{Task: scheduler.Task{
		ID: m.task.ID, Type: m.task.Type, Sequence: seq, Submitted: m.submitted,
		MaxAttempts: m.task.MaxAttempts, Timeout: m.task.Timeout.D(),
	}})
}

// refuse sets a message aside that cannot be understood. It leaves the queue
// only when a copy is safe.
func (r *router) refuse(msg jetstream.Msg, seq uint64, cause error) {
	subject := contracts.DeadTaskSubject("invalid")
	if taskType, err := contracts.ParseTaskSubject(msg.Subject()); err == nil {
		subject = contracts.DeadTaskSubject(taskType)
	}
	r.env.Log.Warn("task refused", "subject", msg.Subject(), "sequence", seq, "error", cause)
	aside := r.rejects.Reject(r.ctx, shell.Message{
		Kind: "task", Subject: msg.Subject(), Sequence: seq, Body: msg.Data(), SetAsideOn: subject,
	}, cause)
	if aside == "" {
		return // it comes again
	}
	if err := r.acknowledge(msg); err != nil {
		r.env.Log.Warn("refused task not taken off the queue yet", "sequence", seq, "error", err)
	}
}

// settle takes a task's message off the queue after what must come first; on
// the loop. Without the message there is nothing to do until it comes again.
func (r *router) settle(id string, seq uint64, first func() bool) {
	m := r.held[seq]
	if m == nil || m.settling {
		return
	}
	m.settling = first == nil // what comes first may take longer than AckWait
	msg := m.msg
	r.jobs.Go(func() {
		if first != nil && !first() {
			return
		}
		err := r.acknowledge(msg)
		if err != nil {
			// It will be delivered again, and then be known as done.
			r.env.Log.Warn("finished task not taken off the queue yet", "task", id, "error", err)
		}
		r.do(func() {
			delete(r.held, seq)
			r.heldBytes -= len(m.msg.Data())
			if err == nil {
				r.step(scheduler.Settled{ID: id})
			}
		})
	})
}

func (r *router) acknowledge(msg jetstream.Msg) error {
	// A teardown does not cut it off: what is done should not come again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 4*time.Second)
	defer cancel()
	if err := r.settling.Acquire(ctx, 1); err != nil {
		return err
	}
	defer r.settling.Release(1)
	return r.guards.queue.Run(ctx, "ack", msg.DoubleAck)
}

// reassure tells the queue, well within AckWait, that we live and work on what
// we hold.
func (r *router) reassure() {
	r.every(r.cfg.AckWait/4, func() {
		held, err := ask(r.ctx, r, func() []jetstream.Msg {
			var ms []jetstream.Msg
			for _, m := range r.held {
				if !m.settling {
					ms = append(ms, m.msg)
				}
			}
			return ms
		})
		if err != nil {
			return
		}
		for _, m := range held {
			if err := m.InProgress(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
				r.env.Log.Debug("no sign of life sent", "error", err)
			}
		}
	})
}

// giveBack returns what we hold to the queue, for the next router; on the loop
// or after its end.
func (r *router) giveBack() {
	for _, m := range r.held {
		if err := m.msg.Nak(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
			r.env.Log.Debug("message not given back", "error", err)
		}
	}
	clear(r.held)
	r.heldBytes = 0
}
