package contracts

import (
	"errors"
	"fmt"
	"strings"
)

// Event families: the first word of an event's type.
const (
	FamilySystem = "system"
	FamilyAgent  = "agent"
	FamilyTool   = "tool"
	FamilyTask   = "task"
	FamilyTree   = "tree"
	FamilyCustom = "custom"
)

// EventType is a CloudEvents type: smith.<family>.<name>. Types are compared
// whole: a filter for smith.agent.created does not match smith.agent.failed.
type EventType string

// Every type that MisterSmith itself knows. Beside these, any
// smith.custom.<name> is valid.
const (
	SystemStarted              EventType = "smith.system.started"
	SystemStopping             EventType = "smith.system.stopping"
	SystemStopped              EventType = "smith.system.stopped"
	SystemHealthCheckPassed    EventType = "smith.system.health_check_passed"
	SystemHealthCheckFailed    EventType = "smith.system.health_check_failed"
	SystemConfigurationChanged EventType = "smith.system.configuration_changed"
	SystemPoolExhausted        EventType = "smith.system.resource_pool_exhausted"
	SystemBreakerOpen          EventType = "smith.system.circuit_breaker_open"
	SystemBreakerClosed        EventType = "smith.system.circuit_breaker_closed"
	SystemMessageRejected      EventType = "smith.system.message_rejected"

	SystemCorrelatedSilence     EventType = "smith.system.correlated_silence"
	SystemCorrelatedSilenceOver EventType = "smith.system.correlated_silence_over"

	AgentCreated          EventType = "smith.agent.created"
	AgentStarted          EventType = "smith.agent.started"
	AgentStopped          EventType = "smith.agent.stopped"
	AgentFailed           EventType = "smith.agent.failed"
	AgentRecovered        EventType = "smith.agent.recovered"
	AgentMessageReceived  EventType = "smith.agent.message_received"
	AgentMessageProcessed EventType = "smith.agent.message_processed"
	AgentStateChanged     EventType = "smith.agent.state_changed"
	AgentConflict         EventType = "smith.agent.conflict"

	ToolRegistered         EventType = "smith.tool.registered"
	ToolUnregistered       EventType = "smith.tool.unregistered"
	ToolExecutionStarted   EventType = "smith.tool.execution_started"
	ToolExecutionCompleted EventType = "smith.tool.execution_completed"
	ToolExecutionFailed    EventType = "smith.tool.execution_failed"
	ToolPermissionDenied   EventType = "smith.tool.permission_denied"

	TaskSubmitted    EventType = "smith.task.submitted"
	TaskAssigned     EventType = "smith.task.assigned"
	TaskReassigned   EventType = "smith.task.reassigned"
	TaskCompleted    EventType = "smith.task.completed"
	TaskFailed       EventType = "smith.task.failed"
	TaskDeadLettered EventType = "smith.task.dead_lettered"

	TreeProposed       EventType = "smith.tree.proposed"
	TreeDecided        EventType = "smith.tree.decided"
	TreeIsolated       EventType = "smith.tree.isolated"
	TreeRollingStopped EventType = "smith.tree.rolling_stopped"
	TreeEscalated      EventType = "smith.tree.escalated"
	TreeGaveUp         EventType = "smith.tree.gave_up"
)

// ErrEventType tells that a type is not one MisterSmith knows.
var ErrEventType = errors.New("unknown event type")

// EventTypes lists the known types in a fixed order.
func EventTypes() []EventType {
	return []EventType{
		SystemStarted, SystemStopping, SystemStopped, SystemHealthCheckPassed, SystemHealthCheckFailed,
		SystemConfigurationChanged, SystemPoolExhausted, SystemBreakerOpen, SystemBreakerClosed, SystemMessageRejected,
		SystemCorrelatedSilence, SystemCorrelatedSilenceOver,
		AgentCreated, AgentStarted, AgentStopped, AgentFailed, AgentRecovered,
		AgentMessageReceived, AgentMessageProcessed, AgentStateChanged, AgentConflict,
		ToolRegistered, ToolUnregistered, ToolExecutionStarted, ToolExecutionCompleted, ToolExecutionFailed, ToolPermissionDenied,
		TaskSubmitted, TaskAssigned, TaskReassigned, TaskCompleted, TaskFailed, TaskDeadLettered,
		TreeProposed, TreeDecided, TreeRollingStopped, TreeIsolated, TreeEscalated, TreeGaveUp,
	}
}

// MakeEventType joins a family and a name.
func MakeEventType(family, name string) EventType { return EventType("smith." + family + "." + name) }

// CustomEventType is the type of a user's own event; name is an id.
func CustomEventType(name string) EventType { return MakeEventType(FamilyCustom, name) }

// ParseEventType accepts a type with or without its leading "smith.".
func ParseEventType(s string) (EventType, error) {
	if !strings.HasPrefix(s, "smith.") {
		s = "smith." + s
	}
	t := EventType(s)
	return t, t.Validate()
}

// Family is the type's second word, such as "agent".
func (t EventType) Family() string { f, _ := t.split(); return f }

// Name is the type's third word, such as "failed".
func (t EventType) Name() string { _, n := t.split(); return n }

func (t EventType) split() (family, name string) {
	rest, _ := strings.CutPrefix(string(t), "smith.")
	family, name, _ = strings.Cut(rest, ".")
	return family, name
}

// Validate reports why the type is not valid, or nil.
func (t EventType) Validate() error {
	switch t.Family() {
	case FamilyCustom:
		if t != MakeEventType(FamilyCustom, t.Name()) || ValidateID(t.Name()) != nil {
			return fmt.Errorf("%w %.80q: a custom type is smith.custom.<id>", ErrEventType, string(t))
		}
		return nil
	default:
		for _, known := range EventTypes() {
			if t == known {
				return nil
			}
		}
		return fmt.Errorf("%w %.80q: use one listed in docs/protocol.md, or smith.custom.<name>", ErrEventType, string(t))
	}
}
