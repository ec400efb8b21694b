package contracts

// Environment variables a runner sets for the agents it starts.
const (
	EnvNATSURL           = "SMITH_NATS_URL"
	EnvNATSCreds         = "SMITH_NATS_CREDS"
	EnvNATSCA            = "SMITH_NATS_CA"
	EnvAgent             = "SMITH_AGENT"
	EnvIncarnation       = "SMITH_INCARNATION"
	EnvRunner            = "SMITH_RUNNER"
	EnvType              = "SMITH_TYPE"
	EnvCapabilities      = "SMITH_CAPABILITIES"
	EnvCapacity          = "SMITH_CAPACITY"
	EnvHeartbeatInterval = "SMITH_HEARTBEAT_INTERVAL"
	// EnvShutdownTimeout is how long after SIGTERM the agent is killed.
	EnvShutdownTimeout = "SMITH_SHUTDOWN_TIMEOUT"
)
