// Package scheduler decides which agent works on which task. It is the pure
// core of the router: inputs go in with the time they came, effects come out,
// and nothing here waits, logs, or knows the network or a clock.
//
// It promises: a task stays known until it is completed or dead-lettered; it
// is bound to an agent only when that agent has room, and to one agent at a
// time; what an agent was given and did not bring back is given to another
// when the agent fails, stops or comes back as a new incarnation; a task's
// first valid result ends it, and everything older or later is dropped.
//
// Folding the same log of assignments, results and agent events into an empty
// Scheduler rebuilds what is open, so a router that restarts adopts the work
// that goes on without it.
package scheduler

import (
	"time"

	"github.com/mistersmith/mistersmith/internal/heap"
)

// Scheduler is the state of the router. Use New; it is not safe for concurrent
// use.
type Scheduler struct {
	cfg     Config
	start   time.Time
	agents  map[string]*agent
	types   map[string]*taskType
	tasks   map[string]*task
	unheld  map[string]*task // those whose message is not in our hands
	queued  *memory[queuedTask]
	done    *memory[Done]
	timers  heap.Heap[timer]
	waiting map[*taskType]struct{}
	counts  Counts
	order   uint64
	cause   string // the event that the current input is
	out     []Effect
}

// Counts are totals since the router's first start, as the log has them.
type Counts struct {
	Submitted    uint64 `json:"submitted"`
	Reassigned   uint64 `json:"reassigned"`
	Completed    uint64 `json:"completed"`
	Failed       uint64 `json:"failed"`
	DeadLettered uint64 `json:"dead_lettered"`
}

// New makes a scheduler that knows nobody and nothing.
func New(cfg Config, now time.Time) *Scheduler {
	cfg = cfg.withDefaults()
	return &Scheduler{
		cfg: cfg, start: now,
		agents:  map[string]*agent{},
		types:   map[string]*taskType{},
		tasks:   map[string]*task{},
		unheld:  map[string]*task{},
		queued:  newMemory[queuedTask](cfg.QueueMemory),
		done:    newMemory[Done](cfg.DoneMemory),
		waiting: map[*taskType]struct{}{},
	}
}

// Step takes one input in and gives what must be done about it, in order. The
// slice is valid until the next Step.
func (s *Scheduler) Step(now time.Time, in Input) []Effect {
	s.out, s.cause = s.out[:0], ""
	in.apply(s, now)
	s.place(now)
	return s.out
}

// NextWake is when a Tick is due next, if ever.
func (s *Scheduler) NextWake() (time.Time, bool) {
	if len(s.timers) == 0 {
		return time.Time{}, false
	}
	return s.timers[0].at, true
}

func (s *Scheduler) emit(e Effect) { s.out = append(s.out, e) }

func (s *Scheduler) stale(what, task, agent string) {
	s.emit(Stale{What: what, Task: task, Agent: agent})
}

func (s *Scheduler) open(t *task) {
	s.tasks[t.ID] = t
	if !t.held {
		s.unheld[t.ID] = t
	}
}

func (s *Scheduler) close(t *task) {
	delete(s.tasks, t.ID)
	delete(s.unheld, t.ID)
}
