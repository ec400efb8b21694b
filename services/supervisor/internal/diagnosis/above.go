package diagnosis

import "github.com/mistersmith/mistersmith/services/supervisor/internal/tree"

// above is what matters of the supervisors over a node.
type above struct {
	// down reports whether the parent is down or on its way.
	down bool
	// op is what the parent does with its children, or nil.
	op *tree.Operation
	// suspended is the nearest supervisor that is suspended, or "".
	suspended string
}

// over is what matters to the children of a supervisor; the empty name is over
// the root.
func (r *Reader) over(supervisor string) above {
	if a, known := r.aboves[supervisor]; known || supervisor == "" {
		return a
	}
	s, st, ok := r.tree.Lookup(supervisor)
	if !ok || st.Supervisor == nil {
		return above{}
	}
	a := above{down: st.Phase != tree.Running && st.Phase != tree.Starting, op: st.Supervisor.Op, suspended: supervisor}
	if !st.Supervisor.Suspended {
		a.suspended = r.over(s.Parent).suspended
	}
	r.aboves[supervisor] = a
	return a
}

// brought is the supervisor, at or above one that is down, that brought all that
// is below it down, and whether there is one.
func (r *Reader) brought(supervisor string) (subject, bool) {
	if top, known := r.tops[supervisor]; known {
		return *top, true
	}
	n, ok := r.subject(supervisor)
	if !ok {
		return subject{}, false
	}
	if n.above.down && n.st.End != tree.EndGaveUp && n.st.End != tree.EndTerminated {
		if n, ok = r.brought(n.spec.Parent); !ok {
			return subject{}, false
		}
	}
	r.tops[supervisor] = &n
	return n, true
}

// culprit is the child of a supervisor that an event failed, or "". A child that
// is a supervisor failed by an event about one of its own.
func (r *Reader) culprit(supervisor, event string) string {
	if event == "" {
		return ""
	}
	key := supervisor + " " + event
	if id, known := r.culprits[key]; known {
		return id
	}
	found := ""
	for _, id := range r.tree.Children(supervisor) {
		if r.ended(id, event) != "" {
			found = id
			break
		}
	}
	r.culprits[key] = found
	return found
}

// ended is how an event ended a node, or "" if it did not.
func (r *Reader) ended(id, event string) string {
	failures, restarts := r.tree.History(id)
	for _, all := range [][]tree.Entry{failures, restarts} {
		for _, e := range all {
			if event != "" && e.Event == event {
				return e.Reason
			}
		}
	}
	return ""
}

// lastFailure is why a supervisor failed last, to follow what it led to.
func (r *Reader) lastFailure(supervisor string) string {
	failures, _ := r.tree.History(supervisor)
	if len(failures) == 0 {
		return ""
	}
	return ": " + failures[len(failures)-1].Reason
}
