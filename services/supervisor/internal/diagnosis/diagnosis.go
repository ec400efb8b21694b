// Package diagnosis describes the state of a node: what it is doing, what it
// waits for, or why it is down, in a few words for a list and in sentences for
// whoever asks why. It is a pure function of the tree and of what is known of the
// runners. What led to the state is in the event log.
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
	r := NewReader(t)
	n, ok := r.subject(id)
	if !ok {
		return contracts.Diagnosis{}, false
	}
	return r.diagnose(n, runners, now), true
}

func (r *Reader) diagnose(n subject, runners []contracts.RunnerView, now time.Time) contracts.Diagnosis {
	d := contracts.Diagnosis{
		State: n.state, Since: n.st.Since.Optional(), Due: n.st.Due.Optional(), Cause: n.st.Cause, Chain: n.st.Chain, Decision: n.st.Decision,
	}
	if due, waits := r.due(&n); waits {
		d.Due = due
	}
	e := explainer{Reader: r, subject: n, runners: runners, now: now, d: &d}
	e.explain()
	return d
}

// explainer fills in the explanation of one node.
type explainer struct {
	*Reader
	subject
	runners []contracts.RunnerView
	now     time.Time
	d       *contracts.Diagnosis
}

func (e *explainer) say(format string, args ...any) { e.d.Reason = fmt.Sprintf(format, args...) }

func (e *explainer) explain() {
	switch spec, st := e.spec, &e.st; e.state {
	case contracts.StateSuspended:
		e.suspended()
	case contracts.StateRestarting:
		op := st.Supervisor.Op
		e.d.Because, e.d.Cause, e.d.Chain = e.culprit(spec.ID, op.Cause), op.Cause, op.Chain
		e.say("it restarts its children together%s", because(e.d.Because))
	case contracts.StateBudget:
		place, _ := e.tree.Throttled(spec.ID)
		e.say("its restart waits for restart budget; it is number %d in line", place)
	case contracts.StateUnplaced:
		p := e.placement(spec)
		e.d.Placement = &p
		e.say("%s", unplaced(p))
	case contracts.StateAwaitsEnd:
		e.say("it starts when what its configuration removed has ended: %s", others(e.tree.AwaitsEnd(spec.ID)))
	case contracts.StateStarting:
		e.starting()
	case contracts.StateVerifying:
		e.verifying()
	case contracts.StateStopping:
		e.stopping()
	case contracts.StateWatched:
		e.watched()
	case contracts.StateListening:
		e.say("it is listened for before it is started, since it may run already")
	case contracts.StateForeign:
		e.say("it runs and was not started from here; once it ends, it starts here")
	default:
		e.down()
	}
	e.misplaced()
	e.unsteady()
	e.standing()
	e.queued()
}

// unsteady adds what is known of a node that is up or comes up and failed lately.
func (e *explainer) unsteady() {
	u, ok := Unsteady(e.tree, e.spec.ID, tree.Instant(e.now.UnixNano()))
	if !ok {
		return
	}
	text := u.Text(e.now)
	if u.Steady != nil {
		text += fmt.Sprintf("; it is steady when it has run for another %s", u.Steady.Sub(e.now).Round(time.Second))
	}
	if e.d.Reason == "" {
		e.say("it runs, but was %s", text)
		return
	}
	e.d.Reason += "; it was " + text
}

// Unsteady describes a node that is up or comes up and failed lately.
func Unsteady(t *tree.Tree, id string, now tree.Instant) (contracts.Unsteady, bool) {
	u, ok := t.Unsteady(id, now)
	if !ok {
		return contracts.Unsteady{}, false
	}
	return contracts.Unsteady{Restarts: u.Restarts, Last: u.Last.Time(), Reason: u.Why, Steady: u.Steady.Optional()}, true
}

// starting explains a node whose start was decided or ordered.
func (e *explainer) starting() {
	switch st := &e.st; {
	case st.Phase != tree.Starting:
		e.d.With = e.spec.Parent
		e.say("supervisor %s starts its children one after another; %s comes first", e.spec.Parent, e.tree.ChildAt(e.spec.Parent, e.above.op.At))
	case st.Supervisor != nil:
		e.say("its children are being started")
	default:
		e.say("the start of incarnation %d was ordered; runner %s has not answered yet", st.Incarnation, st.Runner)
		if seen, silent := e.silent(st.Runner); silent {
			e.say("the start of incarnation %d was ordered, but runner %s is silent%s", st.Incarnation, st.Runner, since(seen))
		}
	}
}

// verifying explains an agent that was started and has yet to prove itself.
func (e *explainer) verifying() {
	switch st := &e.st; st.Phase {
	case tree.Unverified:
		e.say("incarnation %d could not be verified and is about to be killed: %s", st.Incarnation, st.Why)
	case tree.Stabilising:
		e.say("incarnation %d runs on %s and must stay up for its stabilisation period", st.Incarnation, st.Runner)
	default:
		e.say("incarnation %d runs on %s; its first heartbeat is awaited", st.Incarnation, st.Runner)
	}
}

// stopping explains a node whose stop is not confirmed yet.
func (e *explainer) stopping() {
	st := &e.st
	then := map[tree.Then]string{
		tree.ThenFail: "; then it is restarted", tree.ThenStartFailed: "; then it is restarted", tree.ThenRestart: "; then it starts again", tree.ThenResume: "; then it starts again",
		tree.ThenRemove: ", and removed",
	}[st.Then]
	why := ": " + st.Why
	var order *tree.StandingOrder
	switch {
	case st.End == tree.EndTerminated:
		why = " by an operator"
		order = st.Standing().Down
	case st.End == tree.EndStopped && e.above.down:
		why, e.d.With = " with supervisor "+e.spec.Parent, e.spec.Parent
	case st.End == tree.EndStopped && e.above.op != nil && e.above.op.Kind != tree.OpFill:
		why, e.d.With = " with its group", e.spec.Parent
	}
	if st.Supervisor != nil {
		e.d.Because = e.culprit(e.spec.ID, st.Cause)
	}
	e.say("it is being stopped%s%s", why, then)
	e.tell(": ", e.spec.ID, order)
	if seen, silent := e.silent(st.Runner); silent {
		e.d.Reason += fmt.Sprintf("; runner %s, which is to confirm it, is silent%s", st.Runner, since(seen))
	}
}

// down explains a node that is not there.
func (e *explainer) down() {
	switch st := &e.st; e.state {
	case contracts.StateIsolated:
		e.isolated()
	case contracts.StateTerminated:
		e.say("an operator ended it")
		e.tell(": ", e.spec.ID, st.Standing().Down)
	case contracts.StateFinished:
		e.finished()
	case contracts.StateGaveUp:
		e.d.Because = e.culprit(e.spec.ID, st.Cause)
		e.say("it gave up%s", e.lastFailure(e.spec.ID))
	case contracts.StateHeld:
		if e.say("it ended, and waits until its supervisor has finished what it is doing: %s", st.Why); e.above.suspended != "" {
			e.d.With = e.above.suspended
			e.say("it ended, and is not restarted while supervisor %s is suspended: %s", e.above.suspended, st.Why)
			e.suspension(e.above.suspended)
		}
	case contracts.StateBackoff:
		e.say("it is down and restarts after a delay: %s", st.Why)
	case contracts.StateWithSupervisor:
		e.withSupervisor()
	case contracts.StateGroup:
		e.withGroup()
	case contracts.StateStopped:
		e.say("it was stopped; it starts with the next restart of its group, or by order")
	case contracts.StateFailed:
		if e.say("%s", st.Why); st.Phase == tree.Gone {
			e.lastTry()
		}
	}
}

// finished explains a node that ended as it may, and is not restarted.
func (e *explainer) finished() {
	switch st := &e.st; {
	case st.Supervisor != nil && (st.End == tree.EndCompleted || st.End == tree.EndFinished):
		e.d.Because = e.culprit(e.spec.ID, st.Cause)
		e.say("it shut down by its auto_shutdown, and is not to be restarted: %s", st.Why)
	case st.Phase == tree.Gone:
		e.say("it is temporary and ended: %s", st.Why)
	default:
		e.say("it ended by itself and is not to be restarted")
	}
}

// lastTry explains a temporary node that failed, which nothing tries again.
func (e *explainer) lastTry() {
	how := "it failed"
	switch {
	case e.st.End == tree.EndLost:
		how = "it was lost with its host"
	case e.st.Supervisor != nil:
		how, e.d.Because = "it gave up", e.culprit(e.spec.ID, e.st.Cause)
	}
	if e.say("%s and, being temporary, is not restarted: %s", how, e.st.Why); !e.above.down {
		e.d.Reason += "; smith child restart " + e.spec.ID + " starts it"
	}
}

// isolated explains a node that its supervisor set apart. An agent that completed
// did not fail; its limit and its delays are to suit how long its work takes.
func (e *explainer) isolated() {
	p, st := e.spec.Parent, &e.st
	if e.spec.Agent != nil && st.End == tree.EndCompleted {
		e.say("it completed (exit code 0) more often than %s allows, and is tried again later; if its work is done each time, give %s a higher max_restarts or it a policy with a longer restart_delay; if it is to be done once, set restart: transient", p, p)
		return
	}
	e.say("it failed more often than %s allows, and is tried again later: %s", p, st.Why)
}

// withSupervisor explains a node that is down because its supervisor is, by what
// brought that down.
func (e *explainer) withSupervisor() {
	top, ok := e.brought(e.spec.Parent)
	if !ok {
		return
	}
	other := e.diagnose(top, e.runners, e.now)
	e.d.With, e.d.Because, e.d.Orders = top.spec.ID, other.Because, other.Orders
	if e.d.Because == "" {
		e.d.Because = e.culprit(top.spec.ID, top.st.Cause)
	}
	e.say("it is down with supervisor %s: %s", top.spec.ID, other.Reason)
}

// withGroup explains a node that is down while its group restarts.
func (e *explainer) withGroup() {
	e.d.With, e.d.Because = e.spec.Parent, e.culprit(e.spec.Parent, e.above.op.Cause)
	if e.d.Because == e.spec.ID {
		e.d.Because = ""
	}
	e.say("supervisor %s restarts its children together%s; it starts with them", e.spec.Parent, because(e.d.Because))
	switch end := e.st.OwnEnd(); {
	case end == "" || e.st.Why == "":
	case end == tree.EndExited || end == tree.EndCompleted:
		e.d.Reason += "; it ended by itself: " + e.st.Why
	default:
		e.d.Reason += "; it was down: " + e.st.Why
	}
	if s := e.above.suspended; s != "" {
		e.d.Reason += "; not while supervisor " + s + " is suspended"
		e.suspension(s)
	}
}

func because(child string) string {
	if child == "" {
		return ""
	}
	return " because " + child + " failed"
}
