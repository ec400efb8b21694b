package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// rollFlags ask for agents to be restarted a few at a time.
type rollFlags struct {
	Rolling        bool `help:"Restart the agents at and below the node a few at a time, each only when the one before is up and verified."`
	Outdated       bool `help:"The same, for the agents only that run what their configuration no longer says; without a node, in the whole tree."`
	MaxUnavailable int  `placeholder:"N" help:"With --rolling or --outdated: how many may be down at once (default 1)."`
}

type childRestartCmd struct {
	clientFlags
	rollFlags
	Node   string `arg:"" optional:"" help:"The agent or supervisor node."`
	Reason string `help:"Recorded with the decision."`
}

func (childRestartCmd) Help() string {
	return "Examples:\n  smith child restart crawler-1\n  smith child restart research --reason 'new version'\n" +
		"  smith child restart research --rolling --max-unavailable 2\n  smith child restart --outdated"
}

func (c *childRestartCmd) Run(a *app) error {
	switch {
	case c.Node == "" && !c.Outdated:
		return usagef("name the agent or supervisor node to restart; root is the whole tree")
	case c.MaxUnavailable != 0 && !c.Rolling && !c.Outdated || c.MaxUnavailable < 0:
		return usagef("--max-unavailable %d: at least 1, and only with --rolling or --outdated", c.MaxUnavailable)
	case !c.Rolling && !c.Outdated:
		return nodeFlags{c.clientFlags, c.Node, c.Reason}.order(a, "restart")
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	v, err := askOn[contracts.RollingView](a, c.clientFlags, nc, contracts.ServiceSupervisor, "roll", contracts.RollRequest{
		Node: c.Node, Outdated: c.Outdated, MaxUnavailable: c.MaxUnavailable, Reason: c.Reason, By: operator(),
	})
	if err != nil {
		return err
	}
	done, err := followRolling(a, c.clientFlags, nc, &v, c.words())
	switch {
	case err != nil:
		return err
	case c.JSON:
		return a.printJSON(done)
	case v.State == contracts.RollingNone:
		_, err = fmt.Fprintln(a.stdout, "restart: nothing to do")
		return err
	}
	_, err = fmt.Fprintln(a.stdout, "restart: done")
	return err
}

// rollWords are what a command says of the rolling restart that it began.
type rollWords struct {
	// done is what is so although an agent failed that stops nothing, again what
	// continues, or begins again, after it was stopped.
	done, again string
}

func (c *childRestartCmd) words() rollWords {
	if c.Outdated {
		return rollWords{"the others are restarted", strings.TrimSpace("smith child restart "+c.Node) + " --outdated to go on"}
	}
	return rollWords{"the others are restarted", "smith child restart " + c.Node + " --rolling to restart all of them again"}
}

// rollingLine is a rolling restart below a tree.
func rollingLine(r *contracts.RollingView) string {
	switch {
	case r == nil:
		return ""
	case r.State == contracts.RollingStopped:
		return fmt.Sprintf("rolling restart stopped after %d of %s: %s\n", r.Done, plural(r.Total, "agent"), shell.OneLine(r.Reason))
	}
	return rollingProgress(r) + "\n"
}

// rollingProgress is how far a rolling restart is, in a line.
func rollingProgress(r *contracts.RollingView) string {
	if r.Total == 0 {
		return "removed agents" + rollingNow(r)
	}
	if r.Added == r.Total {
		return fmt.Sprintf("new agents: %d of %d up%s", r.Done, r.Total, rollingNow(r))
	}
	return fmt.Sprintf("rolling restart: %d of %s, at most %d at once%s", r.Done, plural(r.Total, "agent"), r.MaxUnavailable, rollingNow(r))
}

// rollingNow names what a rolling restart is at, and what else it waits for.
func rollingNow(r *contracts.RollingView) string {
	const most = 4
	few := func(what string, names []string) string {
		switch {
		case len(names) == 0:
			return ""
		case len(names) > most:
			return fmt.Sprintf(", %s %s and %d more", what, strings.Join(names[:most], ", "), len(names)-most)
		}
		return ", " + what + " " + strings.Join(names, ", ")
	}
	return few("now", r.Now) + few("waiting for", r.Down) + few("still ending", r.Ending)
}

// askRolling asks once how far a rolling restart is.
func askRolling(a *app, f clientFlags, nc *nats.Conn, id string) (contracts.RollingView, error) {
	ctx, cancel := f.request(a)
	defer cancel()
	return shell.Call[contracts.RollingView](ctx, nc, contracts.ServiceSubject(contracts.ServiceSupervisor, "rolling"), contracts.RollingRequest{ID: id})
}

// rollingPoll is how often a rolling restart is asked about.
const rollingPoll = 300 * time.Millisecond

// followRolling waits until a rolling restart is over. The leader may change meanwhile.
// One that is stopped is an error.
func followRolling(a *app, f clientFlags, nc *nats.Conn, v *contracts.RollingView, words rollWords) (*contracts.RollingView, error) {
	if v == nil || v.State == contracts.RollingNone {
		return v, nil
	}
	shows := newProgress(a, f.JSON)
	defer shows.close()
	id, heard := v.ID, time.Now()
	for now := *v; ; {
		switch {
		case now.ID != id:
			return &now, errors.New("what became of the rolling restart is no longer known; look with smith tree, and smith tree --problems tells what does not run")
		case now.State == contracts.RollingNone:
			done := *v
			done.State, done.Done, done.Now, done.Down, done.Ending = contracts.RollingNone, v.Total, nil, nil, nil
			return &done, nil
		case now.State == contracts.RollingFailed:
			return &now, fmt.Errorf("%s, but %s; smith tree --problems tells more", words.done, shell.OneLine(now.Reason))
		case now.State == contracts.RollingSuperseded:
			return &now, fmt.Errorf("superseded: %s before all agents were verified; look with smith tree, and smith config diff tells what a file would change now", shell.OneLine(now.Reason))
		case now.State == contracts.RollingStopped:
			return &now, fmt.Errorf("rolling restart stopped: %s; the others are left as they are: see smith tree, and %s", shell.OneLine(now.Reason), words.again)
		}
		shows.set(rollingProgress(&now))
		if err := shell.Pause(a.ctx, rollingPoll); err != nil {
			return &now, errors.New("interrupted; the rolling restart is under way and goes on; look with smith tree")
		}
		next, err := askRolling(a, f, nc, id) // again and again, also during a takeover
		switch {
		case err == nil:
			now, heard = next, time.Now()
		case a.ctx.Err() == nil && time.Since(heard) > silentFor:
			return &now, fmt.Errorf("rolling restart: no supervisor answers: %w", err)
		}
	}
}
