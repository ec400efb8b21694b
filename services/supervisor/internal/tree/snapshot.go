package tree

import (
	"errors"
	"fmt"
	"slices"
)

// MaxHistory is how many restarts and failures each node remembers.
const MaxHistory = 100

// Options choose where the tree differs from OTP. The zero value is the
// product's behaviour; [OTP] gives Erlang's.
type Options struct {
	// StrictBoot makes a supervisor that comes up await each child's start
	// before the next, whatever its strategy, and fail when one cannot be
	// started. Otherwise independent children start at once, in order, and a
	// child that cannot be started is retried like any failed child.
	StrictBoot bool
	// Volatile makes a supervisor that starts anew forget what was added and
	// deleted at run time.
	Volatile bool
	// StartTerminated makes the restart of a group, and a supervisor that starts
	// again, start children that an operator has terminated. Otherwise only an
	// operator's order does, about the child or a supervisor above it. Suspensions
	// end with the next start in the same way. It also refuses orders about a
	// configured temporary child that ended, which OTP has deleted.
	StartTerminated bool
}

// OTP returns the options under which the tree does exactly what OTP does.
func OTP() Options { return Options{StrictBoot: true, Volatile: true, StartTerminated: true} }

// Entry is one item of a node's history.
type Entry struct {
	At          Instant `json:"at"`
	Incarnation uint64  `json:"incarnation,omitempty"`
	Reason      string  `json:"reason"`
	Event       string  `json:"event,omitempty"`
}

// Record is everything that is known of one node.
type Record struct {
	Spec     *Spec   `json:"spec"`
	State    *State  `json:"state"`
	Failures []Entry `json:"failures,omitempty"`
	Restarts []Entry `json:"restarts,omitempty"`
}

// Snapshot is a whole tree as plain data.
type Snapshot struct {
	Nodes map[string]*Record `json:"nodes"`
	// Tombstones hold the last incarnation of removed nodes, so that a node
	// of the same name goes on counting.
	Tombstones map[string]uint64 `json:"tombstones,omitempty"`
}

// Change is what changed of one node: the full new value of each part that
// did, and what was added to its history.
type Change struct {
	ID       string  `json:"-"`
	Spec     *Spec   `json:"spec,omitempty"`
	State    *State  `json:"state,omitempty"`
	Failures []Entry `json:"failures,omitempty"`
	Restarts []Entry `json:"restarts,omitempty"`
	// Removed is set when the node is no more; Tombstone is its last
	// incarnation.
	Removed   bool   `json:"removed,omitempty"`
	Tombstone uint64 `json:"tombstone,omitempty"`
}

// ErrSnapshot tells that a snapshot is not that of a tree.
var ErrSnapshot = errors.New("inconsistent tree")

// Apply folds a change into the snapshot.
func (s *Snapshot) Apply(c Change) {
	if s.Nodes == nil {
		s.Nodes = map[string]*Record{}
	}
	if c.Removed {
		delete(s.Nodes, c.ID)
		if c.Tombstone > 0 {
			if s.Tombstones == nil {
				s.Tombstones = map[string]uint64{}
			}
			s.Tombstones[c.ID] = c.Tombstone
		}
		return
	}
	r := s.Nodes[c.ID]
	if r == nil {
		r = &Record{}
		s.Nodes[c.ID] = r
		delete(s.Tombstones, c.ID)
	}
	if c.Spec != nil {
		r.Spec = c.Spec
	}
	if c.State != nil {
		r.State = c.State
	}
	r.Failures = remember(r.Failures, c.Failures...)
	r.Restarts = remember(r.Restarts, c.Restarts...)
}

// remember appends to a history and forgets what is too old.
func remember(h []Entry, more ...Entry) []Entry {
	h = append(h, more...)
	if n := len(h) - MaxHistory; n > 0 {
		h = slices.Delete(h, 0, n)
	}
	return h
}

// Prune takes away the nodes of which parts are missing, with all below them, and
// returns their names in order: what is left of a tree that its log has forgotten
// in part.
func (s *Snapshot) Prune() []string {
	var pruned []string
	for {
		var gone []string
		for id, r := range s.Nodes {
			whole := r != nil && r.Spec != nil && r.State != nil
			if !whole || r.Spec.Parent != "" && s.Nodes[r.Spec.Parent] == nil {
				gone = append(gone, id)
			}
		}
		if len(gone) == 0 {
			slices.Sort(pruned)
			return pruned
		}
		for _, id := range gone {
			if r := s.Nodes[id]; r != nil && r.State != nil && r.State.Incarnation > 0 {
				s.Apply(Change{ID: id, Removed: true, Tombstone: r.State.Incarnation})
			}
			delete(s.Nodes, id)
		}
		pruned = append(pruned, gone...)
	}
}

// Validate reports why the snapshot is not that of a tree, or nil.
func (s *Snapshot) Validate() error {
	root := ""
	for id, r := range s.Nodes {
		switch {
		case r == nil || r.Spec == nil || r.State == nil:
			return fmt.Errorf("%w: node %q lacks its specification or state", ErrSnapshot, id)
		case r.Spec.ID != id:
			return fmt.Errorf("%w: node %q is stored as %q", ErrSnapshot, r.Spec.ID, id)
		case (r.Spec.Agent == nil) == (r.Spec.Supervisor == nil):
			return fmt.Errorf("%w: node %q is neither an agent nor a supervisor", ErrSnapshot, id)
		case (r.Spec.Supervisor == nil) != (r.State.Supervisor == nil):
			return fmt.Errorf("%w: node %q: state does not fit its specification", ErrSnapshot, id)
		}
		if r.Spec.Parent == "" {
			if root != "" {
				return fmt.Errorf("%w: two roots, %q and %q", ErrSnapshot, min(root, id), max(root, id))
			}
			root = id
			continue
		}
		if p := s.Nodes[r.Spec.Parent]; p == nil || p.Spec == nil || p.Spec.Supervisor == nil {
			return fmt.Errorf("%w: node %q: its parent %q is no supervisor of this tree", ErrSnapshot, id, r.Spec.Parent)
		}
		for p, depth := r, 0; p.Spec != nil && p.Spec.Parent != ""; depth++ {
			if p = s.Nodes[p.Spec.Parent]; p == nil || depth > len(s.Nodes) {
				return fmt.Errorf("%w: node %q does not hang from a root", ErrSnapshot, id)
			}
		}
	}
	if root == "" && len(s.Nodes) > 0 {
		return fmt.Errorf("%w: it has no root", ErrSnapshot)
	}
	return nil
}
