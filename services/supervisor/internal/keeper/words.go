package keeper

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func ordinal(n int) string { return "#" + strconv.Itoa(n) }

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
	in.Kind, in.Reason = tree.Seen, ev.Type.Name()
	return in, nil
}

func input(ev contracts.Event, incarnation uint64) tree.Input {
	return tree.Input{Node: ev.Entity, Incarnation: incarnation, Event: ev.ID, Chain: ev.CorrelationID, At: tree.Instant(ev.Time.UnixNano())}
}

// maxReason bounds the text that is kept in the tree for each failure.
const maxReason = 256

func (k *Keeper) view(id string, deep bool) (contracts.NodeView, bool) { return View(k.tree, id, deep) }

// View describes a node as operators see it, and with deep everything below it.
func View(t *tree.Tree, id string, deep bool) (contracts.NodeView, bool) {
	spec, st, ok := t.Lookup(id)
	if !ok {
		return contracts.NodeView{}, false
	}
	v := contracts.NodeView{
		Name: id, Kind: "agent", Parent: spec.Parent, Status: status(spec, st), Reason: reason(st),
		Restart: string(cmp.Or(spec.Restart, tree.Permanent)), Incarnation: st.Incarnation,
		Restarts: int(st.Restarts), LastRestart: instant(st.LastRestart), Until: until(st), Dynamic: spec.Dynamic,
	}
	if place, at, ok := t.Throttled(id); ok {
		v.Reason, v.Until = "waits for restart budget, "+ordinal(place)+" in line", instant(at)
	}
	if spec.Supervisor != nil {
		v.Kind, v.Strategy = "supervisor", string(spec.Supervisor.Strategy)
	} else {
		v.Type, v.Runner, v.PID = startCommand(spec).Type, st.Runner, st.PID
	}
	if !st.Phase.Up() {
		v.PID = 0
	}
	v.Outdated = t.Outdated(id)
	viewMode(t, &v, st)
	if !deep {
		_, restarts := t.History(id)
		for _, r := range restarts {
			v.History = append(v.History, contracts.RestartEntry{At: r.At.Time(), Reason: r.Reason})
		}
	}
	for _, c := range t.Children(id) {
		child, _ := View(t, c, deep)
		if !deep {
			child.Children = nil
		}
		v.Children = append(v.Children, child)
	}
	return v, true
}

func status(spec *tree.Spec, st tree.State) contracts.NodeStatus {
	switch st.Phase {
	case tree.Throttled, tree.Unplaced, tree.Starting, tree.Verifying, tree.Stabilising, tree.Unverified:
		return contracts.NodeStarting
	case tree.Running:
		if st.Supervisor != nil && st.Supervisor.Suspended {
			return contracts.NodeSuspended
		}
		if st.Supervisor != nil && st.Supervisor.Op != nil {
			return contracts.NodeRestarting
		}
		return contracts.NodeRunning
	case tree.Stopping:
		return contracts.NodeStopping
	case tree.Waiting:
		return contracts.NodeRestarting
	case tree.Isolated:
		return contracts.NodeFailed
	case tree.Claiming:
		return contracts.NodeStarting
	case tree.Foreign:
		return contracts.NodeForeign
	case tree.Watched:
		if st.End == "" {
			return contracts.NodeWatched
		}
	}
	switch st.End.Blame() {
	case tree.BlameNobody, tree.BlameOperator:
		return contracts.NodeStopped
	}
	if st.Phase == tree.Gone && spec.Restart == tree.Temporary {
		return contracts.NodeStopped
	}
	return contracts.NodeFailed
}

func reason(st tree.State) string {
	if st.Phase == tree.Unplaced {
		return "waits for a runner"
	}
	if st.Phase == tree.Verifying && st.Why == "" {
		return "waits for its first heartbeat"
	}
	return st.Why
}

func until(st tree.State) *time.Time {
	if st.Supervisor != nil && st.Supervisor.Op != nil && st.Supervisor.Op.Stage == tree.StageWait {
		return instant(st.Supervisor.Op.Due)
	}
	if st.Phase == tree.Waiting || st.Phase == tree.Isolated {
		return instant(st.Due)
	}
	return nil
}

func instant(i tree.Instant) *time.Time {
	if i == 0 {
		return nil
	}
	t := i.Time()
	return &t
}
