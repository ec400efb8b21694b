package scheduler

import "time"

// TaskAssigned is task.assigned or task.reassigned as read from the log: the
// scheduler's own, or one it must adopt.
type TaskAssigned struct {
	Attempt
	// Logged is the log's sequence, At the event's time.
	Logged uint64
	At     time.Time
}

func (in TaskAssigned) apply(s *Scheduler, now time.Time) {
	if in.Number > 1 {
		s.counts.Reassigned++
	}
	if _, ok := s.done.get(in.Task); ok {
		return
	}
	t, ok := s.tasks[in.Task]
	if !ok {
		t = &task{Task: Task{ID: in.Task, Type: in.Type, Sequence: in.Sequence, Submitted: in.At}}
		s.open(t)
		s.queued.remove(in.Task)
	}
	same := ok && in.Number == t.attempt && t.state == assigned &&
		t.agent.id == in.Agent && t.incarnation == in.Incarnation
	switch {
	case same:
		t.logged = in.Logged
	case ok && (in.Number < t.attempt || in.Number == t.attempt && t.logged != 0):
		// An older one, or this attempt has already ended.
	default:
		s.bindLogged(t, in, now)
	}
}

// bindLogged makes the log's assignment ours.
func (s *Scheduler) bindLogged(t *task, in TaskAssigned, now time.Time) {
	if in.Number > t.attempt && in.Reason.Counts() && t.state == assigned {
		t.failures++
	}
	s.take(t, now)
	s.unqueue(t)
	a := s.agent(in.Agent, now)
	if in.Incarnation > a.incarnation {
		s.succeed(a, in.Incarnation, now)
	}
	s.bind(t, a, in.Number, in.Incarnation, now)
	t.logged, t.since = in.Logged, in.At
	switch {
	case in.Incarnation < a.incarnation:
		s.release(t, NewIncarnation, "", now)
	case a.state == agentFailed && in.Incarnation == a.incarnation:
		s.release(t, AgentFailed, "", now)
	case a.state == agentStopped && in.Incarnation == a.incarnation:
		s.release(t, AgentStopped, "", now)
	case t.held:
		s.dispatch(t, now)
	}
}

// Appended tells that an Assign is stored in the log at a sequence.
type Appended struct {
	Task   string
	Number int
	Logged uint64
}

func (in Appended) apply(s *Scheduler, now time.Time) {
	if t := s.current(in.Task, in.Number); t != nil {
		t.logged = in.Logged
		s.dispatch(t, now)
	}
}

func (s *Scheduler) current(id string, number int) *task {
	t, ok := s.tasks[id]
	if !ok || t.state != assigned || t.attempt != number {
		return nil
	}
	return t
}

// Accepted is an agent's yes to a dispatch.
type Accepted struct {
	Task   string
	Number int
}

func (in Accepted) apply(s *Scheduler, now time.Time) {
	if t := s.current(in.Task, in.Number); t != nil {
		t.accepted = true
		s.update(t.agent, now, func() { t.agent.misses = 0 })
	}
}

// Rejected is an agent's no to a dispatch.
type Rejected struct {
	Task   string
	Number int
	Reason string
	// UnknownType: the agent cannot do this type of task at all. Stale: it is
	// another incarnation than the one meant.
	UnknownType, Stale bool
}

func (in Rejected) apply(s *Scheduler, now time.Time) {
	t := s.current(in.Task, in.Number)
	if t == nil {
		return
	}
	a := t.agent
	if in.UnknownType {
		if a.refuses == nil {
			a.refuses = map[string]bool{}
		}
		a.refuses[t.Type] = true
		s.rematch(a, now)
	} else {
		s.miss(a, in.Stale, now)
	}
	s.release(t, Refused, in.Reason, now)
}

// Unreached tells that a dispatch got no answer.
type Unreached struct {
	Task   string
	Number int
	// NoResponders: the server knows that nobody listens, so the agent cannot
	// have got it.
	NoResponders bool
}

func (in Unreached) apply(s *Scheduler, now time.Time) {
	t := s.current(in.Task, in.Number)
	if t == nil {
		return
	}
	reason := NoReply
	if in.NoResponders {
		reason = NoResponders
	}
	s.miss(t.agent, true, now)
	s.release(t, reason, "", now)
}

// TaskResult is task.completed or task.failed as read from the log.
type TaskResult struct {
	Task        string
	Agent       string
	Incarnation uint64
	Number      int
	Failed      bool
	// Retry tells that trying again may help; Error why it failed.
	Retry bool
	Error string
	// Logged is the log's sequence, At when the log got it, Cause the event's
	// id.
	Logged uint64
	At     time.Time
	Cause  string
}

func (in TaskResult) apply(s *Scheduler, now time.Time) {
	s.cause = in.Cause
	if in.Failed {
		s.counts.Failed++
	}
	t, ok := s.tasks[in.Task]
	if !ok || !s.valid(t, in) {
		s.stale("result", in.Task, in.Agent)
		return
	}
	switch {
	case !in.Failed:
		s.complete(t, in, now)
	case t.state != assigned || in.Number != t.attempt:
		// A lapsed attempt failed: it has been counted.
	case in.Retry:
		s.release(t, TaskFailed, in.Error, now)
	default:
		t.failures = s.limit(t)
		s.release(t, TaskFailed, in.Error, now)
	}
}

// valid tells whether the result is that of an attempt that may still end the
// task: the current one, or a lapsed one whose result the log has before the
// next assignment; and never one of an incarnation that has a successor.
func (s *Scheduler) valid(t *task, in TaskResult) bool {
	if a, ok := s.agents[in.Agent]; ok && in.Incarnation < a.logged {
		return false
	}
	if t.state == assigned && in.Number == t.attempt {
		return in.Agent == t.agent.id && in.Incarnation == t.incarnation
	}
	if t.state == assigned && t.logged != 0 && in.Logged > t.logged {
		return false
	}
	for _, l := range t.lapsed {
		if l == (lapse{Attempt: in.Number, Agent: in.Agent, Incarnation: in.Incarnation}) {
			return true
		}
	}
	return false
}

// TaskDeadLettered is task.dead_lettered as read from the log.
type TaskDeadLettered struct {
	ID, Type, Reason string
	Logged           uint64
}

func (in TaskDeadLettered) apply(s *Scheduler, now time.Time) {
	s.counts.DeadLettered++
	if d, ok := s.done.get(in.ID); ok {
		d.Logged = in.Logged
		s.done.put(in.ID, d, true)
		return
	}
	d := Done{Type: in.Type, Outcome: DeadLettered, Reason: in.Reason, Logged: in.Logged}
	if t, ok := s.tasks[in.ID]; ok {
		s.take(t, now)
		s.unqueue(t)
		s.close(t)
		d.Attempts, d.Sequence = t.attempt, t.Sequence
		if t.held {
			s.emit(Discard{Task: in.ID, Sequence: t.Sequence})
		}
	}
	s.done.put(in.ID, d, true)
}
