package scheduler

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// taskType is a type of task: who can do it, and what waits.
type taskType struct {
	name   string
	agents map[string]*agent // that can do it
	free   int               // their room, all together
	live   int               // how many of them are alive
	lost   time.Time         // when the last of them went
	queue  taskQueue
}

// taskQueue is a heap of waiting tasks, the oldest first.
type taskQueue []*task

func (q taskQueue) Len() int           { return len(q) }
func (q taskQueue) Less(i, j int) bool { return bySequence(q[i], q[j]) < 0 }
func (q taskQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].heapIndex, q[j].heapIndex = i+1, j+1
}

func (q *taskQueue) Push(x any) {
	t := x.(*task)
	*q = append(*q, t)
	t.heapIndex = len(*q)
}

func (q *taskQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	*q = old[:len(old)-1]
	t.heapIndex = 0
	return t
}

func (s *Scheduler) taskType(name string) *taskType {
	ty, ok := s.types[name]
	if ok {
		return ty
	}
	ty = &taskType{name: name, agents: map[string]*agent{}, lost: s.start}
	s.types[name] = ty
	for _, a := range s.agents {
		s.match(a, ty)
	}
	for _, a := range ty.agents {
		if !a.alive() && a.downSince.After(ty.lost) {
			ty.lost = a.downSince
		}
	}
	s.armDefault(ty, ty.lost)
	return ty
}

// able tells whether an agent can do a type of task, by its own words.
func (s *Scheduler) able(a *agent, taskType string) bool {
	if a.refuses[taskType] {
		return false
	}
	r, ok := s.cfg.Routes[taskType]
	if !ok {
		return a.kind == taskType || slices.Contains(a.capabilities, taskType)
	}
	if len(r.Types) > 0 && !slices.Contains(r.Types, a.kind) {
		return false
	}
	return !slices.ContainsFunc(r.Capabilities, func(c string) bool { return !slices.Contains(a.capabilities, c) })
}

func (s *Scheduler) match(a *agent, ty *taskType) {
	if !s.able(a, ty.name) {
		return
	}
	ty.agents[a.id] = a
	a.serves[ty] = struct{}{}
	ty.free += a.free()
	if a.alive() {
		ty.live++
	}
}

// rematch finds anew which types an agent serves.
func (s *Scheduler) rematch(a *agent, now time.Time) {
	for ty := range a.serves {
		delete(ty.agents, a.id)
		ty.free -= a.free()
		if a.alive() {
			s.lostOne(ty, now)
		}
	}
	clear(a.serves)
	for _, ty := range s.types {
		s.match(a, ty)
	}
}

func (s *Scheduler) lostOne(ty *taskType, now time.Time) {
	ty.live--
	if ty.live == 0 {
		ty.lost = now
		s.armDefault(ty, now)
	}
}

func (s *Scheduler) armDefault(ty *taskType, from time.Time) {
	if s.cfg.DefaultAgent != "" {
		s.arm(from.Add(s.cfg.DefaultAfter), timerDefault, ty.name, 0)
	}
}

// standIn is the default agent, if it may take tasks of the type now.
func (s *Scheduler) standIn(ty *taskType, now time.Time) *agent {
	if s.cfg.DefaultAgent == "" || ty.live > 0 || now.Sub(ty.lost) < s.cfg.DefaultAfter {
		return nil
	}
	a := s.agents[s.cfg.DefaultAgent]
	if a == nil || a.refuses[ty.name] {
		return nil
	}
	return a
}

func (s *Scheduler) room(ty *taskType, now time.Time) int {
	if a := s.standIn(ty, now); a != nil {
		return a.free()
	}
	return ty.free
}

// enqueue makes a task wait for room; only a held one can be placed.
func (s *Scheduler) enqueue(t *task, now time.Time) {
	t.state = waiting
	if !t.held || t.heapIndex > 0 {
		return
	}
	if s.cfg.MaxQueueAge > 0 {
		from := now
		if t.attempt == 0 {
			from = t.Submitted
		}
		s.arm(from.Add(s.cfg.MaxQueueAge), timerAge, t.ID, t.attempt)
	}
	ty := s.taskType(t.Type)
	heap.Push(&ty.queue, t)
	s.waiting[ty] = struct{}{}
}

func (s *Scheduler) unqueue(t *task) {
	if t.heapIndex == 0 {
		return
	}
	ty := s.taskType(t.Type)
	heap.Remove(&ty.queue, t.heapIndex-1)
	if len(ty.queue) == 0 {
		delete(s.waiting, ty)
	}
}

// place binds waiting tasks, the oldest first, as long as anybody has room.
func (s *Scheduler) place(now time.Time) {
	for {
		var oldest *taskType
		for ty := range s.waiting {
			if s.room(ty, now) > 0 && (oldest == nil || bySequence(ty.queue[0], oldest.queue[0]) < 0) {
				oldest = ty
			}
		}
		if oldest == nil {
			return
		}
		t := oldest.queue[0]
		a := s.choose(oldest, t, now)
		if a == nil {
			return
		}
		s.unqueue(t)
		s.assign(t, a, now)
	}
}

// choose picks who works on a task: the least expected wait, by the observed
// service times and our own count of what each has. Agents that already failed
// the task come last.
func (s *Scheduler) choose(ty *taskType, t *task, now time.Time) *agent {
	if a := s.standIn(ty, now); a != nil {
		return a
	}
	mean := ty.meanLog()
	var best *agent
	var bestFailed bool
	var bestScore float64
	for _, a := range ty.agents {
		if a.free() <= 0 {
			continue
		}
		failed, score := t.failedOn(a.id), a.expected(mean)
		better := best == nil || failed != bestFailed && !failed ||
			failed == bestFailed && (score < bestScore || score == bestScore && a.before(best))
		if better {
			best, bestFailed, bestScore = a, failed, score
		}
	}
	return best
}

// before breaks ties: whoever was given work longer ago.
func (a *agent) before(b *agent) bool {
	if a.lastGiven != b.lastGiven {
		return a.lastGiven < b.lastGiven
	}
	return a.id < b.id
}

// expected is the agent's expected time for one more task, in seconds, where
// unknown agents count as average ones.
func (a *agent) expected(mean float64) float64 {
	if a.samples > 0 {
		mean = a.meanLog
	}
	return math.Exp(mean) * float64(len(a.tasks)+1) / float64(max(a.capacity, 1))
}

func (ty *taskType) meanLog() float64 {
	sum, n := 0.0, 0
	for _, a := range ty.agents {
		if a.samples > 0 {
			sum += a.meanLog
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

func (t *task) failedOn(agent string) bool {
	return slices.ContainsFunc(t.history, func(f Failure) bool { return f.Agent == agent && f.Reason != AgentStopped })
}

func (s *Scheduler) assign(t *task, a *agent, now time.Time) {
	s.bind(t, a, t.attempt+1, a.incarnation, now)
	s.emit(Assign{s.attempt(t)})
}

func (s *Scheduler) bind(t *task, a *agent, number int, incarnation uint64, now time.Time) {
	t.state, t.agent, t.attempt, t.incarnation = assigned, a, number, incarnation
	t.logged, t.accepted, t.since = 0, false, now
	s.order++
	s.update(a, now, func() {
		a.tasks[t.ID] = t
		a.lastGiven = s.order
	})
}

func (s *Scheduler) attempt(t *task) Attempt {
	at := Attempt{
		Task: t.ID, Type: t.Type, Sequence: t.Sequence,
		Agent: t.agent.id, Incarnation: t.incarnation, Number: t.attempt,
	}
	if n := len(t.history); n > 0 {
		last := t.history[n-1]
		at.PreviousAgent, at.Reason, at.Cause = last.Agent, last.Reason, last.Cause
	}
	return at
}

func (s *Scheduler) dispatch(t *task, now time.Time) {
	s.emit(Dispatch{Attempt: s.attempt(t), Timeout: s.armDeadline(t, now)})
}

// armDeadline bounds the current attempt, begun at from.
func (s *Scheduler) armDeadline(t *task, from time.Time) time.Duration {
	timeout := t.Timeout
	if timeout == 0 {
		timeout = s.cfg.TaskTimeout
	}
	if timeout > 0 {
		s.arm(from.Add(timeout), timerDeadline, t.ID, t.attempt)
	}
	return timeout
}
