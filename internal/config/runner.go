package config

import (
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Runner holds settings of a runner.
type Runner struct {
	// PassEnv names variables of its environment that all of its agents get.
	PassEnv []string
	// Output says what is kept of what its agents print.
	Output Output
}

// Output says what a runner keeps of what its agents print.
type Output struct {
	// MaxBytes bounds the disk that the output of one agent takes, and
	// Incarnations of how many there is any.
	MaxBytes     int64
	Incarnations int
	// Keep is how long the output of an agent is kept that was removed.
	Keep time.Duration
	// LastLinesInEvents has the last lines of an incarnation published with the
	// event that reports its end.
	LastLinesInEvents bool
	// Forward says where a copy of what agents print goes, line by line.
	Forward Forward
}

// Forward says where a copy of the output of agents goes.
type Forward string

// Nowhere, or to the standard output of the runner, as lines of JSON.
const (
	ForwardNone   Forward = "none"
	ForwardStdout Forward = "stdout"
)

var forwards = []Forward{ForwardNone, ForwardStdout}

// readRunner reads what is for the runner that reads this file.
func readRunner(o *object, r *Runner) {
	readPassEnv(o, &r.PassEnv)
	readOutput(o.section("output"), &r.Output)
	o.done(nil)
}

func readOutput(o *object, c *Output) {
	readMaxOutput(o, &c.MaxBytes)
	o.integer("incarnations", &c.Incarnations, 1, 1000)
	o.duration("keep", &c.Keep, 0, longest)
	o.boolean("last_lines_in_events", &c.LastLinesInEvents)
	enum(o, "forward", forwards, &c.Forward)
	o.done(nil)
}

// readMaxOutput reads what the output of an agent is bounded to.
func readMaxOutput(o *object, most *int64) {
	o.bytes("max_bytes", most, contracts.MinOutput)
	if o.has("max_bytes") && *most == 0 {
		o.at("max_bytes").fail("the output of an agent needs a bound; give at least 64KiB")
	}
}
