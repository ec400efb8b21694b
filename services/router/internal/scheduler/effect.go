package scheduler

import "time"

// Effect is something the shell must do.
type Effect interface{ effect() }

// Assign: store the assignment, then say Appended. Only then comes Dispatch.
type Assign struct{ Attempt }

// Dispatch: ask the agent, then say Accepted, Rejected or Unreached. For an
// adopted assignment it may reach an agent that already has the attempt; the
// agent then says accepted again.
type Dispatch struct {
	Attempt
	// Timeout bounds the attempt; 0 means no bound.
	Timeout time.Duration
}

// Complete: the task is done; take its message off the queue, then say
// Settled.
type Complete struct {
	Task, Type, Agent string
	Sequence          uint64
	// Took is from the assignment to the result.
	Took time.Duration
}

// DeadLetter: set the task aside with its history, take its message off the
// queue, then say Settled.
type DeadLetter struct {
	Task, Type string
	Sequence   uint64
	Reason     string
	History    []Failure
	Cause      string
}

// Discard: the message repeats a task that is open or done; take it off the
// queue.
type Discard struct {
	Task     string
	Sequence uint64
}

// Stale: something older than what is known was dropped. What says what.
type Stale struct{ What, Task, Agent string }

func (Assign) effect()     {}
func (Dispatch) effect()   {}
func (Complete) effect()   {}
func (DeadLetter) effect() {}
func (Discard) effect()    {}
func (Stale) effect()      {}

// Attempt is one try of a task by an agent.
type Attempt struct {
	Task, Type  string
	Sequence    uint64
	Agent       string
	Incarnation uint64
	// Number counts a task's attempts from 1.
	Number int
	// PreviousAgent and Reason say who had it before and why no longer.
	PreviousAgent string
	Reason        Reason
	// Cause is the id of the event that took it from the previous agent.
	Cause string
}

// Failure is an attempt that ended without a result.
type Failure struct {
	Attempt     int       `json:"attempt"`
	Agent       string    `json:"agent"`
	Incarnation uint64    `json:"incarnation,omitempty"`
	Reason      Reason    `json:"reason"`
	Detail      string    `json:"detail,omitempty"`
	Cause       string    `json:"cause,omitempty"`
	Ended       time.Time `json:"ended"`
}

// Reason says why a task was taken from an agent.
type Reason string

// Reasons. Those of Counts are held against the task.
const (
	AgentFailed    Reason = "agent_failed"
	AgentStopped   Reason = "agent_stopped"
	NewIncarnation Reason = "new_incarnation"
	TaskFailed     Reason = "task_failed"
	TimedOut       Reason = "timed_out"
	NoReply        Reason = "no_reply"
	NoResponders   Reason = "no_responders"
	Refused        Reason = "refused"
)

// Counts tells whether an attempt that ended so is held against the task's
// limit: it may be the task that fails or kills agents.
func (r Reason) Counts() bool {
	switch r {
	case AgentFailed, NewIncarnation, TaskFailed, TimedOut, NoReply:
		return true
	}
	return false
}
