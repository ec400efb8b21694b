package diagnosis

import (
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// subject is a node with all that its state follows from.
type subject struct {
	spec  *tree.Spec
	st    tree.State
	above above
	state contracts.State
}

// stateOf is what a node is doing, what it waits for, or how it ended. Every
// description of a node begins with it.
func stateOf(spec *tree.Spec, st *tree.State, a above) contracts.State {
	switch st.Phase {
	case tree.Running:
		switch s := st.Supervisor; {
		case s != nil && s.Suspended:
			return contracts.StateSuspended
		case s != nil && s.Op != nil && s.Op.Kind != tree.OpFill:
			return contracts.StateRestarting
		}
		return contracts.StateRunning
	case tree.Throttled:
		return contracts.StateBudget
	case tree.Unplaced:
		if st.After > 0 {
			return contracts.StateAwaitsEnd
		}
		return contracts.StateUnplaced
	case tree.Starting:
		return contracts.StateStarting
	case tree.Verifying, tree.Stabilising, tree.Unverified:
		return contracts.StateVerifying
	case tree.Stopping:
		return contracts.StateStopping
	case tree.Watched:
		return contracts.StateWatched
	case tree.Claiming:
		return contracts.StateListening
	case tree.Foreign:
		return contracts.StateForeign
	case tree.Isolated:
		return contracts.StateIsolated
	case tree.Ended:
		return contracts.StateHeld
	case tree.Gone:
		switch {
		case st.End == tree.EndTerminated:
			return contracts.StateTerminated
		case st.End.Failed():
			return contracts.StateFailed
		}
		return contracts.StateFinished
	}
	return downState(spec, st, a)
}

// downState is the state of a node that is idle or waits.
func downState(spec *tree.Spec, st *tree.State, a above) contracts.State {
	switch {
	case st.End == tree.EndTerminated && st.Phase == tree.Idle:
		return contracts.StateTerminated // it is in no operation
	case st.Phase == tree.Waiting && a.suspended != "":
		return contracts.StateHeld
	case st.Phase == tree.Waiting && st.Due > 0:
		return contracts.StateBackoff
	case a.op.Starts(spec.Rank) && a.op.Kind == tree.OpGroup:
		return contracts.StateGroup
	case a.op.Starts(spec.Rank) && (a.op.Kind != tree.OpFill || st.End == ""):
		return contracts.StateStarting
	case st.End == tree.EndFinished, st.End == tree.EndCompleted && !a.down:
		return contracts.StateFinished
	case st.End == tree.EndGaveUp:
		return contracts.StateGaveUp
	case a.down:
		return contracts.StateWithSupervisor
	case st.End == "" || st.End == tree.EndStopped:
		return contracts.StateStopped
	}
	return contracts.StateFailed
}

// statuses are those of states that say enough.
var statuses = map[contracts.State]contracts.NodeStatus{
	contracts.StateRunning:    contracts.NodeRunning,
	contracts.StateRestarting: contracts.NodeRestarting,
	contracts.StateSuspended:  contracts.NodeSuspended,
	contracts.StateStarting:   contracts.NodeStarting,
	contracts.StateVerifying:  contracts.NodeStarting,
	contracts.StateUnplaced:   contracts.NodeStarting,
	contracts.StateAwaitsEnd:  contracts.NodeStarting,
	contracts.StateBudget:     contracts.NodeStarting,
	contracts.StateListening:  contracts.NodeStarting,
	contracts.StateStopping:   contracts.NodeStopping,
	contracts.StateBackoff:    contracts.NodeRestarting,
	contracts.StateGroup:      contracts.NodeRestarting,
	contracts.StateIsolated:   contracts.NodeFailed,
	contracts.StateGaveUp:     contracts.NodeFailed,
	contracts.StateFailed:     contracts.NodeFailed,
	contracts.StateTerminated: contracts.NodeStopped,
	contracts.StateFinished:   contracts.NodeStopped,
	contracts.StateStopped:    contracts.NodeStopped,
	contracts.StateForeign:    contracts.NodeForeign,
}

// status is a state in the few words that a list has room for.
func (n *subject) status() contracts.NodeStatus {
	if s, ok := statuses[n.state]; ok {
		return s
	}
	switch {
	case n.state == contracts.StateWatched && n.st.End == "":
		return contracts.NodeWatched
	case n.state == contracts.StateHeld && n.st.Phase == tree.Waiting:
		return contracts.NodeRestarting
	case n.st.End.Failed():
		return contracts.NodeFailed
	case n.state == contracts.StateHeld && n.spec.Restart != tree.Transient && n.spec.Restart != tree.Temporary:
		return contracts.NodeRestarting
	}
	return contracts.NodeStopped
}
