package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type taskCmd struct {
	Submit taskSubmitCmd `cmd:"" help:"Submit a task."`
	Status taskStatusCmd `cmd:"" help:"Show what became of a task."`
}

type taskSubmitCmd struct {
	clientFlags
	Type        string             `arg:"" help:"Type of the task."`
	Payload     string             `arg:"" optional:"" default:"null" help:"Payload as JSON; - reads it from standard input."`
	ID          string             `help:"Id of the task; the same id twice is one task."`
	TaskTimeout contracts.Duration `placeholder:"DURATION" help:"Bound on one attempt, such as 30s."`
	MaxAttempts int                `help:"How often it is tried."`
	Wait        bool               `help:"Wait for the result, up to --timeout."`
}

func (taskSubmitCmd) Help() string {
	return "Examples:\n  smith task submit research '{\"q\": \"otters\"}'\n  cat input.json | smith task submit code - --wait --timeout 1m"
}

func (c *taskSubmitCmd) Run(a *app) error {
	payload := []byte(c.Payload)
	if c.Payload == "-" {
		var err error
		if payload, err = io.ReadAll(io.LimitReader(os.Stdin, contracts.MaxTaskBytes+1)); err != nil {
			return fmt.Errorf("read the payload from standard input: %w", err)
		}
	}
	if len(payload) > contracts.MaxTaskBytes {
		return usagef("the payload has more than %d bytes; put large input where agents can fetch it, and its address into the task", contracts.MaxTaskBytes)
	}
	if !json.Valid(payload) {
		return usagef("the payload is not JSON; quote strings, as in '\"text\"'")
	}
	task := contracts.Task{
		ID: c.ID, Type: c.Type, Payload: payload, Timeout: c.TaskTimeout, MaxAttempts: c.MaxAttempts,
	}
	if err := task.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	submitted, err := ask[contracts.SubmitReply](a, c.clientFlags, contracts.ServiceRouter, "submit", task)
	if err != nil {
		return err
	}
	if submitted.Warning != "" {
		fmt.Fprintln(a.stderr, "smith: warning:", submitted.Warning)
	}
	if c.Wait {
		return c.wait(a, submitted.Task)
	}
	if c.JSON {
		return a.printJSON(submitted)
	}
	_, err = fmt.Fprintln(a.stdout, submitted.Task)
	return err
}

func (c *taskSubmitCmd) wait(a *app, task string) error {
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := c.request(a)
	defer cancel()
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		view, err := askOn[contracts.TaskView](a, c.clientFlags, nc, contracts.ServiceRouter, "status", contracts.TaskRequest{Task: task})
		var refused *shell.APIError
		known := !errors.As(err, &refused) || refused.Code != contracts.CodeNotFound
		if err != nil && known {
			return err
		}
		if known && view.Status != "queued" && view.Status != "assigned" {
			return printTask(a, c.JSON, view)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("task %s is not done after %s; ask again with: smith task status %s", task, c.Timeout, task)
		case <-every.C:
		}
	}
}

type taskStatusCmd struct {
	clientFlags
	Task string `arg:"" help:"Id of the task."`
}

func (taskStatusCmd) Help() string { return "Example:\n  smith task status 0192f0c1-…" }

func (c *taskStatusCmd) Run(a *app) error {
	view, err := ask[contracts.TaskView](a, c.clientFlags, contracts.ServiceRouter, "status", contracts.TaskRequest{Task: c.Task})
	if err != nil {
		return err
	}
	return printTask(a, c.JSON, view)
}

// printTask shows a task; one that failed for good makes the command fail.
func printTask(a *app, asJSON bool, v contracts.TaskView) error {
	var err error
	if asJSON {
		err = a.printJSON(v)
	} else {
		fmt.Fprintf(a.stdout, "%s  %s  %s", v.Task, v.Type, v.Status)
		if v.Agent != "" {
			fmt.Fprintf(a.stdout, "  by %s (incarnation %d, attempt %d)", v.Agent, v.Incarnation, v.Attempt)
		}
		fmt.Fprintln(a.stdout)
		if v.Error != "" {
			fmt.Fprintln(a.stdout, "error:", v.Error)
		}
		if len(v.Result) > 0 {
			fmt.Fprintln(a.stdout, string(v.Result))
		}
	}
	if err == nil && (v.Status == "failed" || v.Status == "dead") {
		return errSilent
	}
	return err
}
