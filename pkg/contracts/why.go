package contracts

import "time"

// --- why: supervisor.why tells the state of a node, eventstore.why what led to it

// Diagnosis is the state of a node now, and what explains it: the reply of
// supervisor.why.
type Diagnosis struct {
	Tree string `json:"tree"`
	// Supervisor is the instance that answers.
	Supervisor string   `json:"supervisor"`
	Node       NodeView `json:"node"`
	// State is what the node is doing, what it waits for, or how it ended.
	State State `json:"state"`
	// Reason is why, in one sentence for people; empty when nothing needs a
	// reason. It may quote what agents print.
	Reason string `json:"reason,omitempty"`
	// Since is when it came into its phase, Due when a wait ends.
	Since *time.Time `json:"since,omitempty"`
	Due   *time.Time `json:"due,omitempty"`
	// Cause is the event or decision that led to it, Chain the story of that,
	// and Decision the one in which its last start or stop was decided.
	Cause    string `json:"cause,omitempty"`
	Chain    string `json:"chain,omitempty"`
	Decision string `json:"decision,omitempty"`
	// With is the supervisor that it went down with or waits for, if any, and
	// Because the child of it that failed.
	With    string `json:"with,omitempty"`
	Because string `json:"because,omitempty"`
	// Orders are those of operators that stand about the node, or about one above it,
	// and explain the state.
	Orders []StandingOrder `json:"orders,omitempty"`
	// Placement is there while it waits for a runner.
	Placement *Placement `json:"placement,omitempty"`
}

// State is what a node is doing, what it waits for, or how it ended.
type State string

// States.
const (
	StateRunning State = "running"
	// StateRestarting: a supervisor that restarts a group of its children.
	StateRestarting State = "restarting"
	StateSuspended  State = "suspended"
	// StateStarting: its start was ordered, and the runner has not answered.
	StateStarting State = "starting"
	// StateVerifying: it was started, and has yet to prove itself.
	StateVerifying State = "verifying"
	StateStopping  State = "stopping"
	// StateUnplaced: no runner can take it.
	StateUnplaced State = "unplaced"
	// StateAwaitsEnd: it starts when what its configuration removed has ended.
	StateAwaitsEnd State = "awaits_end"
	// StateBudget: its restart waits for restart budget.
	StateBudget State = "budget"
	// StateBackoff: its restart waits for its delay, or a supervisor's for its
	// cool-off.
	StateBackoff State = "backoff"
	// StateIsolated: it failed too often and is set apart for a while.
	StateIsolated State = "isolated"
	// StateGroup: it waits for the restart of its group.
	StateGroup State = "group"
	// StateHeld: it ended while its supervisor is suspended or busy.
	StateHeld State = "held"
	// StateTerminated: an operator ended it.
	StateTerminated State = "terminated"
	// StateFinished: it ended, which is not a failure, and is not to be restarted.
	StateFinished State = "finished"
	// StateWithSupervisor: it is down, as its supervisor is.
	StateWithSupervisor State = "with_supervisor"
	// StateGaveUp: a supervisor whose child failed too often.
	StateGaveUp State = "gave_up"
	// StateFailed: it failed and is not restarted.
	StateFailed State = "failed"
	// StateStopped: it was stopped, and nothing is to start it.
	StateStopped State = "stopped"
	// StateWatched: it is not enforced. StateListening: it is to be, and is
	// listened for first. StateForeign: it was not started from here.
	StateWatched   State = "watched"
	StateListening State = "listening"
	StateForeign   State = "foreign"
)

// Placement is why an agent has no runner.
type Placement struct {
	// Runner is the runner that it names, or any; Labels are what it asks for.
	Runner string            `json:"runner"`
	Labels map[string]string `json:"labels,omitempty"`
	// Missing are the labels that no known runner has.
	Missing map[string]string `json:"missing,omitempty"`
	// Silent are the runners that would fit and are not heard, with when they
	// last were; Full those that have no room, with how much they have.
	Silent map[string]time.Time `json:"silent,omitempty"`
	Full   map[string]int       `json:"full,omitempty"`
	// NotReady are those that would fit and are heard again, but are compared with
	// the tree first; Comparing is how far that is.
	NotReady  []string              `json:"not_ready,omitempty"`
	Comparing map[string]Comparison `json:"comparing,omitempty"`
	// NoResources are those that would fit, and whose host lacks descriptors, processes,
	// memory or disk.
	NoResources []string `json:"no_resources,omitempty"`
	// Ending are runners that still have an older copy of it, which is being ended.
	// Gathering says that it may run on any runner and that not all that are there
	// have been compared with the tree since this supervisor leads.
	Ending    []string `json:"ending,omitempty"`
	Gathering bool     `json:"gathering,omitempty"`
	// Unfit counts the runners that lack labels or take only agents that name
	// them.
	Unfit int `json:"unfit,omitempty"`
}

// WhyRequest asks what led to the state of an agent or a supervisor node:
// eventstore.why. Only the name is needed. With what supervisor.why answers about
// it, the chain of a node that does not run is found, too.
type WhyRequest struct {
	Agent string `json:"agent"`
	Tree  string `json:"tree,omitempty"`
	// Incarnation, Cause, Chain, Decision and Since are those of [Diagnosis].
	Incarnation uint64 `json:"incarnation,omitempty"`
	// Up is set when that incarnation runs.
	Up       bool       `json:"up,omitempty"`
	Cause    string     `json:"cause,omitempty"`
	Chain    string     `json:"chain,omitempty"`
	Decision string     `json:"decision,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
}

// WhyReply is the causal chain of a node's state, oldest first: what led to an
// agent's last start or end, and what was decided since.
type WhyReply struct {
	Agent string    `json:"agent"`
	Chain []WhyLink `json:"chain"`
	// Complete is false when the beginning is no longer stored.
	Complete bool   `json:"complete"`
	Note     string `json:"note,omitempty"`
}

// WhyLink is one link of the chain.
type WhyLink struct {
	Sequence    uint64    `json:"sequence,omitempty"`
	Time        time.Time `json:"time"`
	Type        EventType `json:"type"`
	ID          string    `json:"id"`
	Entity      string    `json:"entity"`
	Incarnation uint64    `json:"incarnation,omitempty"`
	// Evidence is one sentence for people. It may quote what agents print.
	Evidence string `json:"evidence"`
	// Of a decision: Effect is what it did about Node, Due when a wait that it
	// began ends, and By the sender of the order that it was upon.
	Effect string     `json:"effect,omitempty"`
	Node   string     `json:"node,omitempty"`
	Due    *time.Time `json:"due,omitempty"`
	By     *Operator  `json:"by,omitempty"`
}
