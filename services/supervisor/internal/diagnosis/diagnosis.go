// Package diagnosis explains the state of a node: what it is doing, what it
// waits for, or why it is down. It is a pure function of the tree and of what is
// known of the runners. What led to the state is in the event log.
package diagnosis

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Of explains the state of a node, and reports whether the tree has it. The view
// of the node, and who answers, are left to the caller.
func Of(t *tree.Tree, id string, runners []contracts.RunnerView, now time.Time) (contracts.Diagnosis, bool) {
	spec, st, ok := t.Lookup(id)
	if !ok {
		return contracts.Diagnosis{}, false
	}
	d := contracts.Diagnosis{
		Since: instant(st.Since), Due: instant(st.Due), Cause: st.Cause, Chain: st.Chain, Decision: st.Decision,
	}
	e := explainer{tree: t, runners: runners, now: now, d: &d}
	if st.Supervisor != nil {
		e.supervisor(spec, st)
	} else {
		e.agent(spec, st)
	}
	return d, true
}

// explainer fills in the explanation of one node.
type explainer struct {
	tree    *tree.Tree
	runners []contracts.RunnerView
	now     time.Time
	d       *contracts.Diagnosis
}

func (e *explainer) is(s contracts.State, format string, args ...any) {
	e.d.State, e.d.Reason = s, fmt.Sprintf(format, args...)
}

// agent explains a phase that only agents have, or one that supervisors have,
// too.
func (e *explainer) agent(spec *tree.Spec, st tree.State) {
	switch st.Phase {
	case tree.Running:
		e.is(contracts.StateRunning, "")
	case tree.Throttled:
		place, at, _ := e.tree.Throttled(spec.ID)
		e.is(contracts.StateBudget, "its restart waits for restart budget; it is number %d in line", place)
		e.d.Due = instant(at)
	case tree.Unplaced:
		p := e.placement(spec.Agent)
		e.d.Placement = &p
		e.is(contracts.StateUnplaced, "%s", unplaced(p))
	case tree.Starting:
		e.starting(st)
	case tree.Verifying:
		e.is(contracts.StateVerifying, "incarnation %d runs on %s; its first heartbeat is awaited", st.Incarnation, st.Runner)
	case tree.Stabilising:
		e.is(contracts.StateVerifying, "incarnation %d runs on %s and must stay up for its stabilisation period", st.Incarnation, st.Runner)
	case tree.Unverified:
		e.is(contracts.StateVerifying, "incarnation %d could not be verified and is about to be killed: %s", st.Incarnation, st.Why)
	case tree.Stopping:
		e.stopping(spec, st)
	case tree.Watched:
		mode := e.tree.Mode(spec.ID)
		e.is(contracts.StateWatched, "its mode is %s, so nothing is started or stopped", mode)
		if st.Why != "" {
			e.d.Reason += "; " + st.Why
		}
	case tree.Claiming:
		e.is(contracts.StateListening, "it is listened for before it is started, since it may run already")
	case tree.Foreign:
		e.is(contracts.StateForeign, "it runs and was not started from here; once it ends, it starts here")
	default:
		e.down(spec, st)
	}
}

// starting explains an agent whose start was ordered.
func (e *explainer) starting(st tree.State) {
	e.is(contracts.StateStarting, "the start of incarnation %d was ordered; runner %s has not answered yet", st.Incarnation, st.Runner)
	if seen, silent := e.silent(st.Runner); silent {
		e.d.Reason = fmt.Sprintf("the start of incarnation %d was ordered, but runner %s is silent%s", st.Incarnation, st.Runner, lastSeen(seen))
	}
}

// stopping explains a node whose stop is not confirmed yet.
func (e *explainer) stopping(spec *tree.Spec, st tree.State) {
	then := map[tree.Then]string{
		tree.ThenFail: "; then it is restarted", tree.ThenStartFailed: "; then it is restarted", tree.ThenRestart: "; then it starts again",
		tree.ThenRemove: ", and removed",
	}[st.Then]
	why, above := ": "+st.Why, e.above(spec)
	switch {
	case st.End == tree.EndTerminated:
		why = " by an operator"
	case st.End == tree.EndStopped && above.down:
		why, e.d.With = " with supervisor "+spec.Parent, spec.Parent
	case st.End == tree.EndStopped && above.op != nil:
		why, e.d.With = " with its group", spec.Parent
	}
	e.is(contracts.StateStopping, "it is being stopped%s%s", why, then)
	if seen, silent := e.silent(st.Runner); silent {
		e.d.Reason += fmt.Sprintf("; runner %s, which is to confirm it, is silent%s", st.Runner, lastSeen(seen))
	}
}

// supervisor explains a supervisor.
func (e *explainer) supervisor(spec *tree.Spec, st tree.State) {
	op := st.Supervisor.Op
	switch {
	case st.Phase == tree.Running && st.Supervisor.Suspended:
		e.is(contracts.StateSuspended, "an operator suspended it; what fails below it waits")
	case st.Phase == tree.Running && op != nil:
		e.d.Because = e.culprit(spec.ID, op.Cause)
		e.is(contracts.StateRestarting, "it restarts its children together%s", because(e.d.Because))
		e.d.Due, e.d.Cause, e.d.Chain = nil, op.Cause, op.Chain
		if op.Stage == tree.StageWait {
			e.d.Due = instant(op.Due)
		}
	case st.Phase == tree.Running:
		e.is(contracts.StateRunning, "")
	case st.Phase == tree.Starting:
		e.is(contracts.StateStarting, "its children are being started")
	case st.Phase == tree.Stopping:
		e.stopping(spec, st)
		e.d.Because = e.culprit(spec.ID, st.Cause)
	default:
		e.down(spec, st)
	}
}

// down explains a node that is not there.
func (e *explainer) down(spec *tree.Spec, st tree.State) {
	above := e.above(spec)
	switch {
	case st.Phase == tree.Isolated:
		e.is(contracts.StateIsolated, "it failed more often than %s allows, and is tried again later: %s", spec.Parent, st.Why)
	case st.End == tree.EndTerminated:
		e.is(contracts.StateTerminated, "an operator ended it")
	case st.Phase == tree.Gone:
		e.is(contracts.StateFinished, "it is temporary and ended: %s", st.Why)
	case st.End == tree.EndFinished:
		e.is(contracts.StateFinished, "it ended by itself and is not to be restarted")
	case st.End == tree.EndGaveUp:
		e.gaveUp(spec, st)
	case st.Phase == tree.Waiting && above.suspended != "":
		e.held(above.suspended, st)
	case st.Phase == tree.Waiting && st.Due > 0:
		e.is(contracts.StateBackoff, "it is down and restarts after a delay: %s", st.Why)
	case st.Phase == tree.Ended:
		e.held(above.suspended, st)
	case above.down:
		e.withSupervisor(spec)
	case above.op != nil && above.op.Kind == tree.OpGroup:
		e.withGroup(spec, st, above)
	case st.End == "" || st.End == tree.EndStopped:
		e.is(contracts.StateStopped, "it was stopped; it starts with the next restart of its group, or by order")
	default:
		e.is(contracts.StateFailed, "%s", st.Why)
	}
}

func instant(i tree.Instant) *time.Time {
	if i == 0 {
		return nil
	}
	t := i.Time()
	return &t
}
