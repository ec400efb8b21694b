package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/up"
	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natsd"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type upCmd struct {
	Listen     string   `env:"SMITH_LISTEN" default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"Where NATS clients connect; port 0 takes a free one (default ${default})."`
	StoreDir   string   `env:"SMITH_STORE_DIR" type:"path" placeholder:"DIR" help:"Where everything that must survive is kept (default: the user's state directory)."`
	Config     string   `short:"c" env:"SMITH_CONFIG" type:"path" placeholder:"FILE" help:"supervision-config.yaml; without it, an empty tree."`
	HTTP       string   `name:"http" env:"SMITH_HTTP" placeholder:"ADDR" help:"Address of /healthz, /readyz and /metrics (default: none)."`
	Runner     string   `env:"SMITH_RUNNER_NAME" default:"local" help:"Name of this host's runner."`
	PassEnv    []string `name:"pass-env" env:"SMITH_RUNNER_PASS_ENV" placeholder:"VAR" help:"Variable of this environment that agents get too; may be repeated."`
	KeepAgents bool     `help:"Leave agents running when smith stops."`
}

func (upCmd) Help() string {
	return `Prints "ready nats://HOST:PORT" once everything serves. SIGTERM and Ctrl-C stop the agents, in their
order and with the time that each has for it, and then everything else. A second one ends
smith at once and leaves what still runs, which the next smith up takes over.
SIGHUP reads the configuration again and applies it, as smith config apply does.

Examples:
  smith up
  smith up --config supervision-config.yaml --http 127.0.0.1:9100
  smith up --config supervision-config.yaml --pass-env ANTHROPIC_API_KEY`
}

func (c *upCmd) Run(a *app) error {
	if err := contracts.ValidateID(c.Runner); err != nil {
		return fmt.Errorf("%w: --runner: %w", errUsage, err)
	}
	shell.OutliveLogReaders()
	reload := shell.Hangups(a.ctx)
	f, err := config.Load(c.Config)
	if err != nil {
		fmt.Fprintln(a.stderr, err) // lines that begin with their place in the file
		return errors.Join(errUsage, errSilent)
	}
	dir, err := storeDir(c.StoreDir)
	if err != nil {
		return err
	}
	err = up.Run(a.ctx, up.Options{
		Listen: c.Listen, StoreDir: dir, HTTP: c.HTTP, Runner: c.Runner, PassEnv: c.PassEnv, KeepAgents: c.KeepAgents, File: f, Log: a.log,
		Reload: reload, Stdout: a.stdout,
	}, func(url string) {
		last := func() { fmt.Fprintln(a.stderr, "smith: ended at once;", whatIsLeft(c.Runner, url, a.log)) }
		a.last.Store(&last)
		fmt.Fprintln(a.stdout, "ready", url)
	})
	if errors.Is(err, natsd.ErrListenAddress) {
		return fmt.Errorf("%w: --listen: %w", errUsage, err)
	}
	return err
}

// whatIsLeft says which agents of a runner still run, in words that others can follow.
func whatIsLeft(runner, url string, log *slog.Logger) string {
	const most, takenOver = 10, "the next smith up with this store takes them over"
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	nc, err := shell.NATSFlags{Server: url, Timeout: time.Second}.Connect(ctx, "smith-up", log)
	if err != nil {
		return "agents may still run; " + takenOver
	}
	defer nc.Close()
	list, err := shell.Call[contracts.RunnerList](ctx, nc, contracts.RunnerSubject(runner, "list"), contracts.ListCommand{})
	if err != nil {
		return "agents may still run; " + takenOver
	}
	var left []string
	for _, a := range list.Agents {
		if a.State != contracts.AgentExited {
			left = append(left, shell.OneLine(a.Agent))
		}
	}
	switch n := len(left); {
	case n == 0:
		return "no agent runs"
	case n > most:
		return fmt.Sprintf("%d agents still running: %s and %d more; %s", n, strings.Join(left[:most], ", "), n-most, takenOver)
	default:
		return fmt.Sprintf("%s still running: %s; %s", plural(n, "agent"), strings.Join(left, ", "), takenOver)
	}
}

// storeDir is the directory asked for, or the one XDG has for state.
func storeDir(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "mistersmith"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home directory for the store: %w; name a directory with --store-dir", err)
	}
	return filepath.Join(home, ".local", "state", "mistersmith"), nil
}
