package service

import (
	"context"
	"time"

	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// loop runs whatever is put into the mailbox, one at a time.
func (r *router) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r.wakeLines()
		if at, ok := r.sched.NextWake(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Reset(time.Hour)
		}
		select {
		case <-r.dead:
			return
		case f := <-r.mailbox:
			f()
		case <-timer.C:
			r.step(scheduler.Tick{})
		}
	}
}

// endLoop stops the loop; nothing runs on it afterwards.
func (r *router) endLoop(context.Context) error {
	close(r.dead)
	return nil
}

// do runs f on the loop, some time; not to be called from the loop. It tells
// whether the loop will run it, as far as is known.
func (r *router) do(f func()) bool {
	select {
	case <-r.dead:
		return false
	case r.mailbox <- f:
		return true
	}
}

// input gives the scheduler an input, some time.
func (r *router) input(in scheduler.Input) { r.do(func() { r.step(in) }) }

// ask runs f on the loop and waits for what it gives.
func ask[T any](ctx context.Context, r *router, f func() T) (v T, err error) {
	answer := make(chan T, 1)
	r.do(func() { answer <- f() })
	select {
	case v = <-answer:
		return v, nil
	case <-r.dead:
		return v, context.Canceled
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// step gives the scheduler an input and performs the effects. While leading
// ends, effects are dropped: the successor will decide them again.
func (r *router) step(in scheduler.Input) {
	for _, e := range r.sched.Step(time.Now(), in) {
		if r.ctx.Err() == nil {
			r.perform(e)
		}
	}
}

// perform starts what an effect asks for; it never waits.
func (r *router) perform(e scheduler.Effect) {
	switch e := e.(type) {
	case scheduler.Assign:
		r.jobs.Go(func() { r.assign(e) })
	case scheduler.Dispatch:
		m := r.held[e.Sequence]
		if m == nil {
			r.env.Log.Error("a task is to be dispatched whose message is not held", "task", e.Task, "sequence", e.Sequence)
			return
		}
		body := m.task.Payload
		decided := time.Now()
		r.jobs.Go(func() { r.dispatch(e, body, decided) })
	case scheduler.Complete:
		r.metrics.completed(e)
		r.env.Log.Debug("task completed", "task", e.Task, "agent", e.Agent, "took", e.Took)
		r.settle(e.Task, e.Sequence, nil)
	case scheduler.DeadLetter:
		r.metrics.deadLettered.WithLabelValues(e.Type).Inc()
		r.env.Log.Warn("task set aside", "task", e.Task, "type", e.Type, "reason", e.Reason, "attempts", len(e.History))
		if m := r.held[e.Sequence]; m != nil {
			r.settle(e.Task, e.Sequence, func() bool { return r.bury(e, m.task.Payload) })
		}
	case scheduler.Discard:
		r.metrics.dropped.WithLabelValues("duplicate").Inc()
		r.settle(e.Task, e.Sequence, nil)
	case scheduler.Stale:
		r.metrics.dropped.WithLabelValues(e.What).Inc()
		r.env.Log.Debug("dropped", "what", e.What, "task", e.Task, "agent", e.Agent)
	}
}

// every calls f now and then until leading ends.
func (r *router) every(d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// persist repeats f, which tells whether it succeeded, until it does or
// leading ends.
func (r *router) persist(f func() bool) bool {
	wait := 50 * time.Millisecond
	for !f() {
		select {
		case <-r.ctx.Done():
			return false
		case <-time.After(wait):
		}
		wait = min(2*wait, 2*time.Second)
	}
	return true
}
