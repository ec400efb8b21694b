package scheduler

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Snapshot is what of a scheduler must survive its process. Together with the
// log after it, it gives the same open tasks again.
type Snapshot struct {
	Counts Counts        `json:"counts"`
	Agents []AgentRecord `json:"agents,omitempty"`
	Tasks  []TaskRecord  `json:"tasks,omitempty"`
	Done   []DoneRecord  `json:"done,omitempty"`
	Queued []DoneRecord  `json:"queued,omitempty"`
}

// AgentRecord is an agent in a Snapshot.
type AgentRecord struct {
	ID           string                `json:"id"`
	Type         string                `json:"type,omitempty"`
	Capabilities []string              `json:"capabilities,omitempty"`
	Capacity     int                   `json:"capacity,omitempty"`
	Incarnation  uint64                `json:"incarnation,omitempty"`
	Logged       uint64                `json:"logged,omitempty"`
	State        string                `json:"state"`
	Exited       bool                  `json:"exited,omitempty"`
	Status       contracts.AgentStatus `json:"status,omitempty"`
	Health       contracts.Health      `json:"health,omitempty"`
	Down         time.Time             `json:"down,omitzero"`
	MeanLog      float64               `json:"mean_log,omitempty"`
	Samples      int                   `json:"samples,omitempty"`
}

// TaskRecord is an open task in a Snapshot.
type TaskRecord struct {
	Task
	Attempt     int       `json:"attempt,omitempty"`
	Agent       string    `json:"agent,omitempty"`
	Incarnation uint64    `json:"incarnation,omitempty"`
	Logged      uint64    `json:"logged,omitempty"`
	Accepted    bool      `json:"accepted,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	Failures    int       `json:"failures,omitempty"`
	History     []Failure `json:"history,omitempty"`
	Lapsed      []lapse   `json:"lapsed,omitempty"`
	Doomed      bool      `json:"doomed,omitempty"`
}

// DoneRecord is a remembered task in a Snapshot.
type DoneRecord struct {
	ID     string `json:"id"`
	Pinned bool   `json:"pinned,omitempty"`
	Done
}

// Snapshot gives the state to be kept. Assignments that are not yet in the log
// are left out, as if they had not been made.
func (s *Scheduler) Snapshot() Snapshot {
	snap := Snapshot{Counts: s.counts}
	for _, a := range s.agents {
		snap.Agents = append(snap.Agents, AgentRecord{
			ID: a.id, Type: a.kind, Capabilities: a.capabilities, Capacity: a.capacity,
			Incarnation: a.incarnation, Logged: a.logged, State: string(a.state), Exited: a.exited,
			Status: a.status, Health: a.health, Down: a.downSince, MeanLog: a.meanLog, Samples: a.samples,
		})
	}
	for _, t := range s.tasks {
		snap.Tasks = append(snap.Tasks, t.record())
	}
	for _, r := range s.done.all() {
		snap.Done = append(snap.Done, DoneRecord{ID: r.id, Pinned: r.pinned, Done: r.value})
	}
	for _, r := range s.queued.all() {
		snap.Queued = append(snap.Queued, DoneRecord{ID: r.id, Done: Done{Type: r.value.Type, Sequence: r.value.Sequence}})
	}
	slices.SortFunc(snap.Tasks, func(a, b TaskRecord) int { return bySequence(&task{Task: a.Task}, &task{Task: b.Task}) })
	return snap
}

func (t *task) record() TaskRecord {
	r := TaskRecord{
		Task: t.Task, Attempt: t.attempt, Failures: t.failures, Since: t.since,
		History: slices.Clone(t.history), Lapsed: slices.Clone(t.lapsed), Doomed: t.state == doomed,
	}
	switch {
	case t.state == assigned && t.logged != 0:
		r.Agent, r.Incarnation, r.Logged, r.Accepted = t.agent.id, t.incarnation, t.logged, t.accepted
	case t.state == assigned:
		r.Attempt--
	}
	return r
}

// Restore makes the scheduler that the snapshot was taken of, with no task's
// message in its hands.
func Restore(cfg Config, snap Snapshot, now time.Time) *Scheduler {
	s := New(cfg, now)
	s.counts = snap.Counts
	for _, r := range snap.Agents {
		a := s.agent(r.ID, now)
		s.describe(a, r.Type, r.Capabilities, r.Capacity, now)
		s.update(a, now, func() {
			a.incarnation, a.logged, a.state, a.exited = r.Incarnation, r.Logged, agentState(r.State), r.Exited
			a.status, a.health, a.downSince = r.Status, r.Health, r.Down
			a.meanLog, a.samples = r.MeanLog, r.Samples
		})
		if !a.alive() {
			s.arm(a.downSince.Add(s.cfg.ForgetAfter), timerForget, a.id, 0)
		}
	}
	for _, r := range snap.Tasks {
		s.restoreTask(r, now)
	}
	for _, r := range snap.Done {
		s.done.put(r.ID, r.Done, r.Pinned)
	}
	for _, r := range snap.Queued {
		s.queued.put(r.ID, queuedTask{Type: r.Type, Sequence: r.Sequence}, false)
	}
	return s
}

func (s *Scheduler) restoreTask(r TaskRecord, now time.Time) {
	t := &task{Task: r.Task, failures: r.Failures, history: r.History, lapsed: r.Lapsed}
	s.open(t)
	if r.Agent != "" {
		s.bind(t, s.agent(r.Agent, now), r.Attempt, r.Incarnation, now)
		t.logged, t.accepted, t.since = r.Logged, r.Accepted, r.Since
		if r.Accepted {
			s.armDeadline(t, r.Since)
		}
		return
	}
	t.attempt = r.Attempt
	if r.Doomed {
		t.state = doomed
	}
}
