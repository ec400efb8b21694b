package scheduler

import (
	"cmp"
	"time"
)

// taskState is where an open task stands.
type taskState int

const (
	waiting  taskState = iota // to be placed as soon as somebody has room
	delayed                   // to be placed later
	assigned                  // given to an agent
	doomed                    // to be dead-lettered once its message is here
)

func (st taskState) String() string {
	return [...]string{"queued", "queued", "assigned", "dead_lettered"}[st]
}

// catchingUp is how late a result is read when the log is being folded after a
// pause; then its own time counts, not ours.
const catchingUp = 2 * time.Second

// historyLimit bounds the failures kept of one task.
const historyLimit = 20

type task struct {
	Task
	// held tells that the queue's message is in the router's hands; only then
	// can the task be given to anybody or taken off the queue.
	held  bool
	state taskState

	attempt     int
	agent       *agent // while assigned
	incarnation uint64
	// logged is the log's sequence of the current attempt's assignment; 0
	// until it is stored.
	logged   uint64
	accepted bool // the agent said yes
	since    time.Time

	failures  int // those that count
	history   []Failure
	lapsed    []lapse
	notBefore time.Time
	heapIndex int
}

// lapse is an attempt taken from its agent whose result still counts if it
// was logged before the next assignment.
type lapse struct {
	Attempt     int    `json:"attempt"`
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation,omitempty"`
}

// Task is what the scheduler must know of a task.
type Task struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	// Sequence is its place in the queue; older tasks go first.
	Sequence  uint64    `json:"sequence"`
	Submitted time.Time `json:"submitted"`
	// MaxAttempts and Timeout override the configuration when not 0.
	MaxAttempts int           `json:"max_attempts,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
}

type queuedTask struct {
	Type     string
	Sequence uint64
}

// Outcome is how a task ended.
type Outcome string

// Outcomes.
const (
	Completed    Outcome = "completed"
	DeadLettered Outcome = "dead_lettered"
)

// Done is what is remembered of a finished task.
type Done struct {
	Type     string  `json:"type"`
	Outcome  Outcome `json:"outcome"`
	Agent    string  `json:"agent,omitempty"`
	Attempts int     `json:"attempts"`
	Sequence uint64  `json:"sequence"`
	Reason   string  `json:"reason,omitempty"`
	// Logged is the log's sequence of the event that ended it.
	Logged uint64 `json:"logged,omitempty"`
}

func bySequence(a, b *task) int {
	return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.ID, b.ID))
}

// TaskQueued tells that a task is in the queue, not yet here.
type TaskQueued struct {
	ID, Type string
	Sequence uint64
	// Logged: this is task.submitted as read from the log.
	Logged bool
}

func (in TaskQueued) apply(s *Scheduler, _ time.Time) {
	if in.Logged {
		s.counts.Submitted++
	}
	_, isDone := s.done.get(in.ID)
	if _, open := s.tasks[in.ID]; !open && !isDone {
		s.queued.put(in.ID, queuedTask{Type: in.Type, Sequence: in.Sequence}, false)
	}
}

// TaskArrived is a message of the queue, new or delivered again.
type TaskArrived struct{ Task }

func (in TaskArrived) apply(s *Scheduler, now time.Time) {
	s.queued.remove(in.ID)
	if _, ok := s.done.get(in.ID); ok {
		s.emit(Discard{Task: in.ID, Sequence: in.Sequence})
		return
	}
	t, ok := s.tasks[in.ID]
	switch {
	case !ok:
		t = &task{Task: in.Task, held: true}
		s.open(t)
		s.enqueue(t, now)
	case t.Sequence != in.Sequence:
		s.emit(Discard{Task: in.ID, Sequence: in.Sequence})
	case !t.held:
		t.Task, t.held = in.Task, true
		delete(s.unheld, t.ID)
		s.adopt(t, now)
	}
}

// adopt goes on with a task known from the log, whose message is here now.
func (s *Scheduler) adopt(t *task, now time.Time) {
	switch t.state {
	case waiting:
		s.enqueue(t, now)
	case doomed:
		s.deadLetter(t, "too many failed attempts", now)
	case assigned:
		if !t.accepted {
			s.dispatch(t, now)
		}
	}
}

// TaskGone tells that the queue no longer has the task's message.
type TaskGone struct{ ID string }

func (in TaskGone) apply(s *Scheduler, now time.Time) {
	s.queued.remove(in.ID)
	if t, ok := s.tasks[in.ID]; ok && !t.held {
		s.take(t, now)
		s.unqueue(t)
		s.close(t)
	}
}

// Settled tells that a finished task's message is off the queue.
type Settled struct{ ID string }

func (in Settled) apply(s *Scheduler, _ time.Time) { s.done.unpin(in.ID) }

// take ends the current assignment, if there is one.
func (s *Scheduler) take(t *task, now time.Time) *agent {
	a := t.agent
	if a != nil {
		s.update(a, now, func() { delete(a.tasks, t.ID) })
		t.agent = nil
	}
	return a
}

// release takes a task from its agent and queues it again, or dooms it.
func (s *Scheduler) release(t *task, reason Reason, detail string, now time.Time) {
	a := s.take(t, now)
	t.history = append(t.history, Failure{
		Attempt: t.attempt, Agent: a.id, Incarnation: t.incarnation, Reason: reason, Detail: detail, Cause: s.cause, Ended: now,
	})
	if len(t.history) > historyLimit {
		t.history = t.history[1:]
	}
	if reason != TaskFailed {
		t.lapsed = append(t.lapsed, lapse{Attempt: t.attempt, Agent: a.id, Incarnation: t.incarnation})
		if len(t.lapsed) > historyLimit {
			t.lapsed = t.lapsed[1:]
		}
	}
	t.state = waiting
	if reason.Counts() {
		t.failures++
	}
	switch {
	case t.failures >= s.limit(t):
		s.deadLetter(t, "too many failed attempts", now)
	case reason == TaskFailed || reason == TimedOut:
		t.state = delayed
		t.notBefore = now.Add(backoff(s.cfg.RetryDelay, s.cfg.MaxRetryDelay, t.failures))
		s.arm(t.notBefore, timerRetry, t.ID, 0)
	default:
		s.enqueue(t, now)
	}
}

func (s *Scheduler) limit(t *task) int {
	if t.MaxAttempts > 0 {
		return t.MaxAttempts
	}
	return s.cfg.MaxAttempts
}

func (s *Scheduler) complete(t *task, in TaskResult, now time.Time) {
	a := s.take(t, now)
	s.unqueue(t)
	took := now.Sub(t.since)
	if !in.At.IsZero() && now.Sub(in.At) > catchingUp {
		took = max(0, in.At.Sub(t.since))
	}
	if a != nil && a.id == in.Agent {
		a.observe(took)
	}
	s.close(t)
	s.counts.Completed++
	s.done.put(t.ID, Done{
		Type: t.Type, Outcome: Completed, Agent: in.Agent, Attempts: t.attempt, Sequence: t.Sequence, Logged: in.Logged,
	}, true)
	s.emit(Complete{Task: t.ID, Type: t.Type, Agent: in.Agent, Sequence: t.Sequence, Took: took})
}

func (s *Scheduler) deadLetter(t *task, reason string, _ time.Time) {
	s.unqueue(t)
	if !t.held {
		t.state = doomed
		return
	}
	s.close(t)
	s.done.put(t.ID, Done{
		Type: t.Type, Outcome: DeadLettered, Attempts: t.attempt, Sequence: t.Sequence, Reason: reason,
	}, true)
	s.emit(DeadLetter{Task: t.ID, Type: t.Type, Sequence: t.Sequence, Reason: reason, History: t.history, Cause: s.cause})
}
