package keeper

import (
	"cmp"
	"fmt"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// failedInput reads what an agent.failed event means to the tree. Whoever saw
// the process end reports an exit; everybody else gives a verdict on a process
// that may live.
func failedInput(ev contracts.Event, d contracts.AgentFailedData) (tree.Input, error) {
	if d.Agent != "" && d.Agent != ev.Entity {
		return tree.Input{}, fmt.Errorf("%w %s: data speaks of agent %.64q, the subject of %q", contracts.ErrEvent, ev.ID, d.Agent, ev.Entity)
	}
	in := input(ev, d.Incarnation)
	switch d.Reason {
	case contracts.ReasonExited, contracts.ReasonPanicked:
		in.Kind = tree.Exited
		if d.Exit != nil {
			in.Reason = fleet.DescribeExit(*d.Exit)
		}
	case contracts.ReasonStartFailed:
		in.Kind = tree.StartFailed
	case contracts.ReasonHostLost:
		in.Kind = tree.Lost
	default:
		in.Kind = tree.Failed
	}
	if in.Reason == "" {
		in.Reason = string(d.Reason)
		if d.Detail != "" {
			in.Reason += ": " + d.Detail
		}
	}
	in.Reason = contracts.Clip(in.Reason, maxReason)
	return in, nil
}

// stoppedInput reads an agent.stopped event: an end that is no failure.
func stoppedInput(ev contracts.Event, d contracts.AgentStoppedData) (tree.Input, error) {
	if d.Agent != "" && d.Agent != ev.Entity {
		return tree.Input{}, fmt.Errorf("%w %s: data speaks of agent %.64q, the subject of %q", contracts.ErrEvent, ev.ID, d.Agent, ev.Entity)
	}
	in := input(ev, d.Incarnation)
	in.Kind, in.Normal = tree.Exited, true
	in.Requested = d.Reason == contracts.StopRequested
	in.Reason = cmp.Or(string(d.Reason), "stopped")
	return in, nil
}

// seen is what matters of agent.recovered and agent.created.
type seen struct {
	Incarnation uint64 `json:"incarnation"`
}

// seenInput reads an event that says that an agent lives, whoever started it.
func seenInput(ev contracts.Event, d seen) (tree.Input, error) {
	in := input(ev, d.Incarnation)
	in.Kind, in.Reason = tree.SeenAlive, ev.Type.Name()
	return in, nil
}

func input(ev contracts.Event, incarnation uint64) tree.Input {
	return tree.Input{Node: ev.Entity, Incarnation: incarnation, Event: ev.ID, Chain: ev.CorrelationID, At: tree.Instant(ev.Time.UnixNano())}
}

// maxReason bounds the text that is kept in the tree for each failure.
const maxReason = 256
