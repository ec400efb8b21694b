// Package adopt makes a command that runs in the foreground of a shell an agent of
// the fleet: it beats for the command, answers for it, and reports its start and
// its end as events.
//
// The command comes first. It starts, runs and ends the same without NATS, and is
// an agent while NATS can be reached. Only a name that is another's keeps it from
// being started.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/pkg/natsconn"
	"github.com/mistersmith/mistersmith/services/runner/foreground"
)

// Options say what to run, and as which agent.
type Options struct {
	// Argv are the program and its arguments; no shell sees them.
	Argv []string
	// Name and Type are the agent's. Chosen says that a user chose the name: only
	// then can it be one of a tree.
	Name, Type string
	Chosen     bool
	// Interval is the time between two heartbeats, StopWithin how long the command
	// may take to end when somebody asks the agent to stop.
	Interval, StopWithin time.Duration
	// Health is by what is found out that the command does not work, or nil.
	Health *contracts.HealthSpec
	// Servers and NATS say how to reach NATS.
	Servers string
	NATS    []nats.Option
	// Say tells the caller something, in a line.
	Say func(text string)
	// Log gets everything else.
	Log *slog.Logger
}

// ErrNotStarted tells that the command was not started, for a reason that lies
// neither in the command nor in NATS.
var ErrNotStarted = errors.New("not started")

const (
	// patience is how long NATS may take to answer before the command is started.
	patience = 2 * time.Second
	// reportWithin is how long an event may take once the command has ended, and
	// leaveWithin how long the agent may take for all that it has to say then.
	reportWithin = 2 * time.Second
	leaveWithin  = 2 * reportWithin
	// connectFor is how long NATS is tried: for as long as any command runs.
	connectFor = 10 * 365 * 24 * time.Hour
)

// adoption is a command at work as an agent.
type adoption struct {
	Options
	command *foreground.Command // set when begun is closed
	begun   chan struct{}
	up      chan struct{} // closed when the agent is there
	unseen  sync.Once     // says that the command runs without NATS
	barred  sync.Once     // says that NATS refuses something of what an agent does
	unheard sync.Once     // says that events are not stored
	refused chan struct{} // closed when NATS refuses events
}

// Run runs the command and returns its exit code. An error tells that it was not
// started; then the code is one for that, or 0 with [ErrNotStarted].
func Run(o Options) (code int, err error) {
	a := &adoption{Options: o, begun: make(chan struct{}), up: make(chan struct{}), refused: make(chan struct{})}
	reached, err := a.probe()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan error, 1)
	go func() { left <- a.serve(ctx) }()
	if reached {
		if err := a.join(left); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
		}
	}
	if a.command, err = foreground.Start(o.Argv); err != nil {
		cancel()
		a.leave(left)
		return foreground.StartCode(err), err
	}
	close(a.begun)
	if o.Health != nil {
		a.command.Watch(*o.Health)
	}
	<-a.command.Done()
	select {
	case <-a.up:
	default:
		cancel()
	}
	a.leave(left)
	return a.command.Code(), nil
}

// probe reports whether NATS can be reached now. The error says that the name is one
// of a tree.
func (a *adoption) probe() (reached bool, err error) {
	quiet := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { a.Log.Debug("probe", "error", err) })
	opts := append([]nats.Option{nats.Name("smith run"), nats.Timeout(patience), quiet}, a.NATS...)
	nc, err := nats.Connect(a.Servers, opts...)
	if err != nil {
		a.without(fmt.Errorf("cannot connect to NATS at %s: %w", natsconn.Redact(a.Servers), err))
		return false, nil
	}
	defer nc.Close()
	if a.Chosen {
		return true, supervised(nc, a.Name)
	}
	return true, nil
}

// join waits until the agent is there, for a while. The error says that another
// process has its name.
func (a *adoption) join(left chan error) error {
	select {
	case <-a.up:
		return nil
	case <-time.After(patience):
		return nil // the command is not to wait for longer
	case err := <-left:
		if errors.Is(err, agent.ErrNameTaken) || errors.Is(err, agent.ErrSuperseded) {
			return fmt.Errorf("%w, with --name", err)
		}
		a.without(err)
		left <- nil
		return nil
	}
}

// without says once that the command runs without NATS.
func (a *adoption) without(err error) {
	a.unseen.Do(func() {
		then := fmt.Sprintf("is agent %s when NATS can be reached", a.Name)
		if natsconn.RefusalOf(err) != natsconn.NotRefused {
			then = fmt.Sprintf("is not seen as agent %s", a.Name)
		}
		a.Say(fmt.Sprintf("%v; the command runs all the same, and %s", err, then))
	})
}

// serve is the agent, until the command has ended.
func (a *adoption) serve(ctx context.Context) error {
	err := agent.Run(ctx, agent.Options{
		Agent: a.Name, Type: a.Type, HeartbeatInterval: a.Interval, DrainTimeout: a.StopWithin,
		URL: a.Servers, NATS: append(a.NATS, a.listeners()...), ConnectTimeout: connectFor, Log: a.Log,
		Work: a.work, Watchdog: a.Interval, Health: a.health,
	})
	switch {
	case err == nil || ctx.Err() != nil || !a.running():
	case errors.Is(err, agent.ErrConnect):
		a.without(err)
	case errors.Is(err, agent.ErrSuperseded):
		a.Say(fmt.Sprintf("the command was ended: %v", err))
	default:
		a.Say(fmt.Sprintf("the command runs on, and is not seen: %v", err))
	}
	return err
}

// listeners are what is to be known of the connections.
func (a *adoption) listeners() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				a.without(fmt.Errorf("connection to NATS lost: %w", err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			switch {
			case !errors.Is(err, nats.ErrPermissionViolation):
			case strings.Contains(err.Error(), `"smith.event.`):
				a.unstored(err)
			default:
				a.barred.Do(func() {
					a.Say(fmt.Sprintf("%v; agent %s may not be seen, or cannot be asked to stop: use credentials that may do what an agent does", err, a.Name))
				})
			}
			a.Log.Warn("NATS reported an error", "agent", a.Name, "error", err)
		}),
	}
}

func (a *adoption) health(context.Context) error {
	if !a.running() {
		return nil
	}
	return a.command.Unwell()
}

// running reports whether the command was started.
func (a *adoption) running() bool {
	select {
	case <-a.begun:
		return true
	default:
		return false
	}
}

// leave waits until all that is to be said of the end was said.
func (a *adoption) leave(left <-chan error) {
	select {
	case <-left:
	case <-time.After(leaveWithin):
	}
}

// supervised returns an error if a tree has an agent of that name: the detector
// then takes heartbeats of an agent without an incarnation for old ones.
func supervised(nc *nats.Conn, name string) error {
	view, err := status(nc, name)
	if err != nil || view.Incarnation == 0 {
		return nil // nobody knows of one; who else has the name answers for itself
	}
	return fmt.Errorf("a supervisor has started an agent %s (incarnation %d), for which another one would be taken; choose another --name", name, view.Incarnation)
}
