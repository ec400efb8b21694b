package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/histogram"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type detectorCmd struct {
	Explain  explainCmd          `cmd:"" help:"Tell how an agent's silence is judged, and from what."`
	Record   recordCmd           `cmd:"" help:"Write down what the detector hears."`
	Rehearse rehearseDetectorCmd `cmd:"" help:"Replay a recording under other settings."`
}

type explainCmd struct {
	clientFlags
	Agent string `arg:"" help:"The agent."`
}

func (explainCmd) Help() string {
	return "Shows the agent's recent intervals between heartbeats as a histogram, with the silences that make it degraded and failed in their places, " +
		"and after how much silence suspicion reaches each level.\n\nExamples:\n  smith detector explain crawler-1\n  smith detector explain crawler-1 --json"
}

func (c *explainCmd) Run(a *app) error {
	reply, err := ask[contracts.ExplainReply](a, c.clientFlags, contracts.ServiceDetector, "explain", contracts.AgentRequest{Agent: c.Agent})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(reply)
	}
	return explain(a, reply)
}

// ANSI colours of limits.
const (
	red    = 31
	yellow = 33
)

func explain(a *app, r contracts.ExplainReply) error {
	v := r.View
	said := standing(v)
	if v.Status == contracts.StatusDegraded {
		said += "\nit reports itself degraded"
	}
	fmt.Fprintf(a.stdout, "%s\nit beats every %s; %d intervals known; judged by %s (%s)\n", said, v.Interval, v.Samples, v.Rule, r.Settings.Algorithm)
	if v.Mistakes > 0 {
		fmt.Fprintf(a.stdout, "verdicts on it taken back: %d\n", v.Mistakes)
	}
	fmt.Fprintf(a.stdout, "\nlast %d intervals\n", len(r.Recent))
	gaps := make([]time.Duration, len(r.Recent))
	for i, g := range r.Recent {
		gaps[i] = g.D()
	}
	var marks []histogram.Mark
	if v.FailedAfter > 0 { // not while it stops
		marks = []histogram.Mark{
			{At: v.DegradedAfter.D(), Text: fmt.Sprintf("degraded (phi %.2f)", v.Threshold/2), Colour: yellow},
			{At: v.FailedAfter.D(), Text: fmt.Sprintf("failed (phi %.2f)", v.Threshold), Colour: red},
		}
	}
	if err := histogram.Draw(a.stdout, gaps, marks, histogram.Style{Colour: a.colour()}); err != nil {
		return err
	}
	levels := make([]string, 0, len(r.Levels))
	for _, l := range r.Levels {
		if l.After.D() > 100*v.Interval.D() {
			break
		}
		levels = append(levels, fmt.Sprintf("%g at %s", l.Phi, l.After.D().Round(time.Millisecond)))
	}
	if len(levels) > 0 {
		fmt.Fprintf(a.stdout, "\nphi by its own record: %s\n", strings.Join(levels, ", "))
	}
	return nil
}

// standing is what the detector makes of an agent at present.
func standing(v contracts.AgentView) string {
	silent := fmt.Sprintf("silent for %s", round(v.Silence.D()))
	switch {
	case v.Stopping > 0:
		return fmt.Sprintf("%s said %s ago that it stops; its shutdown timeout is %s; last heard %s ago", v.Agent, round(v.Stopping.D()), v.MayStop, round(v.Silence.D()))
	case v.Failure == contracts.ReasonStoppingTimeout:
		return fmt.Sprintf("%s is %s: it said that it stops, and has not ended in time; last heard %s ago", v.Agent, v.Health, round(v.Silence.D()))
	case v.AwaitsRunner:
		return fmt.Sprintf("%s is %s: %s, as is its runner %s, which beats for it;\na verdict waits until the runner is heard", v.Agent, v.Health, silent, dash(v.Runner))
	}
	return fmt.Sprintf("%s is %s: %s, phi %.2f of %.2f", v.Agent, v.Health, silent, v.Phi, v.Threshold)
}

// terminal tells whether standard output is one.
func (a *app) terminal() bool {
	f, ok := a.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour tells whether to print in colour.
func (a *app) colour() bool { return a.terminal() && os.Getenv("NO_COLOR") == "" }
