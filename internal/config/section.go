package config

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Widest bounds of durations and counts: far beyond sense, well within
// arithmetic.
const (
	longest = 10 * 365 * 24 * time.Hour
	most    = 1_000_000_000
)

func readDetection(o *object, c *FailureDetection) {
	o.duration("heartbeat_interval", &c.HeartbeatInterval, contracts.MinHeartbeatInterval, contracts.MaxHeartbeatInterval)
	o.integer("failure_threshold", &c.FailureThreshold, 1, 1000)
	enum(o, "algorithm", algorithms, &c.Algorithm)
	o.number("phi_threshold", &c.PhiThreshold, 0.1, 300)
	o.number("target_mistakes_per_day", &c.TargetMistakesPerDay, 0.0001, 10_000)
	o.integer("sampling_window_size", &c.SamplingWindowSize, 2, 100_000)
	o.integer("min_samples", &c.MinSamples, 1, 100_000)
	o.duration("min_std_deviation", &c.MinStdDeviation, 0, longest)
	o.duration("max_std_deviation", &c.MaxStdDeviation, 0, longest)
	o.duration("probe_timeout", &c.ProbeTimeout, time.Millisecond, longest)
	readCorrelation(o.section("correlation"), &c.Correlation)
	if c.TargetMistakesPerDay > 0 && c.PhiThreshold > 0 {
		o.at("target_mistakes_per_day").fail("phi_threshold is given too, and both choose the same level; remove one")
	}
	if c.TargetMistakesPerDay > 0 && c.Algorithm == AlgorithmFixed {
		o.at("target_mistakes_per_day").fail("algorithm fixed knows nothing of probabilities; give phi_threshold, the missed beats, or choose tail")
	}
	if c.MinSamples > c.SamplingWindowSize {
		o.at("min_samples").fail("%d samples never come together in a window of %d; lower min_samples or raise sampling_window_size", c.MinSamples, c.SamplingWindowSize)
	}
	if c.MaxStdDeviation > 0 && c.MaxStdDeviation < c.MinStdDeviation {
		o.at("max_std_deviation").fail("%v is below min_std_deviation %v; swap or widen them", c.MaxStdDeviation, c.MinStdDeviation)
	}
	o.done(nil)
}

func readCorrelation(o *object, c *Correlation) {
	o.number("share", &c.Share, 0.01, 1)
	o.integer("minimum", &c.Minimum, 2, most)
	o.duration("window", &c.Window, time.Millisecond, longest)
	o.duration("hold", &c.Hold, time.Millisecond, maxHold)
	o.number("release_rate", &c.ReleaseRate, 0.1, most)
	o.done(nil)
}

// maxHold keeps verdicts from being held until nobody needs them any more.
const maxHold = 10 * time.Minute

func readSynadia(o *object, c *Synadia) {
	o.text("subject", &c.Subject)
	if tokens := strings.Split(c.Subject, "."); c.Subject != "" && (len(tokens) < 3 || slices.ContainsFunc(tokens, noToken)) {
		o.at("subject").fail("%q is no subject whose last three tokens are agent, owner and name, or * for each; agents.hb.*.*.* is the protocol's", clip(c.Subject))
	}
	o.text("agent_id", &c.AgentID)
	if _, err := contracts.ParseIDTemplate(c.AgentID, "agent", "owner", "name", "instance"); err != nil {
		o.at("agent_id").fail("%v", err)
	}
	o.done(nil)
}

// noToken tells what cannot stand between the dots of a subject here.
func noToken(t string) bool {
	return t == "" || strings.ContainsAny(t, "> \t\r\n") || t != "*" && strings.Contains(t, "*")
}

func readVerification(o *object, f *File) {
	c := &f.Verification
	o.duration("stabilisation", &c.Stabilisation, 0, longest)
	o.duration("start_deadline", &c.StartDeadline, time.Millisecond, longest)
	o.boolean("allow_degraded", &c.AllowDegraded)
	if beat := f.FailureDetection.HeartbeatInterval; c.StartDeadline < beat {
		o.at("start_deadline").fail("an agent that beats every %v cannot be sure to beat within %v of its start; raise start_deadline to at least %v", beat, c.StartDeadline, beat)
	}
	o.done(nil)
}

// minLostAfter is well beyond a runner's restart and a detector's verdict.
const minLostAfter = 10 * time.Second

func readPlacement(o *object, c *Placement) {
	o.duration("lost_after", &c.LostAfter, 0, longest)
	if c.LostAfter != 0 && c.LostAfter < minLostAfter {
		o.at("lost_after").fail("a runner that only restarts may be silent for %v; give it at least %v, or 0s to take no runner for lost", c.LostAfter, minLostAfter)
	}
	enum(o, "on_return", onReturns, &c.OnReturn)
	o.done(nil)
}

// maxBudget keeps the record of what a budget counts small.
const maxBudget = 1000

func readBudget(o *object, c *RestartBudget) {
	o.integer("fleet_restarts", &c.FleetRestarts, 0, maxBudget)
	o.duration("fleet_window", &c.FleetWindow, time.Millisecond, 24*time.Hour)
	o.integer("runner_restarts", &c.RunnerRestarts, 0, maxBudget)
	o.duration("runner_window", &c.RunnerWindow, time.Millisecond, 24*time.Hour)
	for _, scope := range []string{"fleet", "runner"} {
		if o.has(scope+"_window") && !o.has(scope+"_restarts") {
			o.at(scope+"_window").fail("it bounds nothing without %s_restarts; say how many restarts the window allows", scope)
		}
	}
	if c.FleetRestarts > 0 && c.RunnerRestarts >= c.FleetRestarts && c.RunnerWindow <= c.FleetWindow && o.has("runner_restarts") {
		o.at("runner_restarts").fail("%d in %v of one runner is never reached: the fleet has only %d in %v; lower it or raise fleet_restarts",
			c.RunnerRestarts, c.RunnerWindow, c.FleetRestarts, c.FleetWindow)
	}
	o.done(nil)
}

// readNamed reads a section of named entries. What an entry leaves out is as
// in the section's "default".
func readNamed[T any](o *object, into map[string]T, read func(*object, *T)) {
	given := map[string]value{}
	o.entries(func(name string, v value) { given[name] = v })
	fill := func(name string, v value) {
		entry := into[DefaultName]
		read(v.object(), &entry)
		into[name] = entry
	}
	if v, ok := given[DefaultName]; ok {
		fill(DefaultName, v)
		delete(given, DefaultName)
	}
	for name, v := range given {
		fill(name, v)
	}
}

func readBreaker(o *object, c *CircuitBreaker) {
	o.integer("failure_threshold", &c.FailureThreshold, 1, most)
	o.integer("success_threshold", &c.SuccessThreshold, 1, most)
	o.duration("timeout", &c.Timeout, time.Millisecond, longest)
	o.integer("half_open_max_calls", &c.HalfOpenMaxCalls, 1, most)
	o.done(nil)
}

func readBulkhead(o *object, c *Bulkhead) {
	o.integer("max_concurrent_calls", &c.MaxConcurrentCalls, 1, most)
	o.duration("max_wait_duration", &c.MaxWaitDuration, 0, longest)
	o.integer("max_waiting", &c.MaxWaiting, 0, most)
	if o.has("max_waiting") && c.MaxWaiting > 0 && c.MaxWaitDuration == 0 {
		o.at("max_waiting").fail("%d calls may wait, but for no time: max_wait_duration is 0; set it, or set max_waiting to 0", c.MaxWaiting)
	}
	o.done(nil)
}

func readRetry(o *object, c *Retry) {
	o.integer("max_attempts", &c.MaxAttempts, 1, 1000)
	o.duration("initial_delay", &c.InitialDelay, 0, longest)
	o.duration("max_delay", &c.MaxDelay, 0, longest)
	o.number("base", &c.Base, 1, 100)
	o.number("jitter", &c.Jitter, 0, 1)
	if c.MaxDelay < c.InitialDelay {
		o.at("max_delay").fail("max_delay %v is below initial_delay %v; raise it or lower the other", c.MaxDelay, c.InitialDelay)
	}
	o.done(nil)
}

func readTimeouts(o *object, c *Timeouts) {
	o.duration("global", &c.Global, time.Millisecond, longest)
	readDurations(o.section("services"), c.Services)
	o.section("operations").entries(func(service string, v value) {
		c.Operations[service] = map[string]time.Duration{}
		readDurations(v.object(), c.Operations[service])
	})
	o.done(nil)
}

func readDurations(o *object, into map[string]time.Duration) {
	o.entries(func(name string, v value) {
		var d time.Duration
		if v.isScalar(aDuration) {
			v.duration(&d, time.Millisecond, longest)
		}
		into[name] = d
	})
}

func readRouting(o *object, c *Routing) {
	o.section("types").entries(func(taskType string, v value) { c.Types[taskType] = readRoute(v.object()) })
	o.id("default_agent", &c.DefaultAgent)
	o.integer("max_attempts", &c.MaxAttempts, 1, 1000)
	o.duration("max_queue_age", &c.MaxQueueAge, 0, longest)
	o.done(nil)
}

func readRoute(o *object) (r Route) {
	o.ids("agent_types", "agent types", &r.AgentTypes, 64)
	o.ids("capabilities", "capabilities", &r.Capabilities, contracts.MaxCapabilities)
	if !o.has("agent_types") && !o.has("capabilities") {
		o.fail("no agent is named for this task type; give agent_types, capabilities or both")
	}
	o.done(nil)
	return r
}

func readEventStore(o *object, c *EventStore) {
	o.duration("max_age", &c.MaxAge, contracts.DedupWindow, longest)
	o.bytes("max_bytes", &c.MaxBytes, 1<<20)
	o.integer("replicas", &c.Replicas, 1, 5)
	if c.Replicas%2 == 0 {
		o.at("replicas").fail("%d replicas bear no more failures than %d; use 1, 3 or 5", c.Replicas, c.Replicas-1)
	}
	o.done(nil)
}

func readShutdown(o *object, c *Shutdown) {
	o.duration("drain_timeout", &c.DrainTimeout, 0, longest)
	o.done(nil)
}

func readLimits(o *object, c *Limits) {
	o.integer("max_agents", &c.MaxAgents, 1, 10_000_000)
	o.integer("max_open_tasks", &c.MaxOpenTasks, 1, 10_000_000)
	o.integer("max_queued_tasks", &c.MaxQueuedTasks, 1, math.MaxInt32)
	o.done(nil)
}
