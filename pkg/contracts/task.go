package contracts

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// ErrTask tells that a task is malformed.
var ErrTask = errors.New("invalid task")

// Task is a piece of work. It enters on smith.task.<type>, whose last token is
// its type. The body is empty or a JSON object; every field may be left out.
type Task struct {
	// ID is an id as ValidateID has it; a UUID if the sender gave none. The
	// same id twice is the same task.
	ID   string `json:"id,omitempty"`
	Type string `json:"type,omitempty"`
	// Payload is handed to the agent as it is.
	Payload json.RawMessage `json:"payload,omitempty"`
	// Timeout bounds one attempt; 0 means no bound but the agent's life.
	Timeout Duration `json:"timeout,omitempty"`
	// MaxAttempts bounds how often it is tried; 0 means the router's default.
	MaxAttempts int `json:"max_attempts,omitempty"`
	// CausationID is the event that led to this task, if any.
	CausationID string `json:"causationid,omitempty"`
}

// DecodeTask reads a task that came on smith.task.<type>.
func DecodeTask(subject string, body []byte) (Task, error) {
	taskType, err := ParseTaskSubject(subject)
	if err != nil {
		return Task{}, fmt.Errorf("%w: %w", ErrTask, err)
	}
	if len(body) > MaxTaskBytes {
		return Task{}, fmt.Errorf("%w%s: %d bytes; at most %d", ErrTask, on(subject), len(body), MaxTaskBytes)
	}
	var t Task
	if len(body) > 0 {
		if err := decodeObject(body, &t); err != nil {
			return Task{}, fmt.Errorf("%w%s: not a JSON object such as {\"payload\": …}: %w", ErrTask, on(subject), err)
		}
	}
	if field := lostField(body, t); field != "" {
		return Task{}, fmt.Errorf("%w%s: no agent would see %.64q; put what is meant for it into \"payload\"", ErrTask, on(subject), field)
	}
	if t.Type != "" && t.Type != taskType {
		return Task{}, fmt.Errorf("%w%s: type %.80q does not match the subject", ErrTask, on(subject), t.Type)
	}
	t.Type = taskType
	if err := t.Validate(); err != nil {
		return Task{}, fmt.Errorf("%w%s", err, on(subject))
	}
	return t, nil
}

// lostField names a field of a task without payload that nothing reads: the
// sender took the body for the payload. Beside a payload unknown fields are
// ignored, as everywhere.
func lostField(body []byte, t Task) string {
	var fields map[string]json.RawMessage
	if len(body) == 0 || t.Payload != nil || decode(body, &fields) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch name {
		case "id", "type", "payload", "timeout", "max_attempts", "causationid":
		default:
			return name
		}
	}
	return ""
}

// WithID gives the task a new id if it has none.
func (t Task) WithID() Task {
	if t.ID == "" {
		t.ID = uuid.Must(uuid.NewV7()).String()
	}
	return t
}

// Validate reports why the task is not valid, or nil. An empty id is valid.
func (t Task) Validate() error {
	var errs []error
	if t.ID != "" {
		errs = append(errs, validateIDs("id", t.ID))
	}
	errs = append(errs, validateIDs("type", t.Type), validateReference("causationid", t.CausationID))
	if t.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout: %s is negative", t.Timeout))
	}
	if t.MaxAttempts < 0 || t.MaxAttempts > 100 {
		errs = append(errs, fmt.Errorf("max_attempts: %d is outside 0 to 100", t.MaxAttempts))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrTask, err)
	}
	return nil
}

// TaskDispatch is the body of smith.agent.<agent>.task: one attempt at a task.
type TaskDispatch struct {
	Task    string          `json:"task"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
	// Attempt counts from 1. The result must carry it back.
	Attempt int `json:"attempt"`
	// Agent and Incarnation are whom the router means. An agent of another
	// incarnation rejects the task.
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	// Deadline is when the router gives the attempt up, if ever.
	Deadline *time.Time `json:"deadline,omitempty"`
	// CausationID is the task.assigned event: the result's cause.
	CausationID string `json:"causationid,omitempty"`
}

// TaskReply is an agent's immediate answer to a TaskDispatch. The result comes
// later, as task.completed or task.failed.
type TaskReply struct {
	Accepted bool `json:"accepted"`
	// Reason says why not: full, stopping, stale_incarnation, unknown_type.
	Reason string `json:"reason,omitempty"`
}

// TaskSubmittedData is the data of task.submitted.
type TaskSubmittedData struct {
	Task     string `json:"task"`
	Type     string `json:"type"`
	Sequence uint64 `json:"sequence"`
}

// TaskAssignedData is the data of task.assigned and task.reassigned. It is
// stored before the agent is asked.
type TaskAssignedData struct {
	Task        string `json:"task"`
	Type        string `json:"type"`
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	Attempt     int    `json:"attempt"`
	// Sequence is the task's place in the task stream.
	Sequence uint64 `json:"sequence"`
	// PreviousAgent and Reason say whom it was taken from and why.
	PreviousAgent string `json:"previous_agent,omitempty"`
	Reason        string `json:"reason,omitempty"`
}

// TaskResultData is the data of task.completed and task.failed, published by the
// agent through JetStream.
type TaskResultData struct {
	Task        string `json:"task"`
	Type        string `json:"type"`
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	Attempt     int    `json:"attempt"`
	// Result is the outcome of a completed task.
	Result json.RawMessage `json:"result,omitempty"`
	// Error says why a failed one failed; Retry whether trying again may help.
	Error string   `json:"error,omitempty"`
	Retry bool     `json:"retry,omitempty"`
	Took  Duration `json:"took,omitempty"`
}

// TaskDeadData is the data of task.dead_lettered, and the body on smith.dead.task.
type TaskDeadData struct {
	Task     string          `json:"task"`
	Type     string          `json:"type"`
	Reason   string          `json:"reason"`
	Attempts []TaskAttempt   `json:"attempts,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
}

// TaskAttempt is one entry of a task's history.
type TaskAttempt struct {
	Attempt     int       `json:"attempt"`
	Agent       string    `json:"agent"`
	Incarnation uint64    `json:"incarnation"`
	Error       string    `json:"error,omitempty"`
	Ended       time.Time `json:"ended"`
}
