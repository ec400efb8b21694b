package contracts

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// RunnerList is the reply to smith.runner.<runner>.list: all that a runner has,
// ordered by name, in pages of at most [MaxListBytes].
type RunnerList struct {
	Runner string        `json:"runner"`
	Agents []RunnerAgent `json:"agents"`
	// More is set when there are agents behind the last one, see
	// [ListCommand].After.
	More bool `json:"more,omitempty"`
	// Term is the highest that a sender has named.
	Term uint64 `json:"term,omitempty"`
}

// MaxListBytes bounds one page of a RunnerList.
const MaxListBytes = 700 << 10

// Fill makes the list the page that follows the agent after: as many of the
// agents, which must be ordered by name, as one message may hold. Their output
// is left out. A page that ends early with an error says that more follow.
func (l *RunnerList) Fill(agents []RunnerAgent, after string) error {
	l.Agents, l.More = []RunnerAgent{}, false
	from, found := slices.BinarySearchFunc(agents, after, func(a RunnerAgent, name string) int { return strings.Compare(a.Agent, name) })
	if found {
		from++
	}
	size := 0
	for _, a := range agents[from:] {
		if a.Exit != nil {
			exit := *a.Exit
			exit.Tail = ""
			a.Exit = &exit
		}
		raw, err := json.Marshal(a)
		if err != nil {
			l.More = true
			return fmt.Errorf("list of runner %s: agent %s: %w", l.Runner, a.Agent, err)
		}
		if size += len(raw) + 1; size > MaxListBytes {
			l.More = true
			return nil
		}
		l.Agents = append(l.Agents, a)
	}
	return nil
}

// Select returns those of a runner's agents that the command asks for, behind After.
func (c ListCommand) Select(agents []RunnerAgent) []RunnerAgent {
	return slices.DeleteFunc(agents, func(a RunnerAgent) bool {
		return c.Agent != "" && a.Agent != c.Agent || a.Agent <= c.After
	})
}

// AgentState is what a runner has of an agent.
type AgentState string

// States of a RunnerAgent.
const (
	AgentRunning  AgentState = "running"
	AgentStopping AgentState = "stopping"
	AgentExited   AgentState = "exited"
)

// RunnerAgent is one agent that a runner knows.
type RunnerAgent struct {
	Agent       string     `json:"agent"`
	Incarnation uint64     `json:"incarnation"`
	PID         int        `json:"pid,omitempty"`
	State       AgentState `json:"state"`
	Started     *time.Time `json:"started,omitempty"`
	Exit        *Exit      `json:"exit,omitempty"`
	// Event is the id of the event that reports the exit.
	Event string `json:"event,omitempty"`
	// Tree is the tree that it was started for; older runners do not say.
	Tree string `json:"tree,omitempty"`
	// Removed is set when the runner was told that the tree no longer has it.
	Removed bool `json:"removed,omitempty"`
	// Usage is there where it was asked for and the agent is a process that runs.
	Usage *Usage `json:"usage,omitempty"`
}

// Usage is what an agent uses now: its main process and what descends from that.
// Processes whose parents have ended do not count.
type Usage struct {
	// Uptime is how long ago the main process was started, by the clock of its host
	// that nobody sets.
	Uptime Duration `json:"uptime"`
	// CPU is the processor time since then, with that of descendants that ended and
	// were waited for.
	CPU Duration `json:"cpu"`
	// Memory is what is not swapped out, in bytes. What processes share counts for
	// each of them.
	Memory    int64 `json:"memory"`
	Processes int   `json:"processes"`
}

// MaxIncarnation bounds incarnations: what JSON readers cannot represent was
// not counted to.
const MaxIncarnation = 1 << 53

// ErrRunnerList tells that a list, or an entry of it, is malformed.
var ErrRunnerList = errors.New("invalid list of a runner")

// Validate reports why the entry is not valid, or nil.
func (a RunnerAgent) Validate() error {
	errs := []error{validateIDs("agent", a.Agent), validateReference("tree", a.Tree), validateReference("event", a.Event)}
	if a.Incarnation == 0 || a.Incarnation >= MaxIncarnation {
		errs = append(errs, fmt.Errorf("incarnation: %d is outside 1 to 2^53-1", a.Incarnation))
	}
	switch a.State {
	case AgentRunning, AgentStopping:
	case AgentExited:
		if a.Exit == nil {
			errs = append(errs, errors.New("exit: missing, though it has exited"))
		}
	default:
		errs = append(errs, fmt.Errorf("state: %.32q; use running, stopping or exited", string(a.State)))
	}
	if a.PID < 0 {
		errs = append(errs, fmt.Errorf("pid: %d is negative", a.PID))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: agent %.64q: %w", ErrRunnerList, a.Agent, err)
	}
	return nil
}

// DecodeRunnerList reads a page of a runner's list. Entries that are malformed,
// or name an agent again, are left out and returned as errors; err is that of
// the whole page.
func DecodeRunnerList(runner string, body []byte) (list RunnerList, rejected []error, err error) {
	var raw struct {
		RunnerList
		Agents []json.RawMessage `json:"agents"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return RunnerList{}, nil, fmt.Errorf("%w %s: %w", ErrRunnerList, runner, err)
	}
	list = raw.RunnerList
	if list.Runner != runner {
		return RunnerList{}, nil, fmt.Errorf("%w %s: it names runner %.64q", ErrRunnerList, runner, list.Runner)
	}
	list.Agents = make([]RunnerAgent, 0, len(raw.Agents))
	seen := make(map[string]bool, len(raw.Agents))
	for _, entry := range raw.Agents {
		var a RunnerAgent
		err := json.Unmarshal(entry, &a)
		switch {
		case err != nil:
			err = fmt.Errorf("%w: %w", ErrRunnerList, err)
		case seen[a.Agent]:
			err = fmt.Errorf("%w: agent %.64q is there twice", ErrRunnerList, a.Agent)
		default:
			err = a.Validate()
		}
		if err != nil {
			rejected = append(rejected, err)
			continue
		}
		seen[a.Agent] = true
		list.Agents = append(list.Agents, a)
	}
	return list, rejected, nil
}
