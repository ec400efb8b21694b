package contracts

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HealthSpec says by what the runner of an agent finds out that it does not work,
// although its process lives. At most one of Command, HTTP and TCP is set: the check.
// All else is a bound by itself; zero means none.
type HealthSpec struct {
	// Command is a program that ends with 0 where the agent is well. It runs in the
	// agent's directory, with its environment.
	Command []string `json:"command,omitempty"`
	// HTTP is a URL that a GET must answer with a status of 200 to 399.
	HTTP string `json:"http,omitempty"`
	// TCP is an address that takes connections, such as 127.0.0.1:8080.
	TCP string `json:"tcp,omitempty"`
	// Interval is the time between two checks, Timeout how long one may take, and
	// Failures how many must fail in a row.
	Interval Duration `json:"interval,omitempty"`
	Timeout  Duration `json:"timeout,omitempty"`
	Failures int      `json:"failures,omitempty"`
	// OutputWithin is how long the agent may print nothing.
	OutputWithin Duration `json:"output_within,omitempty"`
	// MaxRuntime is how long one incarnation may run.
	MaxRuntime Duration `json:"max_runtime,omitempty"`
	// MaxMemory is how many bytes its processes may have resident together.
	MaxMemory int64 `json:"max_memory,omitempty"`
}

// Defaults of a check.
const (
	DefaultCheckInterval = 10 * time.Second
	DefaultCheckTimeout  = 5 * time.Second
	DefaultCheckFailures = 3
)

// Bounds of a HealthSpec.
const (
	MinCheckInterval = 100 * time.Millisecond
	MaxCheckFailures = 1000
	MinHealthBound   = time.Second
	MinMaxMemory     = 1 << 20
)

// Checked reports whether there is a check.
func (h *HealthSpec) Checked() bool {
	return h != nil && (len(h.Command) > 0 || h.HTTP != "" || h.TCP != "")
}

// Complete returns the spec with the defaults of its check; a check times out before
// the next one is due.
func (h HealthSpec) Complete() HealthSpec {
	if !h.Checked() {
		return h
	}
	h.Interval = cmp.Or(h.Interval, Duration(DefaultCheckInterval))
	h.Timeout = cmp.Or(h.Timeout, min(h.Interval, Duration(DefaultCheckTimeout)))
	h.Failures = cmp.Or(h.Failures, DefaultCheckFailures)
	return h
}

// Validate reports what is wrong with the spec, or nil.
func (h *HealthSpec) Validate() error {
	if h == nil {
		return nil
	}
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	checks := 0
	for _, given := range []bool{len(h.Command) > 0, h.HTTP != "", h.TCP != ""} {
		if given {
			checks++
		}
	}
	switch {
	case checks > 1:
		add("command, http and tcp: only one of them can be the check")
	case checks == 0 && (h.Interval != 0 || h.Timeout != 0 || h.Failures != 0):
		add("interval, timeout and failures are those of a check; add command, http or tcp")
	case checks == 0 && h.OutputWithin == 0 && h.MaxRuntime == 0 && h.MaxMemory == 0:
		add("it is empty; give a check (command, http or tcp), output_within, max_runtime or max_memory")
	}
	errs = append(errs, h.validateCheck())
	for _, b := range []struct {
		name string
		is   Duration
		low  time.Duration
	}{
		{"interval", h.Interval, MinCheckInterval},
		{"timeout", h.Timeout, MinCheckInterval},
		{"output_within", h.OutputWithin, MinHealthBound},
		{"max_runtime", h.MaxRuntime, MinHealthBound},
	} {
		if b.is != 0 && b.is.D() < b.low {
			add("%s: %s is too short; at least %s", b.name, b.is, b.low)
		}
	}
	if h.Failures < 0 || h.Failures > MaxCheckFailures {
		add("failures: %d is outside 1 to %d", h.Failures, MaxCheckFailures)
	}
	if h.MaxMemory != 0 && h.MaxMemory < MinMaxMemory {
		add("max_memory: %d bytes are too few; at least %d", h.MaxMemory, MinMaxMemory)
	}
	return errors.Join(errs...)
}

func (h *HealthSpec) validateCheck() error {
	if len(h.Command) > MaxCommandArgs {
		return fmt.Errorf("command: %d arguments; at most %d", len(h.Command), MaxCommandArgs)
	}
	for i, arg := range h.Command {
		if strings.ContainsRune(arg, 0) || i == 0 && arg == "" {
			return fmt.Errorf("command[%d]: is empty or contains a NUL byte", i)
		}
	}
	if h.HTTP != "" {
		u, err := url.Parse(h.HTTP)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("http: %.128q is not a URL such as http://127.0.0.1:8080/healthz", h.HTTP)
		}
		if u.User != nil {
			return errors.New("http: has a password in it, which would be seen in the log; check by a command instead")
		}
	}
	if h.TCP != "" {
		if _, port, err := net.SplitHostPort(h.TCP); err != nil || port == "" {
			return fmt.Errorf("tcp: %.128q is not an address such as 127.0.0.1:8080", h.TCP)
		}
	}
	return nil
}

// ParseHealthSpec reads a spec from settings by the names that the configuration has
// for them. The words of a command are separated by spaces; no shell sees them.
func ParseHealthSpec(settings map[string]string) (*HealthSpec, error) {
	h := &HealthSpec{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		text := settings[name]
		var err error
		switch name {
		case "command":
			h.Command = strings.Fields(text)
		case "http":
			h.HTTP = text
		case "tcp":
			h.TCP = text
		case "interval":
			err = h.Interval.UnmarshalText([]byte(text))
		case "timeout":
			err = h.Timeout.UnmarshalText([]byte(text))
		case "output_within":
			err = h.OutputWithin.UnmarshalText([]byte(text))
		case "max_runtime":
			err = h.MaxRuntime.UnmarshalText([]byte(text))
		case "failures":
			h.Failures, err = strconv.Atoi(text)
		case "max_memory":
			h.MaxMemory, err = ParseBytes(text)
		default:
			err = errors.New("there is no such setting; use command, http, tcp, interval, timeout, failures, output_within, max_runtime or max_memory")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, h.Validate())
	}
	return h, errors.Join(errs...)
}
