package contracts

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// LogsRequest is the body of smith.runner.<runner>.logs: what an agent printed.
// Each request is answered with one message, whose body is a part of the output
// (see [OutputLine]) and whose header Smith-Logs says where it is, as a
// [LogsReply]. Whoever follows asks again with the reply's Next as At. So nobody is
// sent more than was asked for, and a runner remembers no readers.
type LogsRequest struct {
	Agent string `json:"agent"`
	// Incarnation is whose output is asked for; 0 is the newest that ran here.
	// Previous asks for the newest before that one.
	Incarnation uint64 `json:"incarnation,omitempty"`
	Previous    bool   `json:"previous,omitempty"`
	// At is where to begin, in bytes of the incarnation's output. Without it
	// that is the first line since Since, the last Lines lines, or the later of the
	// two; or the oldest that is kept.
	At    *int64     `json:"at,omitempty"`
	Since *time.Time `json:"since,omitempty"`
	Lines int        `json:"lines,omitempty"`
	// Wait is how long the answer may wait for output, where there is none yet;
	// at most [MaxLogsWait].
	Wait Duration `json:"wait,omitempty"`
}

const (
	// MaxLogsWait bounds how long a runner waits for output that is asked for.
	MaxLogsWait = 10 * time.Second
	// MaxLogsBytes bounds the output in one answer.
	MaxLogsBytes = 256 << 10
	// MaxLogsLines bounds how many last lines can be asked for.
	MaxLogsLines = 1_000_000
)

// Validate reports why the request is not valid, or nil.
func (r LogsRequest) Validate() error {
	errs := []error{validateIDs("agent", r.Agent)}
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.Incarnation >= MaxIncarnation {
		add("incarnation: %d is not below 2^53", r.Incarnation)
	}
	if r.Previous && r.At != nil {
		add("previous: at is a place in the output of one incarnation; name that")
	}
	if r.At != nil && *r.At < 0 {
		add("at: %d is negative", *r.At)
	}
	if r.Lines < 0 || r.Lines > MaxLogsLines {
		add("lines: %d is outside 0 to %d", r.Lines, MaxLogsLines)
	}
	if r.Wait < 0 || r.Wait.D() > MaxLogsWait {
		add("wait: %s is outside 0s to %s", r.Wait, MaxLogsWait)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: logs: %w", ErrRunnerCommand, err)
	}
	return nil
}

// ErrNoOutput tells that a runner has no such output.
var ErrNoOutput = errors.New("no output")

// Choose returns the incarnation that the request is about: kept are those of which
// the runner has output, in order, and newest is the newest that ran there, or 0.
func (r LogsRequest) Choose(runner string, kept []uint64, newest uint64) (uint64, error) {
	n := cmp.Or(r.Incarnation, newest)
	if n == 0 {
		return 0, fmt.Errorf("%w of agent %s on runner %s: it never ran here, or its output went with it", ErrNoOutput, r.Agent, runner)
	}
	if r.Previous {
		before := slices.IndexFunc(kept, func(k uint64) bool { return k >= n })
		if before < 0 {
			before = len(kept)
		}
		if before == 0 {
			return 0, fmt.Errorf("%w of an incarnation before %s#%d is kept on runner %s", ErrNoOutput, r.Agent, n, runner)
		}
		n = kept[before-1]
	}
	if n != newest && !slices.Contains(kept, n) {
		return 0, fmt.Errorf("%w of %s#%d is kept on runner %s; there is that of %v", ErrNoOutput, r.Agent, n, runner, kept)
	}
	return n, nil
}

// ForgetCommand is the body of smith.runner.<runner>.forget: these agents are no
// longer in the tree that they were started for. What is kept of their output goes
// after the time that is configured. A runner does nothing about those that live,
// and those of other trees. It is sent once, without waiting for the answer, and
// again after a comparison with the tree for those that the runner does not list as
// removed.
type ForgetCommand struct {
	Tree   string   `json:"tree"`
	Agents []string `json:"agents"`
}

// MaxForget bounds the agents of one ForgetCommand.
const MaxForget = 1000

// Validate reports why the command is not valid, or nil.
func (c ForgetCommand) Validate() error {
	errs := []error{validateIDs("tree", c.Tree)}
	if len(c.Agents) > MaxForget {
		errs = append(errs, fmt.Errorf("agents: %d; at most %d", len(c.Agents), MaxForget))
	}
	for _, a := range c.Agents {
		errs = append(errs, validateIDs("agents", a))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: forget: %w", ErrRunnerCommand, err)
	}
	return nil
}

// HeaderLogs has the [LogsReply].
const HeaderLogs = "Smith-Logs"

// LogsReply says what the output in the body of an answer is.
type LogsReply struct {
	Agent       string `json:"agent"`
	Incarnation uint64 `json:"incarnation"`
	// At is where the body begins and Next where the rest does; End is how much
	// there is so far.
	At   int64 `json:"at"`
	Next int64 `json:"next"`
	End  int64 `json:"end"`
	// Dropped is how much of the incarnation's output before At is no longer kept,
	// where the request asked for it.
	Dropped int64 `json:"dropped,omitempty"`
	// Ended is set when the incarnation prints nothing more and the body has the
	// last of it. Successor is the next one that ran here, if any.
	Ended     bool   `json:"ended,omitempty"`
	Successor uint64 `json:"successor,omitempty"`
	// Kept are the incarnations of which output is kept, in order. FirstFailure
	// is the one among them that ended a longer run, when each since has failed.
	Kept         []uint64 `json:"kept,omitempty"`
	FirstFailure uint64   `json:"first_failure,omitempty"`
}

// Following returns the next incarnation that there is output of, or that may print:
// newest is the newest that ran there, or 0.
func (r LogsReply) Following(newest uint64) uint64 {
	for _, k := range r.Kept {
		if k > r.Incarnation {
			return k
		}
	}
	if newest > r.Incarnation {
		return newest
	}
	return 0
}
