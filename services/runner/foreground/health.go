package foreground

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/health"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Active reports whether the program can act: it lives, and has not been stopped
// (SIGSTOP, Ctrl-Z, a debugger).
func (c *Command) Active() bool { return c.program.Active() }

// Unwell is how the program is not well, by what Watch has found, or nil.
func (c *Command) Unwell() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cmp.Or(c.failed, c.exceeded)
}

// Watch watches the health of the program for as long as it lives. Nothing that it
// finds ends the program.
func (c *Command) Watch(spec contracts.HealthSpec) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-c.done
		cancel()
	}()
	spec = spec.Complete()
	bounds := health.Bounds{Spec: spec}
	if pace := bounds.Pace(); pace > 0 {
		go every(ctx, pace, func() { c.bound(&bounds) })
	}
	if !spec.Checked() {
		return
	}
	dir, _ := os.Getwd() // the check says what is wrong with it
	ask := health.NewCheck(spec, health.As{Dir: dir, Env: os.Environ()})
	streak := health.Streak{Failures: spec.Failures, Grace: contracts.DefaultStartDeadline}
	go every(ctx, spec.Interval.D(), func() { c.check(ctx, ask, &streak) })
}

func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// check makes one check. One that passes ends what earlier ones have found.
func (c *Command) check(ctx context.Context, ask health.Check, streak *health.Streak) {
	c.checks.RLock()
	err := ask(ctx)
	c.checks.RUnlock()
	if ctx.Err() != nil || errors.Is(err, health.ErrHost) || !c.program.Active() {
		return
	}
	_, verdict := streak.Checked(time.Since(c.started), err)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case verdict != "":
		c.failed = errors.New(verdict)
	case err == nil:
		c.failed = nil
	}
}

// bound looks whether the program has passed a bound.
func (c *Command) bound(b *health.Bounds) {
	seen := health.Seen{Age: time.Since(c.started)}
	if b.Spec.MaxMemory > 0 {
		if u, err := procfs.UsageOf(c.PID()); err == nil {
			seen.Resident = u.Resident
		}
	}
	_, verdict := b.Judge(seen)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exceeded = nil; verdict != "" {
		c.exceeded = errors.New(verdict)
	}
}
