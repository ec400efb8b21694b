package diagnosis

import (
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// above is what matters of the supervisors over a node.
type above struct {
	// down reports whether the parent is down or on its way.
	down bool
	// op is what the parent does with its children, or nil.
	op *tree.Operation
	// suspended is the nearest supervisor that is suspended, or "".
	suspended string
}

func (e *explainer) above(spec *tree.Spec) above {
	var a above
	for id := spec.Parent; id != ""; {
		s, st, ok := e.tree.Lookup(id)
		if !ok || st.Supervisor == nil {
			break
		}
		if id == spec.Parent {
			a.down, a.op = st.Phase != tree.Running && st.Phase != tree.Starting, st.Supervisor.Op
		}
		if st.Supervisor.Suspended && a.suspended == "" {
			a.suspended = id
		}
		id = s.Parent
	}
	return a
}

// held explains a node whose end waits to be handled.
func (e *explainer) held(suspended string, st tree.State) {
	if suspended != "" {
		e.d.With, e.d.Due = suspended, nil
		e.is(contracts.StateHeld, "it ended, and is not restarted while supervisor %s is suspended: %s", suspended, st.Why)
		return
	}
	e.is(contracts.StateHeld, "it ended, and waits until its supervisor has finished what it is doing: %s", st.Why)
}

// gaveUp explains a supervisor that its escalation policy, or the lack of anyone
// to escalate to, keeps down.
func (e *explainer) gaveUp(spec *tree.Spec, st tree.State) {
	e.d.Because = e.culprit(spec.ID, st.Cause)
	e.is(contracts.StateGaveUp, "it gave up%s", e.lastFailure(spec.ID))
}

// withSupervisor explains a node that is down because its supervisor is, by what
// brought that down.
func (e *explainer) withSupervisor(spec *tree.Spec) {
	id := spec.Parent
	for {
		s, st, ok := e.tree.Lookup(id)
		if !ok {
			return
		}
		up := e.above(s)
		if up.down && st.End != tree.EndGaveUp && st.End != tree.EndTerminated {
			id = s.Parent
			continue
		}
		e.d.With, e.d.Because = id, e.culprit(id, st.Cause)
		if e.d.Due = nil; st.Phase == tree.Waiting || st.Phase == tree.Isolated {
			e.d.Due = instant(st.Due)
		}
		var other contracts.Diagnosis
		of := explainer{tree: e.tree, runners: e.runners, now: e.now, d: &other}
		of.supervisor(s, st)
		e.is(contracts.StateWithSupervisor, "it is down with supervisor %s: %s", id, other.Reason)
		return
	}
}

// withGroup explains a node that is down while its group restarts.
func (e *explainer) withGroup(spec *tree.Spec, st tree.State, a above) {
	e.d.With, e.d.Because = spec.Parent, e.culprit(spec.Parent, a.op.Cause)
	if e.d.Due = nil; a.op.Stage == tree.StageWait {
		e.d.Due = instant(a.op.Due)
	}
	if e.d.Because == spec.ID {
		e.d.Because = ""
	}
	e.is(contracts.StateGroup, "supervisor %s restarts its children together%s; it starts with them", spec.Parent, because(e.d.Because))
	if failure := e.failure(spec.ID, st.Cause); failure != "" {
		e.d.Reason += "; it ended by itself: " + failure
	}
}

// culprit is the child of a supervisor that an event failed, or "". A child that
// is a supervisor failed by an event about one of its own.
func (e *explainer) culprit(supervisor, event string) string {
	if event == "" {
		return ""
	}
	for _, id := range e.tree.Children(supervisor) {
		if e.failure(id, event) != "" {
			return id
		}
	}
	return ""
}

// failure is how an event failed a node, or "" if it did not.
func (e *explainer) failure(id, event string) string {
	failures, _ := e.tree.History(id)
	for _, f := range failures {
		if event != "" && f.Event == event {
			return f.Reason
		}
	}
	return ""
}

// lastFailure is why a supervisor failed last, to follow what it led to.
func (e *explainer) lastFailure(supervisor string) string {
	failures, _ := e.tree.History(supervisor)
	if len(failures) == 0 {
		return ""
	}
	return ": " + failures[len(failures)-1].Reason
}

func because(child string) string {
	if child == "" {
		return ""
	}
	return " because " + child + " failed"
}
