package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// unservedAfter is how long a type's tasks must wait with nobody alive to do
// them before that is said.
const unservedAfter = 5 * time.Second

// sweep looks after what no message tells: types that came while nobody
// listened, tasks that nobody can do, ages, and messages that are gone.
func (r *router) sweep() {
	r.look()
	r.every(r.cfg.SweepEvery, r.look)
}

func (r *router) look() {
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	subjects, err := r.queueLengths(ctx)
	if err != nil {
		if r.ctx.Err() == nil {
			r.env.Log.Warn("the task queue cannot be looked at; trying again", "error", err)
		}
		return
	}
	pending := map[string]uint64{}
	for subject, n := range subjects {
		taskType, err := contracts.ParseTaskSubject(subject)
		if err != nil {
			r.clear(subject)
			continue
		}
		pending[taskType] = n
	}
	type found struct {
		stuck  []*line
		unheld []scheduler.Task
	}
	f, err := ask(ctx, r, func() (f found) {
		f.stuck, f.unheld = r.review(pending), r.sched.Unheld()
		return f
	})
	if err != nil {
		return
	}
	for _, l := range f.stuck {
		r.expire(ctx, l)
	}
	for _, t := range f.unheld {
		r.missing(ctx, t)
	}
}

// queueLengths counts the messages of each subject in the queue.
func (r *router) queueLengths(ctx context.Context) (map[string]uint64, error) {
	info, err := r.tasks.Info(ctx, jetstream.WithSubjectFilter(contracts.TaskWildcard))
	if err != nil {
		return nil, fmt.Errorf("info of %s: %w", contracts.TaskStream, err)
	}
	return info.State.Subjects, nil
}

// review compares the queue with who there is, and gives the lines that wait
// for somebody; on the loop.
func (r *router) review(pending map[string]uint64) (stuck []*line) {
	now := time.Now()
	for taskType := range pending {
		r.discover(taskType)
	}
	able := map[string]int{}
	for _, ty := range r.sched.Types(now) {
		able[ty.Name] = ty.Able
		queued := queued(pending[ty.Name], ty)
		r.metrics.queued.WithLabelValues(ty.Name).Set(float64(queued))
		r.metrics.assignedNow.WithLabelValues(ty.Name).Set(float64(ty.Assigned))
		if l := r.lines[ty.Name]; l != nil && ty.Room == 0 && queued > 0 {
			stuck = append(stuck, l)
		}
		r.unservedType(ty, queued, now)
	}
	available := 0
	agents := r.sched.Agents()
	for _, a := range agents {
		if a.Available {
			available++
		}
	}
	r.metrics.agents.WithLabelValues("known").Set(float64(len(agents)))
	r.metrics.agents.WithLabelValues("available").Set(float64(available))
	return stuck
}

// queued is how many of a type's tasks nobody works on.
func queued(pending uint64, ty scheduler.TypeView) uint64 {
	return pending - min(pending, uint64(ty.Assigned))
}

// unservedType says once when a type's tasks wait and nobody can do them.
func (r *router) unservedType(ty scheduler.TypeView, queued uint64, now time.Time) {
	since, known := r.unserved[ty.Name]
	switch {
	case ty.Able > 0 || queued == 0:
		delete(r.unserved, ty.Name)
	case !known:
		r.unserved[ty.Name] = now
	case !since.IsZero() && now.Sub(since) >= unservedAfter:
		r.unserved[ty.Name] = time.Time{} // said
		text := nobody(ty.Name)
		r.env.Log.Warn("tasks wait and no agent can do them", "type", ty.Name, "queued", queued)
		r.jobs.Go(func() {
			r.env.Emit(r.ctx, r.env.Event(contracts.SystemPoolExhausted, r.env.Service).Data(contracts.SystemPoolData{
				Service: r.env.Service, Pool: "agents/" + ty.Name, Limit: 0, Detail: fmt.Sprintf("%d tasks wait: %s", queued, text),
			}))
		})
	}
}

func nobody(taskType string) string {
	return fmt.Sprintf("no agent that is alive can do tasks of type %q; they wait until one with the type or capability for it beats", taskType)
}

// expire takes those tasks off a line that have waited too long, though there
// is no room for them; the scheduler sets them aside.
func (r *router) expire(ctx context.Context, l *line) {
	age := r.cfg.Scheduling.MaxQueueAge
	if age == 0 {
		return
	}
	consumer, err := r.tasks.Consumer(ctx, consumerName(l.taskType))
	for err == nil && ctx.Err() == nil {
		info, err := consumer.Info(ctx)
		if err != nil {
			return
		}
		next, err := getMsg(ctx, r.guards.queue, r.tasks, info.Delivered.Stream+1, jetstream.WithGetMsgSubject(contracts.TaskSubject(l.taskType)))
		if err != nil || time.Since(next.Time) < age {
			return
		}
		if err := r.fetch(consumer, 1, time.Second); err != nil {
			return
		}
	}
}

// missing forgets an open task whose message is no longer in the queue: it was
// finished by a router that could not say so any more.
func (r *router) missing(ctx context.Context, t scheduler.Task) {
	_, err := getMsg(ctx, r.guards.queue, r.tasks, t.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		r.env.Log.Info("a task's message has left the queue; forgetting the task", "task", t.ID, "sequence", t.Sequence)
		r.input(scheduler.TaskGone{ID: t.ID})
	}
}

// getMsg reads a message of a stream. That there is none is an answer.
func getMsg(ctx context.Context, g *guard.Guard, s jetstream.Stream, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return guard.Do(ctx, g, "get", func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		msg, err := s.GetMsg(ctx, seq, opts...)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = guard.Permanent(err)
		}
		return msg, err
	})
}
