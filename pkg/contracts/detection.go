package contracts

import "time"

// --- detector: explain, recording

// ExplainReply says what the detector makes of an agent and why; reply of
// detector.explain, which takes an AgentRequest.
type ExplainReply struct {
	View AgentView `json:"view"`
	// Recent are the agent's last intervals between heartbeats that the
	// detector remembers, oldest first, at most 1,000.
	Recent []Duration `json:"recent,omitempty"`
	// Levels say after how much silence suspicion reaches whole levels.
	Levels []SuspicionLevel `json:"levels,omitempty"`
	// Settings are those by which it is judged.
	Settings DetectionSettings `json:"settings"`
}

// SuspicionLevel is the silence after which phi reaches a level.
type SuspicionLevel struct {
	Phi   float64  `json:"phi"`
	After Duration `json:"after"`
}

// DetectionSettings are the rules by which the detector judges, as in the
// section failure_detection; what is left out has its default.
type DetectionSettings struct {
	Algorithm            string   `json:"algorithm"`
	PhiThreshold         float64  `json:"phi_threshold,omitempty"`
	TargetMistakesPerDay float64  `json:"target_mistakes_per_day,omitempty"`
	SamplingWindowSize   int      `json:"sampling_window_size,omitempty"`
	FailureThreshold     int      `json:"failure_threshold,omitempty"`
	MinSamples           int      `json:"min_samples,omitempty"`
	HeartbeatInterval    Duration `json:"heartbeat_interval,omitempty"`
	StartDeadline        Duration `json:"start_deadline,omitempty"`
	MinStdDeviation      Duration `json:"min_std_deviation,omitempty"`
	MaxStdDeviation      Duration `json:"max_std_deviation,omitempty"`
	// Agents have rules of their own.
	Agents map[string]AgentThresholds `json:"agents,omitempty"`
}

// AgentThresholds are rules of one agent.
type AgentThresholds struct {
	PhiThreshold     float64 `json:"phi_threshold,omitempty"`
	FailureThreshold int     `json:"failure_threshold,omitempty"`
}

// RecordingRequest asks what the detector heard: detector.recording. It
// remembers the last entries of the whole fleet.
type RecordingRequest struct {
	// Agents to hear of; none means all.
	Agents []string `json:"agents,omitempty"`
	// After is the Next of the page before, 0 for the oldest there is; Limit
	// defaults to 1,000, at most 2,000.
	After uint64 `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// MaxRecordedAgents bounds the agents that a RecordingRequest names.
const MaxRecordedAgents = 100

// RecordingReply is a page of what the detector heard.
type RecordingReply struct {
	// Detector tells one run of the detector from another; with another one
	// entries are numbered anew.
	Detector string            `json:"detector"`
	Settings DetectionSettings `json:"settings"`
	Entries  []RecordedEntry   `json:"entries"`
	// Next is the After of the next page; without More there is none yet.
	Next uint64 `json:"next"`
	More bool   `json:"more,omitempty"`
	// Lost is how many entries after the one asked for are forgotten.
	Lost uint64 `json:"lost,omitempty"`
}

// RecordedKind says what an entry of a recording is.
type RecordedKind string

// The kinds of entries: a heartbeat came; somebody announced a start; an end was
// proven; the detector could not hear; it can again, with grace for all, or
// without since it missed nothing; it had stood still itself.
const (
	RecordedBeat      RecordedKind = "beat"
	RecordedStarted   RecordedKind = "started"
	RecordedEnded     RecordedKind = "ended"
	RecordedSuspended RecordedKind = "suspended"
	RecordedResumed   RecordedKind = "resumed"
	RecordedContinued RecordedKind = "continued"
	RecordedStalled   RecordedKind = "stalled"
)

// RecordedEntry is one thing that the detector heard.
type RecordedEntry struct {
	// At is by the detector's own clock, since its start.
	At   Duration     `json:"at"`
	Kind RecordedKind `json:"kind"`
	// Agent is empty where it is about the detector.
	Agent       string   `json:"agent,omitempty"`
	Type        string   `json:"type,omitempty"`
	Incarnation uint64   `json:"incarnation,omitempty"`
	Instance    string   `json:"instance,omitempty"`
	Seq         uint64   `json:"seq,omitempty"`
	Interval    Duration `json:"interval,omitempty"`
	// Leaving: the heartbeat is the last.
	Leaving bool `json:"leaving,omitempty"`
	// For is how long the detector stood still, the grace with which it
	// resumed, or the deadline of a start.
	For Duration `json:"for,omitempty"`
}

// AgentView is what the detector knows of an agent; reply of detector.status.
type AgentView struct {
	Agent       string      `json:"agent"`
	Type        string      `json:"type,omitempty"`
	Runner      string      `json:"runner,omitempty"`
	Incarnation uint64      `json:"incarnation"`
	Health      Health      `json:"health"`
	Status      AgentStatus `json:"status,omitempty"`
	Phi         float64     `json:"phi"`
	Threshold   float64     `json:"threshold"`
	Interval    Duration    `json:"interval"`
	Samples     int         `json:"samples"`
	// Silence is what counts as the agent's silence now, DegradedAfter and
	// FailedAfter how much of it makes the agent degraded and failed, and Rule
	// what says so: phi, missed_beats, type, start_deadline or shutdown_timeout.
	Silence       Duration `json:"silence,omitempty"`
	DegradedAfter Duration `json:"degraded_after,omitempty"`
	FailedAfter   Duration `json:"failed_after,omitempty"`
	Rule          string   `json:"rule,omitempty"`
	// Failure is why it is taken for failed, while it is.
	Failure FailureReason `json:"failure,omitempty"`
	// Mistakes are the verdicts on it that were taken back.
	Mistakes int `json:"mistakes,omitempty"`
	// LastHeartbeat is nil before the first.
	LastHeartbeat *time.Time `json:"last_heartbeat,omitempty"`
	Capabilities  []string   `json:"capabilities,omitempty"`
	InFlight      int        `json:"in_flight,omitempty"`
	Capacity      int        `json:"capacity,omitempty"`
	// Held: a verdict on it is held, because many fell silent together.
	Held bool `json:"held,omitempty"`
	// AwaitsRunner: a verdict on it waits, because its runner, which sends its
	// heartbeats, is silent as well.
	AwaitsRunner bool `json:"awaits_runner,omitempty"`
	// Stopping is how long ago it said that it stops, if it has not ended since,
	// and MayStop how long it may take to.
	Stopping Duration `json:"stopping,omitempty"`
	MayStop  Duration `json:"may_stop,omitempty"`
	// Usage is what it uses. Its runner knows that: smith agents --usage adds it.
	Usage *Usage `json:"usage,omitempty"`
}
