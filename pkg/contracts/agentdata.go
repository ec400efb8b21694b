package contracts

import "time"

// FailureReason says what kind of evidence found a failure.
type FailureReason string

// Reasons of agent.failed.
const (
	// ReasonExited: the runner saw the process end though nobody had asked.
	ReasonExited FailureReason = "exited"
	// ReasonPanicked: a goroutine agent panicked.
	ReasonPanicked FailureReason = "panicked"
	// ReasonHeartbeatTimeout: silence beyond the suspicion threshold.
	ReasonHeartbeatTimeout FailureReason = "heartbeat_timeout"
	// ReasonNoFirstHeartbeat: started, but never beat within its start deadline.
	ReasonNoFirstHeartbeat FailureReason = "no_first_heartbeat"
	// ReasonHealthCheckFailed: a probe was not answered, or answered unhealthy.
	ReasonHealthCheckFailed FailureReason = "health_check_failed"
	// ReasonOutputSilent: it printed nothing for longer than it may.
	ReasonOutputSilent FailureReason = "output_silent"
	// ReasonMaxRuntime: it ran for longer than one incarnation may.
	ReasonMaxRuntime FailureReason = "max_runtime"
	// ReasonMaxMemory: its processes took more memory than they may.
	ReasonMaxMemory FailureReason = "max_memory"
	// ReasonConnectionLost: the server says that the connection it beat on is
	// closed, and it did not come back in time.
	ReasonConnectionLost FailureReason = "connection_lost"
	// ReasonHung: its own watchdog says so, or it beats, but its work stands still
	// past busy_until.
	ReasonHung FailureReason = "hung"
	// ReasonStoppingTimeout: it said that it stops, and lives on.
	ReasonStoppingTimeout FailureReason = "stopping_timeout"
	// ReasonStartFailed: the runner could not start it.
	ReasonStartFailed FailureReason = "start_failed"
	// ReasonUnverified: started, but not verified as healthy in time.
	ReasonUnverified FailureReason = "unverified"
	// ReasonHostLost: its runner's host is gone, or was until now.
	ReasonHostLost FailureReason = "host_lost"
)

// Health is the detector's opinion of an agent.
type Health string

// Healthy is below half the threshold, degraded from half, unhealthy at the
// threshold, unknown before any evidence.
const (
	HealthUnknown   Health = "unknown"
	HealthHealthy   Health = "healthy"
	HealthDegraded  Health = "degraded"
	HealthUnhealthy Health = "unhealthy"
)

// AgentCreatedData is the data of agent.created: an agent that nobody announced
// was seen to beat.
type AgentCreatedData struct {
	Agent       string `json:"agent"`
	Type        string `json:"type,omitempty"`
	Incarnation uint64 `json:"incarnation"`
	// Instance names the process where it takes the place of another, whose
	// failure or silence is over with it.
	Instance     string   `json:"instance,omitempty"`
	Interval     Duration `json:"interval,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
	Capacity     int      `json:"capacity,omitempty"`
}

// AgentStartedData is the data of agent.started: a runner started a process. That
// it works is only known when its heartbeat comes.
type AgentStartedData struct {
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	// Runner is the one that started it; empty where it was started by hand.
	Runner       string   `json:"runner,omitempty"`
	PID          int      `json:"pid,omitempty"`
	Type         string   `json:"type,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
	Capacity     int      `json:"capacity,omitempty"`
	Interval     Duration `json:"heartbeat_interval,omitempty"`
	// StartDeadline is how long after this event the first heartbeat may take.
	StartDeadline Duration `json:"start_deadline,omitempty"`
	// ShutdownTimeout is how long it may take to end when it is to.
	ShutdownTimeout Duration `json:"shutdown_timeout,omitempty"`
	// Heartbeats says who sends its heartbeats; empty means the agent.
	Heartbeats string `json:"heartbeats,omitempty"`
}

// StopReason says why an expected end happened.
type StopReason string

// Reasons of agent.stopped.
const (
	// StopRequested: it was ordered to stop.
	StopRequested StopReason = "requested"
	// StopCompleted: it ended by itself with exit code 0.
	StopCompleted StopReason = "completed"
)

// AgentStoppedData is the data of agent.stopped: an end that is no failure.
type AgentStoppedData struct {
	Agent       string     `json:"agent"`
	Incarnation uint64     `json:"incarnation"`
	Runner      string     `json:"runner,omitempty"`
	Reason      StopReason `json:"reason"`
	Exit        *Exit      `json:"exit,omitempty"`
}

// Exit is how a process ended.
type Exit struct {
	// Code is the exit status, or -1 when a signal ended it or it is unknown.
	Code int `json:"code"`
	// Signal is the name of the signal that ended it, such as "SIGKILL".
	Signal string `json:"signal,omitempty"`
	// Core is set when the signal left a core dump.
	Core bool `json:"core,omitempty"`
	// Unknown is set when the end was seen, but its status was lost because
	// the runner was away.
	Unknown bool `json:"unknown,omitempty"`
	// OutOfMemory is set when the kernel ended it, or a part of it, because it
	// reached its memory limit.
	OutOfMemory bool `json:"out_of_memory,omitempty"`
	// Blame names what ended it where that was not the agent itself.
	Blame Blame `json:"blame,omitempty"`
	// Health is how its last health check failed, where it did.
	Health string `json:"health,omitempty"`
	// Tail is the last output, at most MaxOutputTail bytes.
	Tail string    `json:"tail,omitempty"`
	At   time.Time `json:"at"`
	// Lived is for how long the process ran, whatever the clock was set to
	// meanwhile, in hundredths of a second; left out where the end was not seen.
	Lived Duration `json:"lived,omitempty"`
	// Used is what it used; left out where its parent was lost.
	Used *Resources `json:"used,omitempty"`
}

// Resources is what a process has used in all its life, together with those of its
// descendants that ended and were waited for by their parents.
type Resources struct {
	// User is the processor time of the programs themselves, System that of the
	// kernel on their behalf.
	User   Duration `json:"user"`
	System Duration `json:"system"`
	// PeakMemory is the most memory that one of them had at once, in bytes.
	PeakMemory int64 `json:"peak_memory"`
	// AtMost says that PeakMemory is only a bound. The kernel counts a program's
	// memory from that of the process which starts it.
	AtMost bool `json:"at_most,omitempty"`
}

// AgentFailedData is the data of agent.failed, whoever found it.
type AgentFailedData struct {
	Agent       string        `json:"agent"`
	Incarnation uint64        `json:"incarnation"`
	Reason      FailureReason `json:"reason"`
	// Type is the agent's type, where known.
	Type   string `json:"type,omitempty"`
	Runner string `json:"runner,omitempty"`
	// Detail is the evidence in one sentence, for people.
	Detail string `json:"detail,omitempty"`
	Exit   *Exit  `json:"exit,omitempty"`
	// Silence is the evidence of a verdict by the detector.
	Silence *Silence `json:"silence,omitempty"`
	// Held is how long the verdict was held because many fell silent together;
	// the event's cause is then the finding that says so.
	Held Duration `json:"held,omitempty"`
}

// Silence is what the detector knew when it spoke.
type Silence struct {
	Phi       float64 `json:"phi"`
	Threshold float64 `json:"threshold"`
	// LastHeartbeat is when the last beat arrived; nil when there was none.
	LastHeartbeat *time.Time `json:"last_heartbeat,omitempty"`
	// Elapsed is the time since then, by the detector's monotonic clock.
	Elapsed  Duration `json:"elapsed"`
	Interval Duration `json:"interval"`
	Samples  int      `json:"samples"`
	// Rule says which rule spoke: phi, missed_beats, type (what young agents of
	// the type did), start_deadline, progress, watchdog, probe, connection or
	// shutdown_timeout.
	Rule string `json:"rule"`
}

// AgentRecoveredData is the data of agent.recovered: an agent declared failed
// beats again in the same incarnation; the verdict was a mistake or its cause
// has passed.
type AgentRecoveredData struct {
	Agent       string   `json:"agent"`
	Incarnation uint64   `json:"incarnation"`
	Down        Duration `json:"down"`
	// Reason and Rule are those of the verdict that is taken back.
	Reason FailureReason `json:"reason,omitempty"`
	Rule   string        `json:"rule,omitempty"`
	// Process is same or new where the agent counts its heartbeats: a new
	// process begins to count anew. Empty: not known.
	Process string `json:"process,omitempty"`
}

// Values of AgentRecoveredData.Process.
const (
	ProcessSame = "same"
	ProcessNew  = "new"
)

// AgentStateChangedData is the data of agent.state_changed.
type AgentStateChangedData struct {
	Agent       string  `json:"agent"`
	Incarnation uint64  `json:"incarnation"`
	From        Health  `json:"from"`
	To          Health  `json:"to"`
	Phi         float64 `json:"phi,omitempty"`
}

// AgentConflictData is the data of agent.conflict: two processes beat under one
// name and incarnation.
type AgentConflictData struct {
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	// Detail is the evidence in one sentence, for people.
	Detail string `json:"detail"`
	// Connections are those that the agent is known to beat on, where the
	// server tells.
	Connections []Connection `json:"connections,omitempty"`
}

// Connection is a client's connection to NATS as its server describes it.
type Connection struct {
	Name string `json:"name"`
	// Server is the id of the server, ID the connection's number there.
	Server string    `json:"server,omitempty"`
	ID     uint64    `json:"id,omitempty"`
	Host   string    `json:"host,omitempty"`
	Since  time.Time `json:"since"`
}

// AgentMessageData is the data of agent.message_received and message_processed.
type AgentMessageData struct {
	Agent     string   `json:"agent"`
	MessageID string   `json:"message_id"`
	From      string   `json:"from,omitempty"`
	Kind      string   `json:"kind,omitempty"`
	Took      Duration `json:"took,omitempty"`
	Error     string   `json:"error,omitempty"`
}
