package contracts

import (
	"encoding/json"
	"time"
)

// NodeStatus is the state of a node of the tree.
type NodeStatus string

// Statuses of nodes. A supervisor may also be suspended.
const (
	NodeStarting   NodeStatus = "starting"
	NodeRunning    NodeStatus = "running"
	NodeStopping   NodeStatus = "stopping"
	NodeStopped    NodeStatus = "stopped"
	NodeFailed     NodeStatus = "failed"
	NodeRestarting NodeStatus = "restarting"
	NodeSuspended  NodeStatus = "suspended"
	// NodeWatched: an agent that is not enforced, and of which nothing bad is
	// known. NodeForeign: one that is to be enforced but was started elsewhere.
	NodeWatched NodeStatus = "watched"
	NodeForeign NodeStatus = "foreign"
)

// DecisionsData is the data of tree.proposed, tree.decided, tree.rolling_stopped, tree.isolated,
// tree.escalated and tree.gave_up: what a supervisor concluded from one or several inputs, stored
// before it acts. The types differ only in the gravest thing that was decided;
// of a tree.proposed nothing comes.
type DecisionsData struct {
	Tree string `json:"tree"`
	// Number counts the tree's decisions from 1.
	Number uint64 `json:"number"`
	// Skipped is how many numbers before this one the log does not have. Programs
	// before terms left some out after the log had lost its tail.
	Skipped uint64 `json:"skipped,omitempty"`
	// Supervisor is the instance that decided.
	Supervisor string `json:"supervisor"`
	// Cursor is the sequence, in the event stream, of the last event that is
	// consumed into this state: a successor reads on from the next.
	Cursor uint64 `json:"cursor"`
	// More is set when the decision was too large for one message and goes on
	// in the next of its tree, under the same number. It counts once its last
	// part is stored; without that, none of it was acted on.
	More bool `json:"more,omitempty"`
	// Part is the place of this message in the decision, from 0: so it shows when
	// the log has forgotten the messages before it.
	Part int `json:"part,omitempty"`
	// Inputs are what was decided upon, in order.
	Inputs []DecisionInput `json:"inputs,omitempty"`
	// Effects are what will now be done, in order.
	Effects []DecisionEffect `json:"effects,omitempty"`
	// Version is the form of Changes. A supervisor refuses to read a form newer
	// than it knows.
	Version int `json:"version,omitempty"`
	// Changes hold the full new state of every node that changed, keyed by
	// node; null removes it. The fold of all Changes is the tree. Their form
	// is the supervisor's own.
	Changes map[string]json.RawMessage `json:"changes,omitempty"`
}

// DecisionInput is one thing that the supervisor took into account.
type DecisionInput struct {
	// Kind is what it was: exit, verdict, start_result, stop_result, verified,
	// timer, command or config.
	Kind string `json:"kind"`
	// Node is the agent or supervisor node concerned.
	Node        string `json:"node,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	// Event is the id of the event that brought it, and Sequence its place.
	Event    string    `json:"event,omitempty"`
	Sequence uint64    `json:"sequence,omitempty"`
	At       time.Time `json:"at"`
	// Detail is the evidence in one sentence.
	Detail string `json:"detail,omitempty"`
	// By is the sender of a command, if it says.
	By *Operator `json:"by,omitempty"`
	// Data is what a replay of the input needs beyond that.
	Data json.RawMessage `json:"data,omitempty"`
}

// DecisionEffect is one thing that the supervisor ordered.
type DecisionEffect struct {
	// Kind is start, stop, delay, running, isolate, give_up, escalate,
	// terminate, remove, emit, mode, foreign or propose.
	Kind string `json:"kind"`
	// Action is what a propose would do: restart, isolate, escalate,
	// terminate, cool_off, ignore or give_up.
	Action      string `json:"action,omitempty"`
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	Runner      string `json:"runner,omitempty"`
	// Due is when a delay ends.
	Due *time.Time `json:"due,omitempty"`
	// Event is the id of the event an emit publishes.
	Event string `json:"event,omitempty"`
	// Input is the index in Inputs of what led to this effect.
	Input int `json:"input"`
	// Cause is the id of the event that led to this effect, where that is
	// neither the input's event nor this decision: an input such as a timer
	// only continues what another event began.
	Cause string `json:"cause,omitempty"`
	// Detail says why, in one sentence.
	Detail string `json:"detail,omitempty"`
	// Correlation is the story this effect belongs to.
	Correlation string `json:"correlation,omitempty"`
}

// ChildSpec says how an agent is run. It is what config files and
// smith.supervisor.add give.
type ChildSpec struct {
	Name    string            `json:"name"`
	Type    string            `json:"type,omitempty"`
	Command []string          `json:"command"`
	Env     map[string]string `json:"env,omitempty"`
	Dir     string            `json:"dir,omitempty"`
	// Restart is permanent (default), transient or temporary.
	Restart           string   `json:"restart,omitempty"`
	Significant       bool     `json:"significant,omitempty"`
	Capabilities      []string `json:"capabilities,omitempty"`
	Capacity          int      `json:"capacity,omitempty"`
	HeartbeatInterval Duration `json:"heartbeat_interval,omitempty"`
	StartDeadline     Duration `json:"start_deadline,omitempty"`
	ShutdownTimeout   Duration `json:"shutdown_timeout,omitempty"`
	Stabilisation     Duration `json:"stabilisation,omitempty"`
	// Heartbeats says who beats: agent (default), or runner for commands that
	// know nothing of heartbeats.
	Heartbeats string `json:"heartbeats,omitempty"`
	// StopSignal is what it is told to stop by: SIGTERM (default), SIGINT,
	// SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 or SIGWINCH.
	StopSignal StopSignal `json:"stop_signal,omitempty"`
	// LeaveChildren keeps what it has detached when it ends.
	LeaveChildren bool `json:"leave_children,omitempty"`
	// Health is by what its runner finds out that it does not work.
	Health *HealthSpec `json:"health,omitempty"`
	Execution
	// Runner is the name of the runner that must start it, or any (default).
	Runner string `json:"runner,omitempty"`
	// RunnerLabels are what a runner must have all of to be chosen for any.
	RunnerLabels map[string]string `json:"runner_labels,omitempty"`
	// Policy names the restart policy for the delay between its restarts;
	// empty means its supervisor's.
	Policy string `json:"policy,omitempty"`
}
