package contracts

// SystemLifecycleData is the data of system.started, stopping and stopped.
type SystemLifecycleData struct {
	Service string `json:"service"`
	// Instance tells apart two processes of one service.
	Instance string `json:"instance"`
	Version  string `json:"version,omitempty"`
	Host     string `json:"host,omitempty"`
	PID      int    `json:"pid,omitempty"`
	// Problems lists shutdown phases that failed or timed out.
	Problems []string `json:"problems,omitempty"`
}

// SystemHealthData is the data of system.health_check_passed and failed: what a
// service found about itself.
type SystemHealthData struct {
	Service string `json:"service"`
	Check   string `json:"check"`
	Detail  string `json:"detail,omitempty"`
	// For is how long the trouble lasted, where known.
	For Duration `json:"for,omitempty"`
}

// CorrelatedSilenceData is the data of system.correlated_silence, a finding that
// a large part of a group fell silent together, and of
// system.correlated_silence_over, which tells what became of it. The events'
// subject is the group's name, "fleet" for all.
type CorrelatedSilenceData struct {
	// Kind is what they share: runner, type or fleet. Name is which; it is
	// empty for the fleet.
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	// Size is how many agents the group had, Silent how many of them were
	// silent when the finding began.
	Size   int `json:"size"`
	Silent int `json:"silent"`
	// Agents names some of them, at most 20.
	Agents []string `json:"agents,omitempty"`
	// Hold is how long each verdict is held, ReleaseRate how many are then
	// released in a second.
	Hold        Duration `json:"hold,omitempty"`
	ReleaseRate float64  `json:"release_rate,omitempty"`
	Detail      string   `json:"detail,omitempty"`
	// When it is over: how long it lasted, and how many of the verdicts held
	// were taken back because the agent was heard again, were made needless by
	// a proven end, and were released.
	For      Duration `json:"for,omitempty"`
	Back     int      `json:"back,omitempty"`
	Proven   int      `json:"proven,omitempty"`
	Released int      `json:"released,omitempty"`
	// Merged is set when a finding about a wider group took this one's place.
	Merged bool `json:"merged,omitempty"`
}

// Kinds of groups that fall silent together, and what the events about the
// fleet name.
const (
	GroupRunner = "runner"
	GroupType   = "type"
	GroupFleet  = "fleet"
)

// SystemConfigurationData is the data of system.configuration_changed.
type SystemConfigurationData struct {
	Service string   `json:"service"`
	Changed []string `json:"changed,omitempty"`
}

// SystemPoolData is the data of system.resource_pool_exhausted.
type SystemPoolData struct {
	Service string `json:"service"`
	Pool    string `json:"pool"`
	Limit   int    `json:"limit"`
	Detail  string `json:"detail,omitempty"`
}

// SystemBreakerData is the data of system.circuit_breaker_open and closed.
type SystemBreakerData struct {
	Service string `json:"service"`
	Breaker string `json:"breaker"`
	From    string `json:"from"`
	To      string `json:"to"`
	Reason  string `json:"reason,omitempty"`
}

// SystemRejectedData is the data of system.message_rejected: a message that could
// not be understood was counted and set aside. It never carries the body.
type SystemRejectedData struct {
	Service string `json:"service"`
	// Origin is the subject it came on, shortened to 256 bytes.
	Origin string `json:"origin"`
	// Sequence is its place in the stream it came from, if any.
	Sequence uint64 `json:"sequence,omitempty"`
	Size     int    `json:"size"`
	Cause    string `json:"cause"`
	// SetAside is the subject under smith.dead. that now holds it, if any.
	SetAside string `json:"set_aside,omitempty"`
	// Suppressed counts rejections of the same origin since the last report,
	// which is rate-limited.
	Suppressed int `json:"suppressed,omitempty"`
}

// ToolData is the data of every tool event.
type ToolData struct {
	Tool      string   `json:"tool"`
	Agent     string   `json:"agent,omitempty"`
	Execution string   `json:"execution,omitempty"`
	Took      Duration `json:"took,omitempty"`
	Error     string   `json:"error,omitempty"`
	// Permission is what was missing, for tool.permission_denied.
	Permission string `json:"permission,omitempty"`
}
