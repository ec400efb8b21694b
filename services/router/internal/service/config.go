package service

import (
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// Config of the router. The zero value is useful.
type Config struct {
	// Scheduling says who works on what and how often a task is tried.
	Scheduling scheduler.Config
	// Streams shapes the task queue.
	Streams contracts.StreamOptions
	// DispatchTimeout is how long an agent may take to say yes or no to a
	// task, not to do it; default 2 s.
	DispatchTimeout time.Duration
	// AckWait is how long the queue waits for a sign of life before it gives a
	// message to another router; default 5 s.
	AckWait time.Duration
	// Lease is how long a router that neither answers nor renews keeps others
	// from taking over; default 10 s.
	Lease time.Duration
	// SnapshotEvery is the least time between snapshots; default 5 s.
	SnapshotEvery time.Duration
	// SweepEvery is how often queue lengths, ages and forgotten messages are
	// looked at; default 5 s.
	SweepEvery time.Duration
	// MaxOpenTasks bounds the tasks in the router's hands; default 10,000.
	MaxOpenTasks int
	// MaxHeldBytes bounds their bodies together; default 256 MiB.
	MaxHeldBytes int
	// MaxTypes bounds the task types served at once; default 1,000.
	MaxTypes int
	// File holds the settings of the guards; nil means defaults.
	File *config.File
}

func (c Config) withDefaults() Config {
	orDuration(&c.DispatchTimeout, 2*time.Second)
	orDuration(&c.AckWait, 5*time.Second)
	orDuration(&c.Lease, 10*time.Second)
	orDuration(&c.SnapshotEvery, 5*time.Second)
	orDuration(&c.SweepEvery, 5*time.Second)
	if c.MaxOpenTasks == 0 {
		c.MaxOpenTasks = 10_000
	}
	if c.MaxHeldBytes == 0 {
		c.MaxHeldBytes = 256 << 20
	}
	if c.MaxTypes == 0 {
		c.MaxTypes = 1000
	}
	return c
}

// Validate reports what is wrong with the configuration, or nil.
func (c Config) Validate() error {
	errs := []error{c.Scheduling.Validate()}
	for name, d := range map[string]time.Duration{
		"dispatch_timeout": c.DispatchTimeout, "ack_wait": c.AckWait, "lease": c.Lease,
		"snapshot_every": c.SnapshotEvery, "sweep_every": c.SweepEvery,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s: %s is negative", name, d))
		}
	}
	if c.MaxOpenTasks < 0 || c.MaxHeldBytes < 0 || c.MaxTypes < 0 {
		errs = append(errs, errors.New("max_open_tasks, max_held_bytes and max_types: must not be negative"))
	}
	return errors.Join(errs...)
}

func orDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}
