package contracts

import (
	"errors"
	"fmt"
	"time"
)

// AgentStatus is what an agent says of itself.
type AgentStatus string

// An empty status means running.
const (
	StatusRunning  AgentStatus = "running"
	StatusBusy     AgentStatus = "busy"
	StatusDegraded AgentStatus = "degraded"
	// StatusStuck: the watchdog of its own program ran out. It is judged at once.
	StatusStuck    AgentStatus = "stuck"
	StatusStopping AgentStatus = "stopping"
	StatusStopped  AgentStatus = "stopped"
)

// AgentStatuses lists every status.
func AgentStatuses() []AgentStatus {
	return []AgentStatus{StatusRunning, StatusBusy, StatusDegraded, StatusStuck, StatusStopping, StatusStopped}
}

// TypeRunner is the type a runner beats with.
const TypeRunner = "runner"

// ErrHeartbeat tells that a heartbeat is malformed.
var ErrHeartbeat = errors.New("invalid heartbeat")

// Heartbeat says that an agent lives. The body may be empty; every field is
// optional.
type Heartbeat struct {
	// Incarnation is the number of the start that this process came from; 0
	// for agents that nobody supervises.
	Incarnation uint64 `json:"incarnation,omitempty"`
	// Seq counts this process's beats, from 1.
	Seq uint64 `json:"seq,omitempty"`
	// Interval is how often the agent means to beat.
	Interval     Duration    `json:"interval,omitempty"`
	Type         string      `json:"type,omitempty"`
	Capabilities []string    `json:"capabilities,omitempty"`
	Status       AgentStatus `json:"status,omitempty"`
	// InFlight is the number of tasks in work, Capacity how many may be.
	InFlight int `json:"in_flight,omitempty"`
	Capacity int `json:"capacity,omitempty"`
	// Progress grows as real work gets done. Standing still past BusyUntil
	// means hung, though the heart beats.
	Progress  uint64     `json:"progress,omitempty"`
	BusyUntil *time.Time `json:"busy_until,omitempty"`
	// Runner is the runner that sends it for an agent that does not beat itself.
	Runner string `json:"runner,omitempty"`
	// Detail says why the status is stuck, for people.
	Detail string `json:"detail,omitempty"`
}

// DecodeHeartbeat reads a heartbeat; an empty body is the zero Heartbeat.
func DecodeHeartbeat(body []byte) (Heartbeat, error) {
	var h Heartbeat
	if len(body) == 0 {
		return h, nil
	}
	if len(body) > MaxHeartbeatBytes {
		return h, fmt.Errorf("%w: %d bytes; at most %d", ErrHeartbeat, len(body), MaxHeartbeatBytes)
	}
	if err := decodeObject(body, &h); err != nil {
		return Heartbeat{}, fmt.Errorf("%w: neither empty nor a JSON object: %w", ErrHeartbeat, err)
	}
	if err := h.Validate(); err != nil {
		return Heartbeat{}, err
	}
	return h, nil
}

// Validate reports why the heartbeat is not valid, or nil.
func (h Heartbeat) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if d := h.Interval.D(); d != 0 && (d < MinHeartbeatInterval || d > MaxHeartbeatInterval) {
		add("interval: %s is outside %s to %s", d, MinHeartbeatInterval, MaxHeartbeatInterval)
	}
	if h.Type != "" {
		if err := ValidateID(h.Type); err != nil {
			add("type: %w", err)
		}
	}
	if h.Runner != "" {
		if err := ValidateID(h.Runner); err != nil {
			add("runner: %w", err)
		}
	}
	if err := validateCapabilities(h.Capabilities); err != nil {
		errs = append(errs, err)
	}
	switch h.Status {
	case "", StatusRunning, StatusBusy, StatusDegraded, StatusStuck, StatusStopping, StatusStopped:
	default:
		add("status: %.32q; use running, busy, degraded, stuck, stopping or stopped", string(h.Status))
	}
	if len(h.Detail) > MaxHeartbeatDetail {
		add("detail: %d bytes; at most %d", len(h.Detail), MaxHeartbeatDetail)
	}
	if h.InFlight < 0 || h.InFlight > MaxCapacity {
		add("in_flight: %d is outside 0 to %d", h.InFlight, MaxCapacity)
	}
	if h.Capacity < 0 || h.Capacity > MaxCapacity {
		add("capacity: %d is outside 0 to %d", h.Capacity, MaxCapacity)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrHeartbeat, err)
	}
	return nil
}

func validateCapabilities(caps []string) error {
	if len(caps) > MaxCapabilities {
		return fmt.Errorf("capabilities: %d; at most %d", len(caps), MaxCapabilities)
	}
	for i, c := range caps {
		if err := ValidateID(c); err != nil {
			return fmt.Errorf("capabilities[%d]: %w", i, err)
		}
	}
	return nil
}
