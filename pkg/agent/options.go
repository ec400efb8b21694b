package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Func is an agent as a program: it completes the options and calls Run. When
// it returns the agent has ended: with nil as it should, with an error by
// failure.
type Func func(ctx context.Context, o Options) error

// Handler works on one task. Its result becomes JSON. An error fails this
// attempt, and the router may try the task again unless the error is wrapped
// by Permanent. The context ends at the attempt's deadline, or when the agent
// can no longer wait for it.
type Handler func(ctx context.Context, t *Task) (any, error)

// Options say who an agent is and what it does. Only Agent is required; Main
// and Host fill in everything above Handle.
type Options struct {
	// Agent is the agent's id.
	Agent string
	// Incarnation is the number of this start; 0 when nobody supervises it.
	Incarnation uint64
	// Type and Capabilities say which tasks it can take.
	Type         string
	Capabilities []string
	// Capacity is how many tasks it takes at once; 1 by default.
	Capacity int
	// HeartbeatInterval is 5 s by default.
	HeartbeatInterval time.Duration
	// URL, Creds and CA say how to reach NATS: a list of URLs separated by
	// commas, the path of a credentials file, the path of a certificate.
	URL, Creds, CA string
	// Args are the words after the agent's command.
	Args []string
	// Getenv gives the agent's environment; os.Getenv by default.
	Getenv func(string) string
	// Output is where the agent prints to: what is written there, and to Log, is what
	// `smith logs` shows. It is os.Stdout by default. On a Host, where the standard
	// output is that of all, it is the agent's own.
	Output io.Writer

	// Handle works on tasks. Without it every task is rejected.
	Handle Handler
	// Work is what the agent does besides tasks. Its context ends when the
	// agent shall stop; the agent stops when it returns.
	Work func(ctx context.Context, a *Agent) error
	// Health is asked once an interval. While it returns an error, or has not
	// returned, the agent says that it is degraded.
	Health func(ctx context.Context) error
	// Watchdog is how long Work, and Handle for each task, may show no progress;
	// 0, the default, is for ever. Work calls [Agent.Progress] more often than that,
	// as a service of systemd sends WATCHDOG=1, and a handler that takes longer calls
	// [Task.Progress], or announces [Task.BusyUntil]. When the watchdog runs out, the
	// agent logs where that work is, says in its last heartbeats that it is stuck, and
	// sends no more until the work moves. Whoever supervises the agent restarts it.
	// An agent that has nothing to do is not stuck: without a Work and without tasks
	// it beats on.
	Watchdog time.Duration
	// DrainTimeout is how long tasks in flight may take to end once the agent
	// shall stop, before their contexts are cancelled. Main and Host make it
	// three quarters of the time after which the agent would be killed;
	// without them it is 3.75 s.
	DrainTimeout time.Duration
	// ConnectTimeout is how long the first connection may take; 30 s by
	// default. Later ones are tried for ever.
	ConnectTimeout time.Duration
	// NATS are further options for the connections.
	NATS []nats.Option
	// Log is slog.Default() by default. On a Host it writes to the log of the host
	// and to Output.
	Log *slog.Logger

	link  *link           // the connections of a Host
	abort <-chan struct{} // closed to end at once
	stuck func(error)     // called when handlers outlive their contexts
}

const defaultConnectTimeout = 30 * time.Second

// drainWithin leaves of the time after which an agent is killed some for
// cancelled work to end and be reported.
func drainWithin(shutdown time.Duration) time.Duration { return shutdown * 3 / 4 }

func (o Options) withDefaults() Options {
	o.Capacity = orDefault(o.Capacity, 1)
	o.HeartbeatInterval = orDefault(o.HeartbeatInterval, contracts.DefaultHeartbeatInterval)
	o.URL = orDefault(o.URL, nats.DefaultURL)
	o.DrainTimeout = orDefault(o.DrainTimeout, drainWithin(contracts.DefaultShutdownTimeout))
	o.ConnectTimeout = orDefault(o.ConnectTimeout, defaultConnectTimeout)
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Output == nil {
		o.Output = os.Stdout
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Validate reports everything that is wrong with the options, or nil.
func (o Options) Validate() error {
	errs := []error{}
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := contracts.ValidateID(o.Agent); err != nil {
		add("Agent: %w", err)
	}
	// A heartbeat carries the rest; what it refuses is refused here.
	beat := contracts.Heartbeat{
		Interval: contracts.Duration(o.HeartbeatInterval), Type: o.Type,
		Capabilities: o.Capabilities, Capacity: o.Capacity,
	}
	if err := beat.Validate(); err != nil {
		errs = append(errs, err)
	}
	if o.Watchdog != 0 && o.Watchdog < contracts.MinHeartbeatInterval {
		add("Watchdog: %s; use 0 for none, or at least %s", o.Watchdog, contracts.MinHeartbeatInterval)
	}
	if o.DrainTimeout < 0 || o.ConnectTimeout < 0 {
		add("DrainTimeout and ConnectTimeout: must not be negative")
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("agent options: %w", err)
	}
	return nil
}

// FromEnv reads the options that a runner passes in the environment, by the
// names in contracts. It reports every variable that is wrong.
func FromEnv(getenv func(string) string) (Options, error) {
	o := Options{
		Agent:  getenv(contracts.EnvAgent),
		Type:   getenv(contracts.EnvType),
		URL:    getenv(contracts.EnvNATSURL),
		Creds:  getenv(contracts.EnvNATSCreds),
		CA:     getenv(contracts.EnvNATSCA),
		Getenv: getenv,
		Output: os.Stdout,
		Log:    slog.Default(),
	}
	var errs []error
	add := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...)))
	}
	if o.Agent == "" {
		add(contracts.EnvAgent, "not set; a runner sets it, and to run by hand set it to the agent's name")
	}
	if s := getenv(contracts.EnvIncarnation); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			add(contracts.EnvIncarnation, "%.40q is not a whole number from 0 on", s)
		}
		o.Incarnation = n
	}
	if s := getenv(contracts.EnvCapabilities); s != "" {
		o.Capabilities = strings.Split(s, ",")
	}
	if s := getenv(contracts.EnvCapacity); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > contracts.MaxCapacity {
			add(contracts.EnvCapacity, "%.40q is not a number from 1 to %d", s, contracts.MaxCapacity)
		}
		o.Capacity = n
	}
	if s := getenv(contracts.EnvHeartbeatInterval); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < contracts.MinHeartbeatInterval || d > contracts.MaxHeartbeatInterval {
			add(contracts.EnvHeartbeatInterval, "%.40q is not a duration from %s to %s, such as 1s",
				s, contracts.MinHeartbeatInterval, contracts.MaxHeartbeatInterval)
		}
		o.HeartbeatInterval = d
	}
	if s := getenv(contracts.EnvShutdownTimeout); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			add(contracts.EnvShutdownTimeout, "%.40q is not a duration, such as 5s", s)
		}
		o.DrainTimeout = drainWithin(d)
	}
	if len(errs) == 0 {
		errs = append(errs, o.Validate())
	}
	if err := errors.Join(errs...); err != nil {
		return Options{}, fmt.Errorf("agent environment: %w", err)
	}
	return o, nil
}
