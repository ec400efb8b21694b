package shell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Teardown is a stack of named shutdown steps, run in reverse order of their
// adding. A step that fails or exceeds its time is reported, and the rest still
// run. The zero value is useful.
type Teardown struct {
	steps []step
}

type step struct {
	name    string
	timeout time.Duration
	run     func(context.Context) error
}

// Unbounded is the timeout of a step that bounds itself.
const Unbounded time.Duration = 0

// Add pushes a step; its context ends after timeout.
func (t *Teardown) Add(name string, timeout time.Duration, run func(context.Context) error) {
	t.steps = append(t.steps, step{name, timeout, run})
}

// Run performs the steps and joins their errors. A second Run does nothing.
func (t *Teardown) Run(log *slog.Logger) error {
	var errs []error
	for i := len(t.steps) - 1; i >= 0; i-- {
		s := t.steps[i]
		begin := time.Now()
		if err := s.do(); err != nil {
			errs = append(errs, fmt.Errorf("shutdown step %q: %w", s.name, err))
			log.Warn("shutdown step failed", "step", s.name, "took", time.Since(begin), "error", err)
			continue
		}
		log.Debug("shutdown step done", "step", s.name, "took", time.Since(begin))
	}
	t.steps = nil
	return errors.Join(errs...)
}

// do runs the step and gives up on it when its time is over, even if it
// ignores its context.
func (s step) do() error {
	if s.timeout == Unbounded {
		return s.run(context.Background())
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // it heeded its context, or ended just in time
		return err
	case <-time.After(s.timeout/10 + 10*time.Millisecond):
		return fmt.Errorf("still not done after %s", s.timeout)
	}
}
