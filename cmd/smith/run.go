package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/adopt"
	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/pkg/natsconn"
)

type runCmd struct {
	shell.NATSFlags `group:"NATS"`

	Command  []string           `arg:"" passthrough:"" help:"Program and arguments, after --."`
	Name     string             `placeholder:"ID" help:"Name of the agent (default: the program's, with a random end)."`
	Type     string             `help:"Type of the agent."`
	Health   map[string]string  `help:"By what is found out that it does not work, as KEY=VALUE;… with the keys that the configuration has under health. It is then shown as degraded."`
	Interval contracts.Duration `name:"heartbeat-interval" placeholder:"DURATION" default:"5s" help:"How often it beats, such as 1s (default ${default})."`
	Shutdown contracts.Duration `name:"shutdown-timeout" placeholder:"DURATION" default:"5s" help:"Time between SIGTERM and SIGKILL when the agent is asked to stop, such as 30s (default ${default})."`
}

func (runCmd) Help() string {
	return `Runs a program as it is, with the caller's input, output, terminal and signals, and returns its
exit code; 128 and the number for a signal that ended it. As long as it runs it is an agent:
it beats, and its start and its end are events. Without NATS it runs all the same.
Exit code 125 says that smith did not start it, 126 that it cannot be executed, 127 that there
is no such program.

Examples:
  smith run -- ./crawl --depth 3
  smith run --name nightly --type backup -- sh -c 'pg_dump shop | zstd >shop.zst'
  smith run --name api --health 'http=http://127.0.0.1:8080/healthz' -- ./api`
}

// ownSignals marks a command that handles the signals of this process itself.
func (runCmd) ownSignals() {}

// exitNotStarted is the exit code where smith did not start the program, as env(1)
// and others have it.
const exitNotStarted = 125

func (c *runCmd) Run(a *app) error {
	o, err := c.options(a)
	if err != nil {
		return err
	}
	code, err := adopt.Run(o)
	switch {
	case err == nil && code == 0:
		return nil
	case err == nil:
		return exitStatus{code: code}
	case errors.Is(err, adopt.ErrNotStarted):
		code = exitNotStarted
	}
	return exitStatus{code: code, err: err}
}

func (c *runCmd) options(a *app) (o adopt.Options, err error) {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 || command[0] == "" {
		return o, usagef("name the program after --")
	}
	o = adopt.Options{
		Argv: command, Name: c.Name, Chosen: c.Name != "", Type: c.Type, Interval: c.Interval.D(), StopWithin: c.Shutdown.D(),
		Say: func(text string) { fmt.Fprintln(a.stderr, "smith run:", describe.Plain(text)) },
		Log: slog.New(slog.DiscardHandler),
	}
	if a.log.Enabled(a.ctx, slog.LevelDebug) {
		o.Log = a.log
	}
	if o.Name == "" {
		o.Name = nameFor(command[0])
	}
	if o.Health, err = c.health(); err != nil {
		return o, err
	}
	if err := contracts.ValidateID(o.Name); err != nil {
		return o, fmt.Errorf("%w: --name: %w", errUsage, err)
	}
	if c.Interval <= 0 || c.Shutdown <= 0 {
		return o, usagef("--heartbeat-interval and --shutdown-timeout: must be more than 0")
	}
	beat := contracts.Heartbeat{Interval: c.Interval, Type: c.Type}
	if err := beat.Validate(); err != nil {
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	c.Selected = true
	o.Servers, o.NATS, err = c.Options()
	if err == nil {
		err = natsconn.CheckURLs(o.Servers)
	}
	if err != nil {
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, nil
}

func (c *runCmd) health() (*contracts.HealthSpec, error) {
	if len(c.Health) == 0 {
		return nil, nil
	}
	spec, err := contracts.ParseHealthSpec(c.Health)
	if err == nil && spec.OutputWithin > 0 {
		err = errors.New("output_within: smith run does not read what the program prints; use another check, or have a runner start it")
	}
	if err != nil {
		return nil, usagef("--health: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return spec, nil
}

// nameFor makes a name that no other agent has from that of a program.
func nameFor(program string) string {
	const suffix = 6
	base := strings.Map(func(r rune) rune {
		if r < 0x80 && contracts.ValidateID(string(r)) == nil {
			return r
		}
		return '-'
	}, filepath.Base(program))
	return base[:min(len(base), contracts.MaxIDLength-1-suffix)] + "-" + strings.ToLower(rand.Text()[:suffix])
}

// exitStatus is an error that decides the exit code. Without err all was said.
type exitStatus struct {
	code int
	err  error
}

func (e exitStatus) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitStatus) Unwrap() error { return e.err }
