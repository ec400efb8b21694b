package fleet

import "time"

// Kind is what a finding says.
type Kind uint8

// The kinds of findings.
const (
	// Created: an agent nobody announced beats.
	Created Kind = iota + 1
	// Failed: an agent is taken for dead or hung.
	Failed
	// Recovered: an agent taken for dead lives, in the same incarnation.
	Recovered
	// BandChanged: the health band is another.
	BandChanged
	// ProbeWanted: a ping could tell more.
	ProbeWanted
	// Stalled: the detector itself stood still.
	Stalled
	// Full: an unannounced agent was refused or another forgotten for it.
	Full
	// WentBack: a heartbeat's sequence number is not higher than the last.
	WentBack
	// Conflict: two processes beat as one agent.
	Conflict
)

// Band is the health band of an agent.
type Band uint8

// The bands: Unknown before any evidence, Healthy below half the threshold,
// Degraded from half, Unhealthy at the threshold.
const (
	Unknown Band = iota
	Healthy
	Degraded
	Unhealthy
	bands
)

// Reason is why an agent was found failed.
type Reason string

// The detector's reasons.
const (
	HeartbeatTimeout  Reason = "heartbeat_timeout"
	NoFirstHeartbeat  Reason = "no_first_heartbeat"
	HealthCheckFailed Reason = "health_check_failed"
	Hung              Reason = "hung"
	ConnectionLost    Reason = "connection_lost"
	StoppingTimeout   Reason = "stopping_timeout"
)

// Rule is what spoke.
type Rule string

// The rules.
const (
	RulePhi           Rule = "phi"
	RuleMissedBeats   Rule = "missed_beats"
	RuleStartDeadline Rule = "start_deadline"
	// RuleType is what young agents of the same type did.
	RuleType     Rule = "type"
	RuleProgress Rule = "progress"
	// RuleWatchdog is the one that an agent has itself.
	RuleWatchdog   Rule = "watchdog"
	RuleProbe      Rule = "probe"
	RuleConnection Rule = "connection"
	// RuleShutdownTimeout is how long an agent may take to end.
	RuleShutdownTimeout Rule = "shutdown_timeout"
)

// Since is what the time without a heartbeat is counted from.
type Since uint8

const (
	// SinceStart: its start, of which the detector heard as it happened.
	SinceStart Since = iota
	// SinceHeartbeat: its last heartbeat.
	SinceHeartbeat
	// SinceListening: it was started before this detector listened, which
	// cannot know whether it has beaten since.
	SinceListening
	// SinceOrder: an operator's order to monitor it.
	SinceOrder
)

// Evidence is what was known when a finding was made.
type Evidence struct {
	Phi, Threshold float64
	// Elapsed is the time since the last heartbeat, or since what Since says
	// when there was none, by the detector's clock and including its own stalls.
	Elapsed time.Duration
	Since   Since
	// Stopping is how long ago it said that it stops, where it has not ended,
	// and MayStop how long it may take.
	Stopping, MayStop time.Duration
	Interval          time.Duration
	Samples           int
	Rule              Rule
}

// Finding is something the detector concluded.
type Finding struct {
	Kind        Kind
	Agent       string
	Incarnation uint64
	About       About
	Reason      Reason   // Failed
	Detail      string   // Failed: what the agent said of it
	Evidence    Evidence // Failed, BandChanged
	From, To    Band     // BandChanged
	// Seq and LastSeq are the numbers of a heartbeat that went back and of the
	// one before it.
	Seq, LastSeq uint64
	// Instances are the two processes (Conflict, and Created of another life):
	// the one that counts first.
	Instances [2]string
	// For is how long the agent was taken for dead (Recovered), or the
	// detector stood still (Stalled).
	For time.Duration
	// Process is known where the agent counts its heartbeats (Recovered).
	Process Process
	// OfRunner: its runner beats for it, and is to be asked instead of it (Failed,
	// ProbeWanted).
	OfRunner bool
}

// Process tells whether an agent beats on or was started anew.
type Process uint8

// Processes. Who does not count its heartbeats does not tell.
const (
	UntoldProcess Process = iota
	SameProcess
	NewProcess
)
