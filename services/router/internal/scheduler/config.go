package scheduler

import (
	"errors"
	"fmt"
	"time"
)

// Config says who works on what, and how often and how long a task is tried.
// The zero value is useful.
type Config struct {
	// Routes names the agents of a task type. A type that is not here goes to
	// agents whose type or capability equals it. Nil means DefaultRoutes.
	Routes map[string]Route
	// DefaultAgent gets the tasks of types that nobody alive can do; empty
	// leaves them queued.
	DefaultAgent string
	// DefaultAfter is how long a type must have had nobody before the default
	// agent stands in, so that a restart does not flood it; default 10 s.
	DefaultAfter time.Duration
	// MaxAttempts is how many failed attempts a task may have; default 3.
	// Refused and undelivered dispatches do not count.
	MaxAttempts int
	// RetryDelay is the wait after a task's first failure; it doubles up to
	// MaxRetryDelay. Defaults 200 ms and 30 s. A task whose agent died does
	// not wait.
	RetryDelay, MaxRetryDelay time.Duration
	// Cooldown is how long an agent that refused or missed a dispatch is left
	// alone; it doubles up to MaxCooldown. Defaults 200 ms and 10 s.
	Cooldown, MaxCooldown time.Duration
	// MaxQueueAge dead-letters tasks that wait longer; 0 means never.
	MaxQueueAge time.Duration
	// TaskTimeout bounds an attempt of a task that sets none; 0 means only
	// the agent's life bounds it.
	TaskTimeout time.Duration
	// ForgetAfter is how long an agent that is down stays known; default 1 h.
	ForgetAfter time.Duration
	// DoneMemory and QueueMemory bound how many finished and how many queued
	// tasks are remembered by id; defaults 10,000 and 50,000.
	DoneMemory, QueueMemory int
	// MaxAgents bounds the agents that are known from heartbeats; default
	// 100,000.
	MaxAgents int
}

// Route is who can do a type of task: agents of any of Types, with all of
// Capabilities; an empty list asks for nothing.
type Route struct {
	Types        []string
	Capabilities []string
}

// DefaultRoutes is research to researchers, code to coders, and analysis to
// analysts.
func DefaultRoutes() map[string]Route {
	return map[string]Route{
		"research": {Types: []string{"researcher"}},
		"code":     {Types: []string{"coder"}},
		"analysis": {Types: []string{"analyst"}},
	}
}

func (c Config) withDefaults() Config {
	if c.Routes == nil {
		c.Routes = DefaultRoutes()
	}
	orDuration(&c.DefaultAfter, 10*time.Second)
	orDuration(&c.RetryDelay, 200*time.Millisecond)
	orDuration(&c.MaxRetryDelay, 30*time.Second)
	orDuration(&c.Cooldown, 200*time.Millisecond)
	orDuration(&c.MaxCooldown, 10*time.Second)
	orDuration(&c.ForgetAfter, time.Hour)
	orInt(&c.MaxAttempts, 3)
	orInt(&c.DoneMemory, 10_000)
	orInt(&c.QueueMemory, 50_000)
	orInt(&c.MaxAgents, 100_000)
	return c
}

// Validate reports what is wrong with the configuration, or nil.
func (c Config) Validate() error {
	var errs []error
	for name, d := range map[string]time.Duration{
		"default_after": c.DefaultAfter, "retry_delay": c.RetryDelay, "max_retry_delay": c.MaxRetryDelay,
		"cooldown": c.Cooldown, "max_cooldown": c.MaxCooldown, "max_queue_age": c.MaxQueueAge,
		"task_timeout": c.TaskTimeout, "forget_after": c.ForgetAfter,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s: %s is negative", name, d))
		}
	}
	if c.MaxAttempts < 0 || c.DoneMemory < 0 || c.QueueMemory < 0 || c.MaxAgents < 0 {
		errs = append(errs, errors.New("max_attempts, max_agents, done_memory and queue_memory: must not be negative"))
	}
	for taskType, r := range c.Routes {
		if len(r.Types) == 0 && len(r.Capabilities) == 0 {
			errs = append(errs, fmt.Errorf("routes.%s: names neither agent types nor capabilities", taskType))
		}
	}
	return errors.Join(errs...)
}

func orDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func orInt(n *int, def int) {
	if *n == 0 {
		*n = def
	}
}

// backoff doubles first for every failure after the first, up to limit.
func backoff(first, limit time.Duration, failures int) time.Duration {
	d := first
	for i := 1; i < failures && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}
