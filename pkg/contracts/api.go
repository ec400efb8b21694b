package contracts

import (
	"encoding/json"
	"time"
)

// Services with an API, as in smith.<service>.<verb>. The micro framework
// lists them as smith-<service>.
const (
	ServiceDetector   = "detector"
	ServiceSupervisor = "supervisor"
	ServiceRouter     = "router"
	ServiceEventStore = "eventstore"
	ServiceRunner     = "runner"
)

// Codes of a failed API request, in the Nats-Service-Error-Code header.
const (
	CodeBadRequest = "400"
	CodeNotFound   = "404"
	CodeConflict   = "409"
	CodeTooLarge   = "413"
	CodeInternal   = "500"
	CodeNotReady   = "503"
)

// --- detector: status, agents, monitor, unmonitor, probe; see detection.go for more

// AgentRequest names an agent: detector.status, detector.probe,
// detector.explain and detector.unmonitor.
type AgentRequest struct {
	Agent string `json:"agent"`
}

// AgentsRequest selects agents; an empty one means all.
type AgentsRequest struct {
	// After and Limit page by name; the default limit is 500, the most 5,000.
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
	Type  string `json:"type,omitempty"`
	// Health is the detector's judgement, Status what agents say of themselves.
	Health Health      `json:"health,omitempty"`
	Status AgentStatus `json:"status,omitempty"`
}

// AgentsReply is a page of agents ordered by name.
type AgentsReply struct {
	Agents []AgentView `json:"agents"`
	// Next is the After of the next page; empty at the end.
	Next string `json:"next,omitempty"`
	// Total is how many agents are known, Degraded how many of those report
	// themselves degraded, whatever the request selects.
	Total    int `json:"total"`
	Degraded int `json:"degraded"`
}

// MonitorRequest begins or changes the watching of an agent.
type MonitorRequest struct {
	Agent         string   `json:"agent"`
	Interval      Duration `json:"interval,omitempty"`
	StartDeadline Duration `json:"start_deadline,omitempty"`
	// Threshold overrides phi_threshold for this agent.
	Threshold float64 `json:"threshold,omitempty"`
}

// DetectorRule is what an operator ordered of an agent's watching by
// detector.monitor or, to ignore it, detector.unmonitor. It is kept in the state
// bucket.
type DetectorRule struct {
	Ignored       bool     `json:"ignored,omitempty"`
	Interval      Duration `json:"interval,omitempty"`
	StartDeadline Duration `json:"start_deadline,omitempty"`
	Threshold     float64  `json:"threshold,omitempty"`
}

// Monitoring is the request that the rule came from.
func (r DetectorRule) Monitoring(agent string) MonitorRequest {
	return MonitorRequest{Agent: agent, Interval: r.Interval, StartDeadline: r.StartDeadline, Threshold: r.Threshold}
}

// ProbeReply is the reply of detector.probe.
type ProbeReply struct {
	Agent string `json:"agent"`
	// Answer is ok, no_responders or timeout.
	Answer string   `json:"answer"`
	Took   Duration `json:"took"`
	Health Health   `json:"health"`
}

// PingReply is an agent's answer to smith.agent.<agent>.ping.
type PingReply struct {
	Incarnation uint64      `json:"incarnation"`
	Status      AgentStatus `json:"status"`
	InFlight    int         `json:"in_flight"`
	Detail      string      `json:"detail,omitempty"`
}

// AgentStopRequest is the body of smith.agent.<agent>.stop: a polite request
// to finish the work in hand and end.
type AgentStopRequest struct {
	Incarnation uint64   `json:"incarnation,omitempty"`
	Timeout     Duration `json:"timeout,omitempty"`
}

// OK is the reply of requests that have nothing else to say.
type OK struct {
	OK      bool   `json:"ok"`
	Warning string `json:"warning,omitempty"`
}

// --- supervisor: tree, status, add, remove, restart, terminate, suspend,
// resume, drain, scale, move, mode, proposals

// TreeRequest asks for a tree, or the subtree under a node, as it stands or as
// it was.
type TreeRequest struct {
	Node string `json:"node,omitempty"`
	// Moment is when; left out, it is now.
	Moment Moment `json:"moment,omitzero"`
}

// TreeReply is a tree as it stands.
type TreeReply struct {
	Tree       string `json:"tree"`
	Supervisor string `json:"supervisor"`
	// Decision is the number of the last decision, Sequence its place in the
	// event stream.
	Decision uint64 `json:"decision"`
	Sequence uint64 `json:"sequence"`
	// At is when that was decided; only of a past tree.
	At      *time.Time   `json:"at,omitempty"`
	Root    NodeView     `json:"root"`
	Runners []RunnerView `json:"runners,omitempty"`
	// Rolling is a rolling restart that is under way or was stopped.
	Rolling *RollingView `json:"rolling,omitempty"`
	// Orphans are agents on runners that no supervisor decides about.
	Orphans []Orphan `json:"orphans,omitempty"`
	// Trouble says why the supervisor can decide nothing now; the tree is then the last
	// one that it has stored.
	Trouble string `json:"trouble,omitempty"`
}

// Orphan is an agent that a runner has and no supervisor decides about: it was
// started for another tree, or for one that is not known.
type Orphan struct {
	Agent       string     `json:"agent"`
	Incarnation uint64     `json:"incarnation"`
	Runner      string     `json:"runner"`
	PID         int        `json:"pid,omitempty"`
	Tree        string     `json:"tree,omitempty"`
	Started     *time.Time `json:"started,omitempty"`
}

// NodeView is a node as operators see it.
type NodeView struct {
	Name string `json:"name"`
	// Kind is supervisor or agent.
	Kind   string     `json:"kind"`
	Type   string     `json:"type,omitempty"`
	Parent string     `json:"parent,omitempty"`
	Status NodeStatus `json:"status"`
	// Mode is an agent's mode of supervision, off, shadow or enforce, and of a
	// supervisor the setting that counts for the agents below it, such as
	// "enforce 25%, otherwise shadow".
	Mode string `json:"mode,omitempty"`
	// ModeSet tells whose setting is at this node itself: config, or runtime
	// for one that was ordered; empty where it is inherited.
	ModeSet string `json:"mode_set,omitempty"`
	// Reason says why it failed or waits.
	Reason      string     `json:"reason,omitempty"`
	Strategy    string     `json:"strategy,omitempty"`
	Restart     string     `json:"restart,omitempty"`
	Incarnation uint64     `json:"incarnation,omitempty"`
	Runner      string     `json:"runner,omitempty"`
	PID         int        `json:"pid,omitempty"`
	Restarts    int        `json:"restarts"`
	LastRestart *time.Time `json:"last_restart,omitempty"`
	// KeptDown is set for a node that an operator terminated: only an operator's
	// order starts it.
	KeptDown bool `json:"kept_down,omitempty"`
	// Orders are those of operators that stand about the node itself: terminate,
	// drain, suspend, mode, move.
	Orders []StandingOrder `json:"orders,omitempty"`
	// Scaled are the templates below a supervisor that have another count by order than
	// in the configuration.
	Scaled []ScaledTemplate `json:"scaled,omitempty"`
	// Outdated is set for an agent that runs what its specification no longer
	// says: a restart makes it run that.
	Outdated bool `json:"outdated,omitempty"`
	// Degraded is set for an agent that reports itself degraded. The detector hears
	// that: smith tree and smith why add it to what the supervisor answers.
	Degraded bool `json:"degraded,omitempty"`
	// Usage is what an agent uses. Its runner knows that: smith tree --wide adds it.
	Usage *Usage `json:"usage,omitempty"`
	// Lacks are the labels that an agent asks for and that the runner it runs on does
	// not have: its labels, or the runner's, have changed since it was started.
	Lacks map[string]string `json:"lacks,omitempty"`
	// Until is when a wait (backoff, cool-off) ends.
	Until *time.Time `json:"until,omitempty"`
	// Unsteady is set for a node that runs or comes up, and failed so lately that it
	// is not known whether it will last.
	Unsteady *Unsteady `json:"unsteady,omitempty"`
	// Dynamic is set for what was added at run time.
	Dynamic  bool           `json:"dynamic,omitempty"`
	History  []RestartEntry `json:"history,omitempty"`
	Children []NodeView     `json:"children,omitempty"`
}

// ScaledTemplate is a template whose count by order differs from the configured one. It
// lasts until the configuration has another count than that.
type ScaledTemplate struct {
	Template string `json:"template"`
	// Count is that by order, Configured that of the configuration.
	Count      int `json:"count"`
	Configured int `json:"configured"`
}

// RestartEntry is one entry of a node's restart history, the latest last.
type RestartEntry struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// RunnerView is a runner as the supervisor knows it.
type RunnerView struct {
	Runner string `json:"runner"`
	// Kind is process, or goroutine for one that takes only agents that name it.
	Kind      string            `json:"kind,omitempty"`
	Host      string            `json:"host,omitempty"`
	Available bool              `json:"available"`
	Agents    int               `json:"agents"`
	Capacity  int               `json:"capacity"`
	Labels    map[string]string `json:"labels,omitempty"`
	Seen      time.Time         `json:"seen"`
	// BootID is the boot of its host, Session the life of its process.
	BootID  string `json:"boot_id,omitempty"`
	Session string `json:"session,omitempty"`
	// Lost tells that its host is taken for gone: what it ran was given up.
	Lost bool `json:"lost,omitempty"`
	// NoResources says that its host lacks descriptors, processes, memory or
	// disk: it takes no starts for a while.
	NoResources bool `json:"no_resources,omitempty"`
	// Held says that it takes no starts until it has been compared with the tree.
	Held bool `json:"held,omitempty"`
	// Comparison is there while what it has is compared with the tree.
	Comparison *Comparison `json:"comparison,omitempty"`
	// Usage is what its agents use together, and the longest of their uptimes. It
	// knows that: smith runners --usage adds it.
	Usage *Usage `json:"usage,omitempty"`
}

// ComparisonStage is how far the comparison of a runner with the tree is.
type ComparisonStage string

// Stages of a Comparison, in their order.
const (
	// ComparisonReading: its list is being read.
	ComparisonReading ComparisonStage = "reading"
	// ComparisonWaiting: it is too early to conclude from the list; other runners
	// may have what this one lacks.
	ComparisonWaiting ComparisonStage = "waiting"
	// ComparisonStopping: it takes starts, and ends agents that are no longer
	// wanted.
	ComparisonStopping ComparisonStage = "stopping"
)

// Comparison compares what a runner has with the tree.
type Comparison struct {
	Since time.Time       `json:"since"`
	Stage ComparisonStage `json:"stage"`
	// Entries is how many entries of the runner's list have been read.
	Entries int `json:"entries"`
	// Problem is why it does not go on, if it does not.
	Problem string `json:"problem,omitempty"`
	// Overdue is set when it takes longer than 30 s.
	Overdue bool `json:"overdue,omitempty"`
}

// RunnersReply is the reply of supervisor.runners: all runners that were heard of
// in the last day.
type RunnersReply struct {
	Tree       string       `json:"tree"`
	Supervisor string       `json:"supervisor"`
	Runners    []RunnerView `json:"runners"`
}

// --- router: submit, status, agents

// SubmitReply is the reply of router.submit, whose request is a Task.
type SubmitReply struct {
	Task      string `json:"task"`
	Duplicate bool   `json:"duplicate,omitempty"`
	// Warning says when nobody can do such a task now.
	Warning string `json:"warning,omitempty"`
}

// TaskRequest names a task: router.status.
type TaskRequest struct {
	Task string `json:"task"`
}

// TaskView is a task as the router knows it; reply of router.status.
type TaskView struct {
	Task string `json:"task"`
	Type string `json:"type"`
	// Status is queued, assigned, completed, failed or dead.
	Status      string          `json:"status"`
	Agent       string          `json:"agent,omitempty"`
	Incarnation uint64          `json:"incarnation,omitempty"`
	Attempt     int             `json:"attempt,omitempty"`
	Result      json.RawMessage `json:"result,omitempty"`
	Error       string          `json:"error,omitempty"`
	Since       *time.Time      `json:"since,omitempty"`
	History     []TaskAttempt   `json:"history,omitempty"`
}

// RouterView is the reply of router.agents: who can take what.
type RouterView struct {
	Agents []RouterAgent `json:"agents"`
	Types  []RouterType  `json:"types"`
	// Counters since the router's first start.
	Submitted    uint64 `json:"submitted"`
	Completed    uint64 `json:"completed"`
	Failed       uint64 `json:"failed"`
	Reassigned   uint64 `json:"reassigned"`
	DeadLettered uint64 `json:"dead_lettered"`
}

// RouterAgent is an agent as the router knows it.
type RouterAgent struct {
	Agent        string   `json:"agent"`
	Type         string   `json:"type,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
	Incarnation  uint64   `json:"incarnation"`
	Available    bool     `json:"available"`
	// Reason says why it is not available.
	Reason   string `json:"reason,omitempty"`
	InFlight int    `json:"in_flight"`
	Capacity int    `json:"capacity"`
}

// RouterType is a task type and its queue.
type RouterType struct {
	Type     string `json:"type"`
	Queued   uint64 `json:"queued"`
	Assigned int    `json:"assigned"`
	// Able is the number of agents that could take it.
	Able int `json:"able"`
}

// --- eventstore: query, get, correlation, replay, why, stats

// EventFilter selects events; empty fields select all. All given fields must
// match, and of a list any.
type EventFilter struct {
	From         *time.Time  `json:"from,omitempty"`
	To           *time.Time  `json:"to,omitempty"`
	Types        []EventType `json:"types,omitempty"`
	Sources      []string    `json:"sources,omitempty"`
	Entity       string      `json:"entity,omitempty"`
	Correlations []string    `json:"correlations,omitempty"`
}

// QueryRequest asks for a page of events, oldest first.
type QueryRequest struct {
	EventFilter
	// Cursor is the Next of the page before; Limit defaults to 100, at most
	// 1,000. A page ends early where it would exceed the message size or the
	// search takes too long, so it may be empty and still have a Next.
	Cursor uint64 `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"`
	// Last asks for the newest Limit events instead, still oldest first.
	Last bool `json:"last,omitempty"`
}

// StoredEvent is an event and its place in the stream.
type StoredEvent struct {
	Sequence uint64 `json:"sequence"`
	Event    Event  `json:"event"`
}

// EventsReply is a page of events.
type EventsReply struct {
	Events []StoredEvent `json:"events"`
	// Next is the Cursor of the next page; 0 at the end.
	Next uint64 `json:"next,omitempty"`
}

// EventRequest asks for one event: eventstore.get.
type EventRequest struct {
	ID string `json:"id"`
}

// CorrelationRequest asks for the events of one story, oldest first.
type CorrelationRequest struct {
	ID     string `json:"id"`
	Cursor uint64 `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"`
}

// ReplayRequest asks for events to be sent again to the request's reply
// subject: each as an event message with the header Smith-Sequence, then an
// empty message with the header Smith-End whose value is the count, or with
// Smith-Error. At least every 256 events one carries the header Smith-Flow: the
// store goes on when an empty message comes on the subject it names. While it
// waits for an event's time the store sends empty messages with the header
// Smith-Idle, whose value is that time. Unsubscribing ends a replay.
type ReplayRequest struct {
	EventFilter
	// Speed is the pace against the original: 1 as it was, 10 ten times as
	// fast, 0 at once. Events come as far apart as they were stored.
	Speed float64 `json:"speed,omitempty"`
	// Limit ends the replay after so many events; 0 means all that are stored
	// when it begins.
	Limit int `json:"limit,omitempty"`
	// Cursor is the last sequence already received, to take up a replay that
	// broke off.
	Cursor uint64 `json:"cursor,omitempty"`
}

// Headers of replayed events.
const (
	HeaderSequence = "Smith-Sequence"
	HeaderEnd      = "Smith-End"
	HeaderError    = "Smith-Error"
	HeaderFlow     = "Smith-Flow"
	HeaderIdle     = "Smith-Idle"
)

// StoreStats is the reply of eventstore.stats.
type StoreStats struct {
	Events        uint64     `json:"events"`
	Bytes         uint64     `json:"bytes"`
	FirstSequence uint64     `json:"first_sequence"`
	LastSequence  uint64     `json:"last_sequence"`
	Indexed       uint64     `json:"indexed_sequence"`
	Rejected      uint64     `json:"rejected"`
	Oldest        *time.Time `json:"oldest,omitempty"`
	Newest        *time.Time `json:"newest,omitempty"`
}
