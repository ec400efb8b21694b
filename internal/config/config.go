// Package config loads supervision-config.yaml, the one file that describes a
// supervision tree and the settings of the services that keep it alive.
//
// It promises three things. A file is either taken whole or refused whole. A
// refusal names every problem at once, each with file:line:column, what is
// wrong and what would be right. What a file leaves out has a default, so
// [Default] is a complete configuration and the zero file is valid.
//
// The types here are data. What a restart policy means is the supervisor's
// matter, what a breaker does is the guard's.
package config

import (
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// File is a whole configuration with every default filled in and every
// reference resolved.
type File struct {
	// Path is where the file came from, empty for built-in defaults.
	Path string
	// Tree is what is supervised.
	Tree Tree
	// FailureDetection is the fleet's rule for finding dead agents.
	FailureDetection FailureDetection
	// Synadia says whether agents of the Synadia Agent Protocol are watched.
	Synadia Synadia
	// Verification holds the defaults for judging a started agent.
	Verification Verification
	// Placement says when agents of a lost runner start elsewhere.
	Placement Placement
	// Runner is for the runner that reads the file.
	Runner Runner
	// RestartBudget bounds restarts whatever the policies allow.
	RestartBudget RestartBudget
	// RestartPolicies are the policies the file names. "default" is present
	// only when the file has it.
	RestartPolicies map[string]RestartPolicy
	// CircuitBreakers, Bulkheads and Retries are by name; "default" is always
	// there. See [File.Breaker], [File.Bulkhead] and [File.Retry].
	CircuitBreakers map[string]CircuitBreaker
	Bulkheads       map[string]Bulkhead
	Retries         map[string]Retry
	// Timeouts bound downstream calls.
	Timeouts Timeouts
	// Routing says which agents get which tasks.
	Routing Routing
	// EventStore shapes the event log's stream.
	EventStore EventStore
	// Shutdown bounds a service's orderly end.
	Shutdown Shutdown
	// Limits bound what the services hold in memory.
	Limits Limits
	source
}

// Tree is the whole supervision tree. Its root is a supervisor named "root".
type Tree struct {
	// Name is the tree's id on the wire, "main" unless set.
	Name string
	// Root is the top supervisor. Its Escalation says what happens when its
	// limit is exceeded (key root_policy); it is never [EscalationEscalate].
	Root Node
}

// Node is a supervisor: a named place in the tree with ordered children.
type Node struct {
	// Name is unique among all nodes and agents of the tree.
	Name string
	// Strategy says which children a failed child takes along.
	Strategy Strategy
	// Restart is how the parent treats this supervisor's end.
	Restart Restart
	// Significant marks a child whose own end can end its parent, see
	// AutoShutdown of the parent.
	Significant bool
	// AutoShutdown says whether the end of significant children ends this
	// supervisor.
	AutoShutdown AutoShutdown
	// Policy is the resolved restart limit and delay; PolicyName is the named
	// policy it came from, or "" when built in or written in place.
	Policy     RestartPolicy
	PolicyName string
	// policyGiven: the file gives this node a policy, which its agents share.
	policyGiven bool
	// Escalation is what happens when the limit is exceeded. CoolOff is the
	// wait before [EscalationRestart], or the first before an isolated child is
	// tried again; MaxCoolOff is the longest of those, 0 unless it isolates.
	Escalation Escalation
	CoolOff    time.Duration
	MaxCoolOff time.Duration
	// Mode is the mode of the agents below; nil inherits it.
	Mode *Mode
	// ShutdownTimeout bounds stopping the whole subtree. Zero: no bound.
	ShutdownTimeout time.Duration
	// Children in start order.
	Children []Child
	// Pos is where the file defines it, Setting by which setting.
	Pos     Position
	Setting string
}

// Child is one place under a node: exactly one of the two is set.
type Child struct {
	Node  *Node
	Agent *Agent
}

// Agent is one supervised process: an instance of a template, whose settings it
// shares with the others.
type Agent struct {
	// Name is the agent's id, unique in the tree.
	Name string
	// Index counts from 1 within the template, or is 0 for an agent without a
	// count.
	Index int
	*Template
}

// Template is what the file says of an agent; with `count: 3`, of three.
type Template struct {
	// Name is the one in the file.
	Name string
	// Type is what tasks are routed by, "worker" unless set.
	Type string
	// Command is the program and its arguments, run without a shell. Empty
	// only when Runner names a program that runs the agent in-process.
	Command []string
	// Env is added to the few variables that a runner gives every agent.
	Env map[string]string
	// Dir is the working directory, the runner's own when empty.
	Dir string
	// Expand says that Command, Dir and Execution.EnvFile refer to Vars, which
	// the file's reader has in its environment. They may be secret.
	Expand bool
	Vars   map[string]string
	// Restart is what an end of the agent leads to.
	Restart Restart
	// Significant marks an agent whose own end can end its parent.
	Significant bool
	// Capabilities are what custom task types are matched against.
	Capabilities []string
	// Capacity is how many tasks it works on at once.
	Capacity int
	// HeartbeatInterval is how often it beats.
	HeartbeatInterval time.Duration
	// StartDeadline is how long the first heartbeat may take.
	StartDeadline time.Duration
	// ShutdownTimeout is how long it has between SIGTERM and SIGKILL.
	ShutdownTimeout time.Duration
	// StopSignal is what it is told to stop by.
	StopSignal contracts.StopSignal
	// LeaveChildren keeps what it has detached when it ends.
	LeaveChildren bool
	// Health is by what its runner finds out that it does not work; nil means by
	// its end alone.
	Health *contracts.HealthSpec
	// Execution is what its program is run with on its host.
	Execution contracts.Execution
	// Stabilisation is how long it must live before a start counts as good.
	Stabilisation time.Duration
	// Heartbeats says who beats: the agent, or its runner on its behalf.
	Heartbeats Heartbeats
	// Runner is the runner's id, or [AnyRunner].
	Runner string
	// RunnerLabels are what a runner must have all of, where Runner is
	// [AnyRunner].
	RunnerLabels map[string]string
	// OnReturn is what the agent does when the host that it lost is back.
	OnReturn OnReturn
	// Mode is the agent's mode; nil inherits it.
	Mode *Mode
	// Policy is the resolved policy, PolicyName as in [Node].
	Policy     RestartPolicy
	PolicyName string
	// PhiThreshold and FailureThreshold are the fleet's unless set.
	PhiThreshold     float64
	FailureThreshold int
	// Pos is where the file defines it, Setting by which setting.
	Pos     Position
	Setting string
}

// AnyRunner as an agent's runner lets the supervisor choose one.
const AnyRunner = "any"

// FailureDetection is how silence becomes a verdict.
type FailureDetection struct {
	// HeartbeatInterval is expected of agents that declare none.
	HeartbeatInterval time.Duration
	// FailureThreshold is how many missed beats make a failure until
	// MinSamples intervals have been seen.
	FailureThreshold int
	// Algorithm estimates suspicion.
	Algorithm Algorithm
	// PhiThreshold is the suspicion level of a failure. Zero: the algorithm's
	// own.
	PhiThreshold float64
	// TargetMistakesPerDay chooses the level by the wrong verdicts that one
	// agent may cause per day. Zero: PhiThreshold counts.
	TargetMistakesPerDay float64
	// SamplingWindowSize is how many intervals are remembered per agent.
	SamplingWindowSize int
	MinSamples         int
	// MinStdDeviation and MaxStdDeviation bound the estimated deviation of
	// the intervals. Zero: the detector's own, relative to the interval.
	MinStdDeviation time.Duration
	MaxStdDeviation time.Duration
	// ProbeTimeout bounds a probe by request.
	ProbeTimeout time.Duration
	// Correlation is what the silence of many at once leads to.
	Correlation Correlation
}

// Correlation says when agents that fall silent together are one finding, and
// how the verdicts on them are held.
type Correlation struct {
	// Share of a runner's agents, of a type's or of the fleet, and at least
	// Minimum, make a finding when they fall silent within Window.
	Share   float64
	Minimum int
	Window  time.Duration
	// Hold is how long a verdict is held; then ReleaseRate are released in a
	// second.
	Hold        time.Duration
	ReleaseRate float64
}

// Synadia maps agents of the Synadia Agent Protocol to ids.
type Synadia struct {
	// Subject of their heartbeats. Empty: they are not watched.
	Subject string
	// AgentID is the template of their ids, of {agent}, {owner}, {name} and
	// {instance}.
	AgentID string
}

// Verification is the default for judging whether a start succeeded.
type Verification struct {
	// Stabilisation is how long a started agent must stay up.
	Stabilisation time.Duration
	// StartDeadline is how long the first heartbeat may take.
	StartDeadline time.Duration
	// AllowDegraded takes a degraded agent as started.
	AllowDegraded bool
}

// Placement is what happens to agents when their runner's host is lost.
type Placement struct {
	// LostAfter is how long a runner must have been silent to be taken for
	// gone with its host, if the evidence agrees. Zero: never.
	LostAfter time.Duration
	// OnReturn is what agents do when the host is back that do not say it
	// themselves.
	OnReturn OnReturn
}

// RestartBudget is how many agents may restart in any stretch of time of the
// given length: in the whole fleet, and of those that were on one runner. Zero
// restarts mean no bound.
type RestartBudget struct {
	FleetRestarts  int
	FleetWindow    time.Duration
	RunnerRestarts int
	RunnerWindow   time.Duration
}

// CircuitBreaker is one breaker's setting; each service's guard applies it.
type CircuitBreaker struct {
	FailureThreshold int
	SuccessThreshold int
	Timeout          time.Duration
	HalfOpenMaxCalls int
}

// Bulkhead bounds calls in flight.
type Bulkhead struct {
	MaxConcurrentCalls int
	// MaxWaitDuration is how long a call may queue. Zero: not at all.
	MaxWaitDuration time.Duration
	// MaxWaiting is how many calls may queue.
	MaxWaiting int
}

// Retry is how a failed downstream call is tried again.
type Retry struct {
	// MaxAttempts counts the first one too.
	MaxAttempts  int
	InitialDelay time.Duration
	MaxDelay     time.Duration
	Base         float64
	Jitter       float64
}

// Timeouts of downstream calls; the nearest wins: operation, service, global.
type Timeouts struct {
	Global   time.Duration
	Services map[string]time.Duration
	// Operations is service -> operation -> timeout.
	Operations map[string]map[string]time.Duration
}

// Routing is where tasks go.
type Routing struct {
	// Types maps a task type to the agents that may do it. A task type that
	// is not here goes to agents with a capability of that name.
	Types map[string]Route
	// DefaultAgent gets tasks nobody else can do. Empty: they wait for somebody
	// who can.
	DefaultAgent string
	// MaxAttempts is how often a task is given out before it is dead.
	MaxAttempts int
	// MaxQueueAge is how long a task may wait. Zero: for ever.
	MaxQueueAge time.Duration
}

// Route is which agents may do a task type: those of any of AgentTypes that
// have all of Capabilities. An empty list asks for nothing.
type Route struct {
	AgentTypes   []string
	Capabilities []string
}

// EventStore shapes the stream that holds the log.
type EventStore struct {
	// MaxAge and MaxBytes bound the log; the oldest go first. MaxBytes zero:
	// no bound.
	MaxAge   time.Duration
	MaxBytes int64
	// Replicas of every stream and bucket: 1, 3 or 5.
	Replicas int
}

// Shutdown bounds an orderly end.
type Shutdown struct {
	// DrainTimeout is how long work in flight may take to finish.
	DrainTimeout time.Duration
}

// Limits bound memory.
type Limits struct {
	// MaxAgents is how many agents the detector and the router remember.
	MaxAgents int
	// MaxOpenTasks is how many tasks may be given out at once.
	MaxOpenTasks int
	// MaxQueuedTasks is how many may wait in the queue; more are refused.
	MaxQueuedTasks int
}

// Position is a place in the file, counted from 1; the zero value is none.
type Position struct {
	Line, Column int32
}

// Agents lists every agent of the tree in start order, depth first.
func (t Tree) Agents() []Agent {
	var out []Agent
	t.Root.walk(func(c Child) {
		if c.Agent != nil {
			out = append(out, *c.Agent)
		}
	})
	return out
}

// Nodes lists every supervisor below and including the root, parents first.
func (t Tree) Nodes() []Node {
	out := []Node{t.Root}
	t.Root.walk(func(c Child) {
		if c.Node != nil {
			out = append(out, *c.Node)
		}
	})
	return out
}

func (n *Node) walk(visit func(Child)) {
	for _, c := range n.Children {
		visit(c)
		if c.Node != nil {
			c.Node.walk(visit)
		}
	}
}

// Breaker gives the named breaker's setting, or the default's.
func (f *File) Breaker(name string) CircuitBreaker { return named(f.CircuitBreakers, name) }

// Bulkhead gives the named bulkhead's setting, or the default's.
func (f *File) Bulkhead(name string) Bulkhead { return named(f.Bulkheads, name) }

// Retry gives the named retry setting, or the default's.
func (f *File) Retry(name string) Retry { return named(f.Retries, name) }

func named[T any](m map[string]T, name string) T {
	if v, ok := m[name]; ok {
		return v
	}
	return m[DefaultName]
}

// For gives the timeout of an operation of a service: the operation's own,
// else the service's, else the global one.
func (t Timeouts) For(service, operation string) time.Duration {
	if d, ok := t.Operations[service][operation]; ok {
		return d
	}
	if d, ok := t.Services[service]; ok {
		return d
	}
	return t.Global
}

// PolicyFor resolves the policy of a child that names none: the policy named
// like its type, else the one its parent names (agents only), else the file's
// "default", else the one built in for agents or supervisors. It serves
// children added at run time too; parent may be nil. For supervisors the names
// of the type are supervisor and agent_supervisor.
func (f *File) PolicyFor(childType string, supervisor bool, parent *Node) (p RestartPolicy, name string) {
	names := []string{childType}
	if supervisor {
		names = append(names, "supervisor", "agent_supervisor")
	}
	for _, name := range names {
		if p, ok := f.RestartPolicies[name]; ok {
			return p, name
		}
	}
	if !supervisor && parent != nil && parent.policyGiven {
		return parent.Policy, parent.PolicyName
	}
	if p, ok := f.RestartPolicies[DefaultName]; ok {
		return p, DefaultName
	}
	if supervisor {
		return DefaultSupervisorPolicy(), ""
	}
	return DefaultWorkerPolicy(), ""
}
