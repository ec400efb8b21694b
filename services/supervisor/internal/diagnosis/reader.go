package diagnosis

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Reader describes the nodes of a tree that does not change meanwhile. What holds
// for all children of a supervisor it finds out once. It is not safe for
// concurrent use.
type Reader struct {
	tree *tree.Tree
	// By supervisor: what matters to its children, the child that made it restart
	// its group, and what it is down with.
	aboves   map[string]above
	culprits map[string]string
	tops     map[string]*subject
}

// NewReader returns one for a tree.
func NewReader(t *tree.Tree) *Reader {
	return &Reader{tree: t, aboves: map[string]above{}, culprits: map[string]string{}, tops: map[string]*subject{}}
}

// Brief is the state of a node in a few words.
type Brief struct {
	Status contracts.NodeStatus
	// Reason is empty where nothing needs one. Until is when a wait ends.
	Reason string
	Until  *time.Time
}

// Brief describes a node of the tree, given its specification and state.
func (r *Reader) Brief(spec *tree.Spec, st tree.State) Brief {
	n := r.about(spec, st)
	due, _ := r.due(&n)
	return Brief{Status: n.status(), Reason: joined(r.words(&n), n.queued()), Until: due}
}

func (r *Reader) subject(id string) (subject, bool) {
	spec, st, ok := r.tree.Lookup(id)
	if !ok {
		return subject{}, false
	}
	return r.about(spec, st), true
}

func (r *Reader) about(spec *tree.Spec, st tree.State) subject {
	n := subject{spec: spec, st: st, above: r.over(spec.Parent)}
	n.state = stateOf(spec, &n.st, n.above)
	return n
}

// due is when a wait ends, nil if nobody knows, and whether the node waits.
func (r *Reader) due(n *subject) (at *time.Time, waits bool) {
	switch n.state {
	case contracts.StateAwaitsEnd:
		return n.bounded(), true
	case contracts.StateBackoff, contracts.StateIsolated, contracts.StateListening:
		if n.above.suspended != "" {
			return nil, true
		}
		return n.st.Due.Optional(), true
	case contracts.StateBudget:
		_, due := r.tree.Throttled(n.spec.ID)
		return due.Optional(), true
	case contracts.StateRestarting:
		return groupDue(n.st.Supervisor.Op, n.above), true
	case contracts.StateGroup:
		return groupDue(n.above.op, n.above), true
	case contracts.StateWithSupervisor:
		if top, ok := r.brought(n.spec.Parent); ok {
			due, _ := r.due(&top)
			return due, true
		}
		return nil, true
	case contracts.StateHeld:
		return nil, true
	}
	return nil, false
}

// bounded is when an agent no longer waits for others to end; nil if that has no bound.
func (n *subject) bounded() *time.Time { return n.st.Due.Optional() }

// others names some agents.
func others(names []string) string {
	if more := len(names) - maxNames; more > 0 {
		return strings.Join(names[:maxNames], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// groupDue is when an operation starts what it stopped.
func groupDue(op *tree.Operation, a above) *time.Time {
	if op.Stage != tree.StageWait || a.suspended != "" {
		return nil
	}
	return op.Due.Optional()
}

// words say why, in a few words.
func (r *Reader) words(n *subject) string {
	why := n.st.Why
	switch n.state {
	case contracts.StateSuspended:
		if o := n.st.Standing().Suspension; o != nil {
			return orderWords(o.What, o)
		}
	case contracts.StateTerminated:
		return downWords(n.st.Standing().Down)
	case contracts.StateBudget:
		place, _ := r.tree.Throttled(n.spec.ID)
		return "waits for restart budget, #" + strconv.Itoa(place) + " in line"
	case contracts.StateUnplaced:
		return "waits for a runner"
	case contracts.StateAwaitsEnd:
		return "waits for " + others(r.tree.AwaitsEnd(n.spec.ID)) + " to end"
	case contracts.StateListening:
		return "listens whether it runs already"
	case contracts.StateStarting:
		if n.st.Phase != tree.Starting {
			return "waits until " + r.tree.ChildAt(n.spec.Parent, n.above.op.At) + " has started"
		}
	case contracts.StateVerifying:
		if n.st.Phase == tree.Verifying && why == "" {
			return "waits for its first heartbeat"
		}
	case contracts.StateRestarting:
		return r.culpritWords(n.spec.ID, n.st.Supervisor.Op.Cause)
	case contracts.StateGroup:
		if n.st.OwnEnd() != "" && why != "" {
			return why + ", waits with its group"
		}
		if led := r.culpritWords(n.spec.Parent, n.above.op.Cause); led != "" {
			return "waits with its group: " + led
		}
		return "waits with its group"
	case contracts.StateWithSupervisor:
		if top, ok := r.brought(n.spec.Parent); ok && n.status() == contracts.NodeStopped {
			return "with supervisor " + top.spec.ID
		}
	case contracts.StateStopped:
		return "starts with its group, or by order"
	}
	return why
}

// culpritWords say which child of a supervisor an event failed, and how.
func (r *Reader) culpritWords(supervisor, event string) string {
	id := r.culprit(supervisor, event)
	if id == "" {
		return ""
	}
	why := r.ended(id, event)
	switch verb, _, _ := strings.Cut(why, " "); verb {
	case "exited", "ended", "completed":
		return id + " " + why
	case "":
		return id
	}
	return id + ": " + why
}
