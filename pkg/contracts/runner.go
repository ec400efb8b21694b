package contracts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrRunnerCommand tells that a start or stop command is malformed.
var ErrRunnerCommand = errors.New("invalid runner command")

// HeartbeatsByRunner makes the runner beat for a process that does not itself.
const (
	HeartbeatsByAgent  = "agent"
	HeartbeatsByRunner = "runner"
)

// StartCommand is the body of smith.runner.<runner>.start. It is idempotent by
// agent and incarnation.
type StartCommand struct {
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	// Command is the program and its arguments; no shell sees it.
	Command []string          `json:"command"`
	Env     map[string]string `json:"env,omitempty"`
	Dir     string            `json:"dir,omitempty"`
	// Expand says that command, dir and env_file hold ${NAME} and
	// ${NAME:-default}, which stand for Vars. What they stand for may be secret:
	// like Env it is kept out of records, logs and events.
	Expand            bool              `json:"expand,omitempty"`
	Vars              map[string]string `json:"vars,omitempty"`
	Type              string            `json:"type,omitempty"`
	Capabilities      []string          `json:"capabilities,omitempty"`
	Capacity          int               `json:"capacity,omitempty"`
	HeartbeatInterval Duration          `json:"heartbeat_interval,omitempty"`
	StartDeadline     Duration          `json:"start_deadline,omitempty"`
	ShutdownTimeout   Duration          `json:"shutdown_timeout,omitempty"`
	// StopSignal is what an agent is told to stop by, SIGTERM when empty.
	StopSignal StopSignal `json:"stop_signal,omitempty"`
	// LeaveChildren keeps what has left the agent's session when the agent ends.
	LeaveChildren bool   `json:"leave_children,omitempty"`
	Heartbeats    string `json:"heartbeats,omitempty"`
	// Health is by what the runner finds out that the agent does not work; nil
	// means by its end alone.
	Health *HealthSpec `json:"health,omitempty"`
	Execution
	// BootID is the boot of the runner's host that is meant, as announced;
	// empty means any. A start that was under way when the host booted does
	// not reach what came after.
	BootID string `json:"boot_id,omitempty"`
	// Term tells supervisors apart by when each took the tree over; 0 means that
	// it is not said. See [ListCommand].
	Term uint64 `json:"term,omitempty"`
	// Tree is the name of the tree that the agent belongs to.
	Tree string `json:"tree,omitempty"`
	// CausationID is the decision that ordered it, CorrelationID its story.
	CausationID   string `json:"causationid,omitempty"`
	CorrelationID string `json:"correlationid,omitempty"`
}

// Validate reports why the command is not valid, or nil.
func (c StartCommand) Validate() error {
	errs := []error{
		validateIDs("agent", c.Agent), validateCapabilities(c.Capabilities),
		validateReference("tree", c.Tree), validateReference("boot_id", c.BootID), validateReference("causationid", c.CausationID), validateReference("correlationid", c.CorrelationID),
	}
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Type != "" {
		errs = append(errs, validateIDs("type", c.Type))
	}
	if c.Incarnation == 0 {
		add("incarnation: must be at least 1")
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		add("command: names no program")
	}
	if len(c.Command) > MaxCommandArgs {
		add("command: %d arguments; at most %d", len(c.Command), MaxCommandArgs)
	}
	for i, arg := range c.Command {
		if strings.ContainsRune(arg, 0) {
			add("command[%d]: contains a NUL byte", i)
		}
	}
	if strings.ContainsRune(c.Dir, 0) {
		add("dir: contains a NUL byte")
	}
	if len(c.Env) > MaxEnvVars {
		add("env: %d variables; at most %d", len(c.Env), MaxEnvVars)
	}
	for name, value := range c.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			add("env: %.64q is not the name of a variable, or its value has a NUL byte", name)
		}
	}
	if len(c.Vars) > MaxEnvVars {
		add("vars: %d variables; at most %d", len(c.Vars), MaxEnvVars)
	}
	for name, value := range c.Vars {
		if !variableName.MatchString(name) || strings.ContainsRune(value, 0) {
			add("vars: %.64q is not the name of a variable, or its value has a NUL byte", name)
		}
	}
	if c.Heartbeats != "" && c.Heartbeats != HeartbeatsByAgent && c.Heartbeats != HeartbeatsByRunner {
		add("heartbeats: %.32q; use agent or runner", c.Heartbeats)
	}
	if err := c.StopSignal.Validate(); err != nil {
		add("stop_signal: %w", err)
	}
	if err := c.Health.Validate(); err != nil {
		add("health: %w", err)
	}
	errs = append(errs, c.Execution.Validate())
	if c.Capacity < 0 || c.Capacity > MaxCapacity {
		add("capacity: %d is outside 0 to %d", c.Capacity, MaxCapacity)
	}
	if d := c.HeartbeatInterval.D(); d != 0 && (d < MinHeartbeatInterval || d > MaxHeartbeatInterval) {
		add("heartbeat_interval: %s is outside %s to %s", d, MinHeartbeatInterval, MaxHeartbeatInterval)
	}
	if c.StartDeadline < 0 || c.ShutdownTimeout < 0 {
		add("start_deadline and shutdown_timeout: must not be negative")
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: start: %w", ErrRunnerCommand, err)
	}
	return nil
}

// Expanded returns the command with what its references stand for.
func (c StartCommand) Expanded() (StartCommand, error) {
	if !c.Expand {
		return c, nil
	}
	lookup := func(name string) (string, bool) { v, ok := c.Vars[name]; return v, ok }
	c.Command = slices.Clone(c.Command)
	var errs []error
	expand := func(what string, text *string) {
		out, err := Expand(*text, lookup)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
		*text = out
	}
	for i := range c.Command {
		expand(fmt.Sprintf("command[%d]", i), &c.Command[i])
	}
	expand("dir", &c.Dir)
	expand("env_file", &c.EnvFile)
	if c.Expand, c.Vars = false, nil; c.Command[0] == "" {
		errs = append(errs, errors.New("command[0]: names no program once it is expanded"))
	}
	return c, errors.Join(errs...)
}

// ListCommand is the body of smith.runner.<runner>.list. It may be empty.
type ListCommand struct {
	// Term fences: from then on the runner refuses starts of lower terms, and the
	// list has every start before. So who compares the list with what is wanted
	// need not fear that a start of a former supervisor, which is not wanted any
	// more, arrives later. A term is when its supervisor took the tree over, in
	// microseconds since 1970 by its clock, or one more than any that a runner was
	// told. 0 fences nothing. The runner forgets it when it starts anew.
	Term uint64 `json:"term,omitempty"`
	// After is the last agent of the page before, where a list has several.
	After string `json:"after,omitempty"`
	// Agent asks for one agent only; older runners answer with all.
	Agent string `json:"agent,omitempty"`
	// Usage asks for what each agent uses now; older runners do not say.
	Usage bool `json:"usage,omitempty"`
}

// StopCommand is the body of smith.runner.<runner>.stop. It ends every
// incarnation up to the one named, never a newer one, and is answered when the
// end is confirmed.
type StopCommand struct {
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	// Timeout is how long it may take to end by itself before it is killed.
	Timeout Duration `json:"timeout,omitempty"`
	// Kill skips the polite part.
	Kill          bool   `json:"kill,omitempty"`
	CausationID   string `json:"causationid,omitempty"`
	CorrelationID string `json:"correlationid,omitempty"`
}

// Validate reports why the command is not valid, or nil.
func (c StopCommand) Validate() error {
	errs := []error{
		validateIDs("agent", c.Agent),
		validateReference("causationid", c.CausationID), validateReference("correlationid", c.CorrelationID),
	}
	if c.Incarnation == 0 {
		errs = append(errs, errors.New("incarnation: must be at least 1"))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout: %s is negative", c.Timeout))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: stop: %w", ErrRunnerCommand, err)
	}
	return nil
}

// RunnerCode is how a runner answers a command.
type RunnerCode string

// Codes of a RunnerReply. Everything but ok means that nothing was changed.
const (
	RunnerOK RunnerCode = "ok"
	// RunnerInvalid: the command is malformed.
	RunnerInvalid RunnerCode = "invalid"
	// RunnerStale: a newer incarnation is known.
	RunnerStale RunnerCode = "stale_incarnation"
	// RunnerFenced: the command is of another boot of the host, or of a lower
	// term than that of the one who listed last.
	RunnerFenced RunnerCode = "fenced"
	// RunnerStillRunning: an older incarnation lives; stop it first.
	RunnerStillRunning RunnerCode = "still_running"
	// RunnerAlreadyExited: this incarnation ran and has ended.
	RunnerAlreadyExited RunnerCode = "already_exited"
	// RunnerStartFailed: the program could not be started.
	RunnerStartFailed RunnerCode = "start_failed"
	// RunnerNotStopped: it would not end (goroutine agents only).
	RunnerNotStopped RunnerCode = "not_stopped"
	// RunnerFull: the runner is at its limit.
	RunnerFull RunnerCode = "full"
	// RunnerNoResources: the host lacks descriptors, processes, memory or disk.
	// Nothing was started; the incarnation may be tried again.
	RunnerNoResources RunnerCode = "no_resources"
	// RunnerStopping: the runner is shutting down.
	RunnerStopping RunnerCode = "stopping"
	// RunnerInternal: the runner failed; the error says how.
	RunnerInternal RunnerCode = "internal"
)

// RunnerReply answers start and stop.
type RunnerReply struct {
	Code  RunnerCode `json:"code"`
	Error string     `json:"error,omitempty"`
	Agent string     `json:"agent,omitempty"`
	// Incarnation is the one the reply speaks of: for stale_incarnation the
	// newest known, for still_running the living one.
	Incarnation uint64 `json:"incarnation,omitempty"`
	PID         int    `json:"pid,omitempty"`
	// Term is set with fenced where the sender's is lower than this one.
	Term uint64 `json:"term,omitempty"`
	// Live is set with stale_incarnation when the newest one lives and was not
	// ordered to end; PID is then its process.
	Live    bool       `json:"live,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	Exit    *Exit      `json:"exit,omitempty"`
}

// RunnerAnnouncement is the body of smith.runner.<runner>.announce.
type RunnerAnnouncement struct {
	Runner string `json:"runner"`
	Host   string `json:"host,omitempty"`
	// BootID changes when the host boots: whatever ran before is gone.
	BootID string `json:"boot_id,omitempty"`
	// Session changes when the runner process starts anew.
	Session string            `json:"session"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Kind is process or goroutine. Goroutine runners take only commands they
	// have registered, so `runner: any` never chooses one.
	Kind     string    `json:"kind"`
	Agents   int       `json:"agents"`
	Capacity int       `json:"capacity"`
	Version  string    `json:"version,omitempty"`
	Started  time.Time `json:"started"`
}
