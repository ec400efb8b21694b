package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/internal/strategy"
)

// Instant is a point in time in nanoseconds since 1970 UTC.
type Instant int64

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Time returns the instant as a time in UTC.
func (i Instant) Time() time.Time { return time.Unix(0, int64(i)).UTC() }

// Optional returns the instant as a time in UTC, or nil if it is 0.
func (i Instant) Optional() *time.Time {
	if i == 0 {
		return nil
	}
	t := i.Time()
	return &t
}

// Restart says which ends of a child lead to its restart.
type Restart string

// Restart types.
const (
	// Permanent children are restarted whatever ended them.
	Permanent Restart = "permanent"
	// Transient children are restarted after an abnormal end only.
	Transient Restart = "transient"
	// Temporary children are never restarted.
	Temporary Restart = "temporary"
)

// permanent reports whether a node is restarted whatever ended it.
func (s *Spec) permanent() bool { return s.Restart != Transient && s.Restart != Temporary }

// leaves reports whether a child that ended so is not restarted.
func (r Restart) leaves(e End) bool {
	return r == Temporary || r == Transient && (e.normal() || e == EndStopped)
}

// Strategy says which children a failed child takes along.
type Strategy = strategy.Strategy

// Strategies.
const (
	OneForOne  = strategy.OneForOne
	OneForAll  = strategy.OneForAll
	RestForOne = strategy.RestForOne
	Escalate   = strategy.Escalate
)

// AutoShutdown says whether the end of significant children ends their
// supervisor.
type AutoShutdown string

// Values of AutoShutdown.
const (
	Never          AutoShutdown = "never"
	AnySignificant AutoShutdown = "any_significant"
	AllSignificant AutoShutdown = "all_significant"
)

// Escalation says what a supervisor does that exceeds its restart limit.
type Escalation string

// Escalation policies.
const (
	// ToParent stops the children and ends with `shutdown` towards the parent,
	// as OTP does. At the root the tree is then down.
	ToParent Escalation = "escalate"
	// Terminate stops the children and stays down until an operator starts it.
	Terminate Escalation = "terminate"
	// CoolOff stops the children and starts afresh after a pause.
	CoolOff Escalation = "restart"
	// Ignore records it and goes on restarting.
	Ignore Escalation = "ignore"
	// Isolate counts the limit for each child. The child that exceeds it is set
	// apart and tried again after a pause; nobody else is concerned. Only
	// OneForOne supervisors isolate.
	Isolate Escalation = "isolate"
)

// AnyRunner lets the tree choose the least loaded runner.
const AnyRunner = "any"

// Spec says what a node of the tree is. Exactly one of Agent and Supervisor is
// set. A Spec is never changed once it is in a tree; it is replaced.
type Spec struct {
	ID     string `json:"id"`
	Parent string `json:"parent,omitempty"`
	// Rank orders the children of one parent: they start in this order.
	Rank int64 `json:"rank,omitempty"`
	// Dynamic marks what was added at run time instead of by configuration.
	Dynamic     bool    `json:"dynamic,omitempty"`
	Significant bool    `json:"significant,omitempty"`
	Restart     Restart `json:"restart,omitempty"`
	// Template names what an agent is the Index-th instance of, from 1;
	// Instances is how many the configuration wants.
	Template  string `json:"template,omitempty"`
	Index     int    `json:"index,omitempty"`
	Instances int    `json:"instances,omitempty"`
	// Origin is the configured parent of a node that was moved at run time.
	Origin string `json:"origin,omitempty"`
	// Mode is the mode of the agents below, or of the agent; nil inherits it.
	Mode *Rollout `json:"mode,omitempty"`
	// Backoff spaces the restarts of this node.
	Backoff backoff.Delays `json:"backoff,omitzero"`
	// ShutdownTimeout is how long an agent may take to end by itself, or all
	// below a supervisor; 0 is no bound. What is left then is killed.
	ShutdownTimeout time.Duration `json:"shutdown_timeout,omitempty"`
	Agent           *Agent        `json:"agent,omitempty"`
	Supervisor      *Supervisor   `json:"supervisor,omitempty"`
}

// Agent is the part of a spec that only agents have.
type Agent struct {
	// Runner is the runner that must start it, AnyRunner, or empty when
	// placement is nobody's concern.
	Runner string `json:"runner,omitempty"`
	// Labels are what a runner must have all of to be chosen as AnyRunner.
	Labels map[string]string `json:"labels,omitempty"`
	// Return makes an agent that lost its runner go back to it when that
	// returns. Otherwise it stays where it is.
	Return bool `json:"return,omitempty"`
	// Verify makes a start succeed only after a heartbeat within
	// StartDeadline and Stabilisation without a failure after it.
	Verify        bool          `json:"verify,omitempty"`
	StartDeadline time.Duration `json:"start_deadline,omitempty"`
	Stabilisation time.Duration `json:"stabilisation,omitempty"`
	// Listen is how long nothing may be heard of an agent that somebody else
	// may keep before it is started; 0 means [DefaultListen].
	Listen time.Duration `json:"listen,omitempty"`
	// Start is what a runner needs to know; the tree does not look inside.
	Start json.RawMessage `json:"start,omitempty"`
	// Build stands for all that a running process cannot take on, such as its
	// command and its environment: while it is the same, a process need not be
	// restarted. Empty means that it is not known.
	Build string `json:"build,omitempty"`
}

// Supervisor is the part of a spec that only supervisors have.
type Supervisor struct {
	Strategy Strategy `json:"strategy"`
	// MaxRestarts within Period are allowed for all children together, or for
	// each by the Isolate policy.
	MaxRestarts  int           `json:"max_restarts"`
	Period       time.Duration `json:"period"`
	AutoShutdown AutoShutdown  `json:"auto_shutdown,omitempty"`
	Escalation   Escalation    `json:"escalation,omitempty"`
	// CoolOff is the pause before a restart by the CoolOff policy, and the
	// first before a child is tried again by the Isolate policy; the following
	// ones are twice as long each, up to MaxCoolOff. For Isolate 0 means
	// [DefaultCoolOff] and [DefaultMaxCoolOff].
	CoolOff    time.Duration `json:"cool_off,omitempty"`
	MaxCoolOff time.Duration `json:"max_cool_off,omitempty"`
	// Budget bounds the restarts of the whole tree; only the root's counts.
	Budget *Budget `json:"budget,omitempty"`
}

// ErrSpec tells that a spec cannot be.
var ErrSpec = errors.New("invalid child specification")

// Validate reports everything that is wrong with the spec by itself. Fields
// left empty are valid: permanent, never, escalate.
func (s *Spec) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.ID == "" {
		add("name: missing")
	}
	if s.Parent == s.ID && s.ID != "" {
		add("parent: a node cannot be its own parent")
	}
	if (s.Agent == nil) == (s.Supervisor == nil) {
		add("must be either an agent or a supervisor")
	}
	switch s.Restart {
	case "", Permanent, Transient, Temporary:
	default:
		add("restart: %.32q; use permanent, transient or temporary", string(s.Restart))
	}
	if s.Significant && (s.Restart == Permanent || s.Restart == "") {
		add("significant: a permanent child never ends by itself for good; make it transient or temporary")
	}
	if s.ShutdownTimeout < 0 {
		add("shutdown_timeout: %s is negative", s.ShutdownTimeout)
	}
	if err := s.Backoff.Validate(); err != nil {
		errs = append(errs, err)
	}
	if a := s.Agent; a != nil && (a.StartDeadline < 0 || a.Stabilisation < 0 || a.Listen < 0) {
		add("start_deadline, stabilisation and listen: must not be negative")
	}
	if s.Mode != nil {
		errs = append(errs, s.Mode.Validate())
	}
	if s.Supervisor != nil {
		errs = append(errs, s.Supervisor.validate())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w %q: %w", ErrSpec, s.ID, err)
	}
	return nil
}

func (s *Supervisor) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !s.Strategy.Known() {
		add("strategy: %.32q; use one of %v", string(s.Strategy), strategy.Strategies())
	}
	switch s.AutoShutdown {
	case "", Never, AnySignificant, AllSignificant:
	default:
		add("auto_shutdown: %.32q; use never, any_significant or all_significant", string(s.AutoShutdown))
	}
	switch s.Escalation {
	case "", ToParent, Terminate, CoolOff, Ignore:
	case Isolate:
		if !s.Strategy.Single() {
			add("escalation: isolate needs strategy one_for_one; children of %s restart together, so none can be set apart; use escalate, terminate, restart or ignore", s.Strategy)
		}
	default:
		add("escalation: %.32q; use isolate, escalate, terminate, restart or ignore", string(s.Escalation))
	}
	if s.MaxRestarts < 0 || s.Period < 0 || s.CoolOff < 0 || s.MaxCoolOff < 0 {
		add("max_restarts, time_window, cool_off and max_cool_off: must not be negative")
	}
	if b := s.Budget; b != nil && (b.Fleet.Restarts < 0 || b.Fleet.Per < 0 || b.Runner.Restarts < 0 || b.Runner.Per < 0) {
		add("budget: restarts and time must not be negative")
	}
	return errors.Join(errs...)
}
