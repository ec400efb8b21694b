package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TaskView is what is known of a task.
type TaskView struct {
	ID, Type string
	// Status is queued, assigned, completed or dead_lettered.
	Status      string
	Agent       string
	Incarnation uint64
	Attempt     int
	Sequence    uint64
	Since       time.Time
	History     []Failure
	// Reason says why it is dead; Logged is the log's sequence of its end.
	Reason string
	Logged uint64
}

// Task tells what is known of a task.
func (s *Scheduler) Task(id string) (TaskView, bool) {
	if t, ok := s.tasks[id]; ok {
		v := TaskView{
			ID: id, Type: t.Type, Status: t.state.String(), Attempt: t.attempt, Sequence: t.Sequence,
			History: slices.Clone(t.history),
		}
		if t.state == assigned {
			v.Agent, v.Incarnation, v.Since = t.agent.id, t.incarnation, t.since
		}
		return v, true
	}
	if d, ok := s.done.get(id); ok {
		return TaskView{
			ID: id, Type: d.Type, Status: string(d.Outcome), Agent: d.Agent, Attempt: d.Attempts,
			Sequence: d.Sequence, Reason: d.Reason, Logged: d.Logged,
		}, true
	}
	if q, ok := s.queued.get(id); ok {
		return TaskView{ID: id, Type: q.Type, Status: waiting.String(), Sequence: q.Sequence}, true
	}
	return TaskView{}, false
}

// AgentView is what is known of an agent.
type AgentView struct {
	ID, Type     string
	Capabilities []string
	Incarnation  uint64
	InFlight     int
	Capacity     int
	// Available tells whether it may get work; Reason why not.
	Available bool
	Reason    string
}

// Agents lists the known agents by id.
func (s *Scheduler) Agents() []AgentView {
	views := make([]AgentView, 0, len(s.agents))
	for _, a := range s.agents {
		views = append(views, AgentView{
			ID: a.id, Type: a.kind, Capabilities: slices.Clone(a.capabilities), Incarnation: a.incarnation,
			InFlight: len(a.tasks), Capacity: max(a.capacity, 1), Available: a.free() > 0, Reason: a.reason(),
		})
	}
	slices.SortFunc(views, func(a, b AgentView) int { return cmp.Compare(a.ID, b.ID) })
	return views
}

// reason says why an agent gets no work now, or "".
func (a *agent) reason() string {
	switch {
	case a.kind == contracts.TypeRunner:
		return "it is a runner"
	case a.state == agentStarting:
		return "no heartbeat of this incarnation yet"
	case a.state != agentUp:
		return string(a.state)
	case a.health == contracts.HealthDegraded || a.health == contracts.HealthUnhealthy:
		return "health " + string(a.health)
	case a.unheard:
		return "did not answer; waiting for its next heartbeat"
	case a.cooling:
		return "refused or missed work lately"
	case !a.ready():
		return "status " + string(a.status)
	case a.free() == 0:
		return "full"
	}
	return ""
}

// TypeView is what is known of a task type.
type TypeView struct {
	Name string
	// Waiting and Assigned count the tasks that are in the router's hands.
	Waiting, Assigned int
	// Room is how many more tasks could be placed now.
	Room int
	// Able is how many agents that could do it are alive, counting the
	// default agent when it stands in.
	Able int
}

// Types lists the known task types by name.
func (s *Scheduler) Types(now time.Time) []TypeView {
	assignedTo := map[string]int{}
	for _, t := range s.tasks {
		if t.state == assigned {
			assignedTo[t.Type]++
		}
	}
	views := make([]TypeView, 0, len(s.types))
	for _, ty := range s.types {
		views = append(views, TypeView{
			Name: ty.name, Waiting: len(ty.queue), Assigned: assignedTo[ty.name],
			Room: s.Room(ty.name, now), Able: s.Able(ty.name, now),
		})
	}
	slices.SortFunc(views, func(a, b TypeView) int { return cmp.Compare(a.Name, b.Name) })
	return views
}

// Room is how many more tasks of a type could be placed now.
func (s *Scheduler) Room(taskType string, now time.Time) int {
	ty := s.taskType(taskType)
	return max(0, s.room(ty, now)-len(ty.queue))
}

// Missing is how many open tasks of a type there are whose message is not in
// the router's hands: to be asked of the queue though there be no room.
func (s *Scheduler) Missing(taskType string) int {
	n := 0
	for _, t := range s.unheld {
		if t.Type == taskType {
			n++
		}
	}
	return n
}

// Current tells whether an attempt is the one that goes on.
func (s *Scheduler) Current(task string, number int) bool { return s.current(task, number) != nil }

// Able is how many agents that can do a type of task are alive.
func (s *Scheduler) Able(taskType string, now time.Time) int {
	ty := s.taskType(taskType)
	if ty.live == 0 {
		if a := s.standIn(ty, now); a != nil && a.alive() {
			return 1
		}
	}
	return ty.live
}

// Counts gives the totals.
func (s *Scheduler) Counts() Counts { return s.counts }

// Open is how many tasks are neither done nor only in the queue.
func (s *Scheduler) Open() int { return len(s.tasks) }

// Unheld lists the open tasks whose message is not in the router's hands.
func (s *Scheduler) Unheld() []Task {
	ts := make([]Task, 0, len(s.unheld))
	for _, t := range s.unheld {
		ts = append(ts, t.Task)
	}
	return ts
}
