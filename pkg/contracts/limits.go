package contracts

import "time"

// Limits on what crosses the wire. A message beyond its limit is refused where
// it enters.
const (
	// MaxHeartbeatBytes bounds a heartbeat's body.
	MaxHeartbeatBytes = 4 << 10
	// MaxHeartbeatDetail bounds why an agent is stuck.
	MaxHeartbeatDetail = 256
	// MaxEventBytes bounds an event's JSON, below the NATS default of 1 MiB.
	MaxEventBytes = 768 << 10
	// MaxSourceBytes bounds an event's source.
	MaxSourceBytes = 256
	// MaxReferenceBytes bounds what points elsewhere: correlation and causation
	// ids and trace contexts.
	MaxReferenceBytes = 128
	// MaxTaskBytes bounds a task's JSON.
	MaxTaskBytes = 256 << 10
	// MaxResultBytes bounds a task result's value or error text.
	MaxResultBytes = 256 << 10
	// MaxRequestBytes bounds a request to a service or runner.
	MaxRequestBytes = 256 << 10
	// MaxCommandArgs and MaxEnvVars bound a start command.
	MaxCommandArgs = 256
	MaxEnvVars     = 256
	// MaxCapabilities bounds what one agent can declare.
	MaxCapabilities = 64
	// MaxOutputTail bounds the last output carried by an exit event.
	MaxOutputTail = 4 << 10
	// MaxCapacity bounds the tasks one agent may work on at once.
	MaxCapacity = 10_000
)

// Defaults shared by those who send and those who judge.
const (
	DefaultHeartbeatInterval = 5 * time.Second
	DefaultShutdownTimeout   = 5 * time.Second
	DefaultStartDeadline     = 30 * time.Second
	DefaultStabilisation     = 500 * time.Millisecond

	// MinHeartbeatInterval and MaxHeartbeatInterval bound what an agent may
	// declare.
	MinHeartbeatInterval = 10 * time.Millisecond
	MaxHeartbeatInterval = time.Hour

	// RunnerAnnounceInterval is how often a runner announces itself; one not
	// heard for RunnerTimeout gets no new starts.
	RunnerAnnounceInterval = time.Second
	RunnerTimeout          = 5 * time.Second
)
