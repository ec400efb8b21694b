package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// createQueue makes the task stream, which the router owns; it waits while
// JetStream has no leader yet.
func (p *premises) createQueue(ctx context.Context) (jetstream.Stream, error) {
	cfg := contracts.TaskStreamConfig(p.cfg.Streams)
	wait := 100 * time.Millisecond
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := p.env.JS.CreateOrUpdateStream(try, cfg)
		cancel()
		var refused *jetstream.APIError
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil, errors.As(err, &refused) && refused.Code < 500:
			return nil, fmt.Errorf("create stream %s: %w", cfg.Name, err)
		}
		p.env.Log.Warn("the task stream cannot be made yet; trying again", "stream", cfg.Name, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// line is the queue of one task type.
type line struct {
	taskType string
	// idle: the line waits for wake, which the loop gives when there is room.
	idle bool
	wake chan int
	// nextMissing is when to ask again for messages of adopted tasks.
	nextMissing time.Time
}

// discover serves a task type from now on; on the loop.
func (r *router) discover(taskType string) {
	if r.lines[taskType] != nil {
		return
	}
	if len(r.lines) >= r.cfg.MaxTypes {
		r.metrics.dropped.WithLabelValues("type_over_limit").Inc()
		return
	}
	l := &line{taskType: taskType, wake: make(chan int, 1)}
	r.lines[taskType] = l
	r.sched.Room(taskType, time.Now()) // makes the type known
	r.jobs.Go(func() { r.work(l) })
}

// wakeLines gives the lines that wait what there is room for; on the loop.
func (r *router) wakeLines() {
	now := time.Now()
	for _, l := range r.lines {
		if !l.idle {
			continue
		}
		if n := r.want(l, now); n > 0 {
			l.idle = false
			l.wake <- n
		}
	}
}

// want is how many messages a line should fetch. Those of tasks that go on
// since before this router led come first once they are due again; until then
// new ones come in their place, so they are asked for only now and then.
func (r *router) want(l *line, now time.Time) int {
	if r.heldBytes >= r.cfg.MaxHeldBytes {
		return 0
	}
	n := r.sched.Room(l.taskType, now)
	if missing := r.sched.Missing(l.taskType); missing > 0 && !now.Before(l.nextMissing) {
		n += missing
		l.nextMissing = now.Add(2 * time.Second)
	}
	return min(n, r.cfg.MaxOpenTasks-len(r.held), 256)
}

// work takes a type's messages off the queue as long as there is room.
func (r *router) work(l *line) {
	consumer, ok := r.openLine(l)
	for ok {
		if !r.do(func() { l.idle = true }) {
			return
		}
		select {
		case <-r.ctx.Done():
			return
		case n := <-l.wake:
			if err := r.fetch(consumer, n, 30*time.Second); err != nil && r.ctx.Err() == nil {
				r.env.Log.Warn("tasks not fetched; trying again", "type", l.taskType, "error", err)
				consumer, ok = r.openLine(l)
			}
		}
	}
}

// openLine makes the durable consumer of a type, for as long as that takes.
func (r *router) openLine(l *line) (c jetstream.Consumer, ok bool) {
	ok = r.persist(func() bool {
		var err error
		c, err = guard.Do(r.ctx, r.guards.queue, "consumer", func(ctx context.Context) (jetstream.Consumer, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return r.tasks.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
				Durable:       consumerName(l.taskType),
				Description:   "MisterSmith router: tasks of type " + l.taskType,
				FilterSubject: contracts.TaskSubject(l.taskType),
				AckPolicy:     jetstream.AckExplicitPolicy,
				AckWait:       r.cfg.AckWait,
				MaxDeliver:    -1,
				MaxAckPending: -1,
			})
		})
		if err != nil && r.ctx.Err() == nil {
			r.env.Log.Warn("no consumer of tasks yet; trying again", "type", l.taskType, "error", err)
		}
		return err == nil
	})
	return c, ok
}

func consumerName(taskType string) string { return "router-" + taskType }

// fetch takes up to n messages, waiting for the last of them at most so long.
func (r *router) fetch(c jetstream.Consumer, n int, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(r.ctx, wait)
	defer cancel()
	batch, err := c.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(wait/6))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		r.arrive(msg)
	}
	err = batch.Error()
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// listen hears heartbeats, and of new task types as they come.
func (r *router) listen(down *shell.Teardown) error {
	beats, err := r.env.NC.Subscribe(contracts.HeartbeatWildcard, r.beat)
	if err != nil {
		return fmt.Errorf("subscribe to heartbeats: %w", err)
	}
	down.Add("stop hearing heartbeats", time.Second, func(context.Context) error { return quiet(beats) })
	if err := beats.SetPendingLimits(1<<18, 64<<20); err != nil {
		return fmt.Errorf("heartbeat limits: %w", err)
	}
	tasks, err := r.env.NC.Subscribe(contracts.TaskWildcard, r.heard)
	if err != nil {
		return fmt.Errorf("subscribe to tasks: %w", err)
	}
	down.Add("stop hearing tasks", time.Second, func(context.Context) error { return quiet(tasks) })
	return nil
}

// quiet ends a subscription; a connection that is gone has none.
func quiet(sub *nats.Subscription) error {
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
		return err
	}
	return nil
}

// heard learns of a task's type from its passing by. What the queue cannot
// take never becomes a task, so it is reported here.
func (r *router) heard(msg *nats.Msg) {
	if limit := contracts.TaskStreamConfig(r.cfg.Streams).MaxMsgSize; len(msg.Data) > int(limit) {
		if msg.Reply == "" { // a JetStream publisher is told by the server
			r.rejects.Reject(r.ctx, shell.Message{Kind: "task", Subject: msg.Subject, Body: msg.Data},
				fmt.Errorf("%d bytes; at most %d", len(msg.Data), contracts.MaxTaskBytes))
		}
		return
	}
	taskType, err := contracts.ParseTaskSubject(msg.Subject)
	if err != nil {
		r.jobs.Go(func() { r.clear(msg.Subject) })
		return
	}
	r.do(func() { r.discover(taskType) })
}

// clear sets everything aside that waits on a subject no consumer can serve.
func (r *router) clear(subject string) {
	_, cause := contracts.ParseTaskSubject(subject)
	for r.ctx.Err() == nil {
		raw, err := getMsg(r.ctx, r.guards.queue, r.tasks, 0, jetstream.WithGetMsgSubject(subject))
		if err != nil {
			return // none left; or the next sweep tries again
		}
		aside := r.rejects.Reject(r.ctx, shell.Message{
			Kind: "task", Subject: subject, Sequence: raw.Sequence, Body: raw.Data,
			SetAsideOn: contracts.DeadTaskSubject("invalid"),
		}, cause)
		if aside == "" {
			return
		}
		if err := r.tasks.DeleteMsg(r.ctx, raw.Sequence); err != nil {
			r.env.Log.Warn("refused task not taken off the queue yet", "sequence", raw.Sequence, "error", err)
			return
		}
	}
}
