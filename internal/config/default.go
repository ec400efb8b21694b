package config

import (
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// DefaultName names the entry used where no other is named.
const DefaultName = "default"

// RootName is the name of every tree's top supervisor.
const RootName = "root"

// DefaultType is the type of an agent that declares none.
const DefaultType = "worker"

// Default gives the configuration of an empty file: a tree without agents
// named "main", and every setting at its default.
func Default() *File {
	return &File{
		Tree: Tree{Name: "main", Root: Node{
			Name:         RootName,
			Strategy:     OneForOne,
			Restart:      Permanent,
			AutoShutdown: AutoShutdownNever,
			Policy:       DefaultSupervisorPolicy(),
			Escalation:   EscalationIsolate,
			CoolOff:      DefaultIsolation,
			MaxCoolOff:   DefaultMaxIsolation,
			Setting:      "supervision_tree",
		}},
		FailureDetection: FailureDetection{
			HeartbeatInterval:  contracts.DefaultHeartbeatInterval,
			FailureThreshold:   3,
			Algorithm:          AlgorithmTail,
			SamplingWindowSize: 100,
			MinSamples:         10,
			ProbeTimeout:       time.Second,
			Correlation:        Correlation{Share: 0.5, Minimum: 5, Window: 10 * time.Second, Hold: 20 * time.Second, ReleaseRate: 10},
		},
		Synadia: Synadia{AgentID: "{agent}-{owner}-{name}"},
		Verification: Verification{
			Stabilisation: contracts.DefaultStabilisation,
			StartDeadline: contracts.DefaultStartDeadline,
			AllowDegraded: true,
		},
		Placement:       Placement{LostAfter: time.Minute, OnReturn: OnReturnStay},
		Runner:          Runner{Output: Output{MaxBytes: 10 << 20, Incarnations: 10, Forward: ForwardNone}},
		RestartBudget:   RestartBudget{FleetWindow: time.Minute, RunnerWindow: time.Minute},
		RestartPolicies: map[string]RestartPolicy{},
		CircuitBreakers: map[string]CircuitBreaker{DefaultName: defaultBreaker()},
		Bulkheads:       map[string]Bulkhead{DefaultName: defaultBulkhead()},
		Retries:         map[string]Retry{DefaultName: defaultRetry()},
		Timeouts: Timeouts{
			Global:     60 * time.Second,
			Services:   map[string]time.Duration{},
			Operations: map[string]map[string]time.Duration{},
		},
		Routing: Routing{
			Types:       defaultRoutes(),
			MaxAttempts: 3,
		},
		EventStore: EventStore{MaxAge: 30 * 24 * time.Hour, Replicas: 1},
		Shutdown:   Shutdown{DrainTimeout: 30 * time.Second},
		Limits:     Limits{MaxAgents: 100_000, MaxOpenTasks: 10_000, MaxQueuedTasks: 1_000_000},
	}
}

// DefaultCoolOff is the wait before a supervisor that exceeded its limit
// starts again under escalation "restart".
const DefaultCoolOff = 30 * time.Second

// DefaultIsolation and DefaultMaxIsolation are the first and the longest wait
// before an isolated child is tried again.
const (
	DefaultIsolation    = time.Minute
	DefaultMaxIsolation = 10 * time.Minute
)

// DefaultWorkerPolicy is the policy of agents: 3 restarts in 60 s, from 100 ms
// doubling.
func DefaultWorkerPolicy() RestartPolicy {
	return RestartPolicy{
		MaxRestarts: 3,
		TimeWindow:  time.Minute,
		Delay:       100 * time.Millisecond,
		Backoff:     Backoff{Type: Exponential, Base: 2, MaxDelay: 30 * time.Second, Jitter: 0.1},
		ResetAfter:  time.Minute,
	}
}

// DefaultSupervisorPolicy is the policy of supervisors: 5 restarts in 300 s,
// from 1 s growing by half.
func DefaultSupervisorPolicy() RestartPolicy {
	return RestartPolicy{
		MaxRestarts: 5,
		TimeWindow:  5 * time.Minute,
		Delay:       time.Second,
		Backoff:     Backoff{Type: Exponential, Base: 1.5, MaxDelay: time.Minute, Jitter: 0.1},
		ResetAfter:  5 * time.Minute,
	}
}

func defaultBreaker() CircuitBreaker {
	return CircuitBreaker{FailureThreshold: 5, SuccessThreshold: 3, Timeout: 30 * time.Second, HalfOpenMaxCalls: 3}
}

func defaultBulkhead() Bulkhead {
	return Bulkhead{MaxConcurrentCalls: 50, MaxWaitDuration: 5 * time.Second, MaxWaiting: 1000}
}

func defaultRetry() Retry {
	return Retry{MaxAttempts: 3, InitialDelay: 100 * time.Millisecond, MaxDelay: 5 * time.Second, Base: 2, Jitter: 0.2}
}

// defaultRoutes are the task types every fleet has; a file adds to them or
// replaces them one by one.
func defaultRoutes() map[string]Route {
	return map[string]Route{
		"research": {AgentTypes: []string{"researcher"}},
		"code":     {AgentTypes: []string{"coder"}},
		"analysis": {AgentTypes: []string{"analyst"}},
	}
}
