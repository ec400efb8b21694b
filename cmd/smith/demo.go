package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/demo"
	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/agent"
)

type demoCmd struct {
	JSON    bool `help:"Print the result as JSON; the timeline goes to standard error."`
	Verbose bool `short:"v" help:"Show the services' logs on standard error."`
}

func (demoCmd) Help() string {
	return "Runs in a temporary directory on a free port and leaves nothing behind. Exit code 0 means that everything recovered as its strategy says and no task was lost.\n\nExamples:\n  smith demo\n  smith demo --json > result.json"
}

func (c *demoCmd) Run(a *app) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, which the demo's agents run: %w", err)
	}
	o := demo.Options{Self: self, Timeline: a.stdout, Log: slog.New(slog.DiscardHandler)}
	if c.JSON {
		o.Timeline = a.stderr
	}
	if c.Verbose {
		o.Log = a.log
	}
	o.Colour = colour(o.Timeline)
	report, err := demo.Run(a.ctx, o)
	if err != nil {
		return err
	}
	if err := c.print(a, report); err != nil {
		return err
	}
	if !report.OK {
		return errSilent
	}
	return nil
}

func (c *demoCmd) print(a *app, r demo.Report) error {
	if c.JSON {
		return a.printJSON(r)
	}
	if err := r.Print(a.stdout); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\nsmith why %s\n", r.Why.Agent)
	if err := describe.Chain(a.stdout, r.Why, time.Now()); err != nil {
		return err
	}
	r.Verdict(a.stdout)
	return nil
}

// colour tells whether w is a terminal on which colour is wanted.
func colour(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

type demoAgentCmd struct{}

// Run never returns: an agent's process ends with its agent.
func (demoAgentCmd) Run(*app) error {
	agent.Main(demo.Agent)
	return nil
}
