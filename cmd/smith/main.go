// Command smith runs MisterSmith on one host (up, demo) and operates it from
// anywhere: it shows trees, agents and events, says why an agent was
// restarted, and changes what is supervised.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/alecthomas/kong"

	"github.com/mistersmith/mistersmith/internal/shell"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// cli is the whole command line.
type cli struct {
	shell.LogFlags `group:"Logging"`
	Version        kong.VersionFlag `help:"Print the version."`

	Up   upCmd   `cmd:"" help:"Run everything in one process: an embedded NATS server and all services."`
	Run  runCmd  `cmd:"" help:"Run a program in the foreground as an agent of the fleet."`
	Demo demoCmd `cmd:"" help:"Show a fleet of real processes surviving six kinds of failure, in under a minute."`

	Tree      treeCmd      `cmd:"" help:"Show the supervision tree."`
	Runners   runnersCmd   `cmd:"" help:"List runners: state, room, labels."`
	Rebalance rebalanceCmd `cmd:"" help:"Move agents from the fullest runners to the emptiest."`
	Agents    agentsCmd    `cmd:"" help:"List agents and their health."`
	Watch     watchCmd     `cmd:"" help:"Follow failures, decisions and recoveries as they happen."`
	Why       whyCmd       `cmd:"" help:"Tell why an agent, a supervisor or a task is as it is, and what led to it."`
	Logs      logsCmd      `cmd:"" help:"Show what an agent printed, on whichever host it runs."`
	Events    eventsCmd    `cmd:"" help:"Query, get and replay events."`
	Task      taskCmd      `cmd:"" help:"Submit tasks and ask what became of them."`
	Child     childCmd     `cmd:"" help:"Add, remove, restart, terminate, scale, move, suspend and resume agents."`
	Drain     drainCmd     `cmd:"" help:"Stop the whole tree, in order."`
	Mode      modeCmd      `cmd:"" help:"Set what is enforced and what is only proposed, and compare proposals with what happened."`
	Config    configCmd    `cmd:"" help:"Check configuration files, show what they would change, and apply them."`

	Detector detectorCmd `cmd:"" help:"Explain how silence is judged, record what is heard, rehearse other settings."`

	Rehearse rehearseCmd `cmd:"" help:"Tell what would have happened under another configuration."`

	DemoAgent demoAgentCmd `cmd:"" hidden:"" help:"An agent of the demo."`
}

// app is what a command works with.
type app struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger
	// last is done when a second signal ends the process at once, if it is set.
	last atomic.Pointer[func()]
}

// errUsage marks errors that mean the command was called wrongly.
var errUsage = errors.New("wrong use")

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...)
}

const description = `OTP-grade supervision for fleets of agents over NATS.

Examples:
  smith demo                            see it work
  smith up                              run it here
  smith up --config supervision-config.yaml
  smith tree                            what is supervised
  smith why crawler-1                   why is it down, waiting or restarted?
  smith task submit research '{"q": "otters"}' --wait`

// run is main without the process around it.
func run(args []string, stdout, stderr io.Writer) int {
	var flags cli
	exited := -1
	parser, err := kong.New(
		&flags, kong.Name("smith"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Vars{"server": shell.DefaultServer, "version": "smith " + shell.Version},
	)
	if err != nil {
		fmt.Fprintln(stderr, "smith:", err)
		return shell.ExitFailed
	}
	cmd, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "smith: %v; see %s --help\n", err, helpOf(err))
		return shell.ExitUsage
	}
	log, err := flags.Logger(stderr)
	if err != nil {
		fmt.Fprintln(stderr, "smith:", err)
		return shell.ExitUsage
	}
	a := &app{stdout: stdout, stderr: stderr, log: log}
	a.ctx = context.Background()
	if !handlesSignals(cmd) {
		ctx, stop := shell.Signals(a.ctx, log, func() {
			if last := a.last.Load(); last != nil {
				(*last)()
			}
		})
		defer stop()
		a.ctx = ctx
	}
	return exitCode(cmd.Run(a), stderr)
}

// handlesSignals reports whether a command handles the signals of this process itself.
func handlesSignals(cmd *kong.Context) bool {
	_, own := cmd.Selected().Target.Interface().(interface{ ownSignals() })
	return own
}

// helpOf is the command whose help says what the arguments should have been.
func helpOf(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		if cmd := wrong.Context.Selected(); cmd != nil {
			return cmd.FullPath()
		}
	}
	return "smith"
}

func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return shell.ExitOK
	}
	var status exitStatus
	decided := errors.As(err, &status)
	if !errors.Is(err, errSilent) && (!decided || status.err != nil) {
		fmt.Fprintln(stderr, "smith:", err)
	}
	if decided {
		return status.code
	}
	if errors.Is(err, errUsage) {
		return shell.ExitUsage
	}
	return shell.ExitFailed
}

// errSilent says that everything has been said already.
var errSilent = errors.New("failed")
