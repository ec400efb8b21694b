package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/agent"
)

// Agent is the program that the demo's fleet runs: it works on tasks, and
// crashes at its start as often as its crash file says.
func Agent(ctx context.Context, o agent.Options) error {
	if err := crashIfTold(crashFile(o.Getenv("DEMO_DIR"), o.Agent)); err != nil {
		return err
	}
	o.Handle = func(ctx context.Context, t *agent.Task) (any, error) {
		var work taskPayload
		if err := t.Decode(&work); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(work.Takes.D()):
			return map[string]any{"by": o.Agent, "number": work.Number}, nil
		}
	}
	return agent.Run(ctx, o)
}

func crashFile(dir, agent string) string { return filepath.Join(dir, agent+".crashes") }

// tellToCrash makes an agent crash at each of its next starts.
func tellToCrash(dir, agent string, times int) error {
	return os.WriteFile(crashFile(dir, agent), []byte(strconv.Itoa(times)), 0o600)
}

func crashIfTold(file string) error {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	left, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || left <= 0 {
		return err
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(left-1)), 0o600); err != nil {
		return err
	}
	return fmt.Errorf("the configuration is broken (%d more starts will fail)", left-1)
}
