package tree

import (
	"slices"
	"sort"
)

// Load returns the tree of a snapshot, which it may keep parts of.
func Load(opt Options, s Snapshot) (*Tree, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	t := New(opt)
	t.nodes = make(map[string]*node, len(s.Nodes))
	for id, inc := range s.Tombstones {
		t.tombs[id] = inc
	}
	for _, r := range s.Nodes {
		n := newNode(r.Spec)
		n.st = *r.State.clone()
		if len(r.Failures) > 0 || len(r.Restarts) > 0 {
			n.past = &history{failures: chronicle{all: slices.Clone(r.Failures)}, restarts: chronicle{all: slices.Clone(r.Restarts)}}
		}
		t.nodes[n.spec.ID] = n
	}
	for _, n := range t.nodes {
		if n.spec.Parent == "" {
			t.root = n
			continue
		}
		n.parent = t.nodes[n.spec.Parent]
		n.parent.kids = append(n.parent.kids, n)
	}
	for _, n := range t.nodes {
		t.derive(n)
	}
	if t.root != nil {
		t.root.countUnsettled()
	}
	t.migrateRolling()
	// Map order must not show in what is done next.
	sort.Slice(t.throttled, func(i, j int) bool { return t.throttled[i].ticket < t.throttled[j].ticket })
	sort.Slice(t.settle, func(i, j int) bool { return t.settle[i].spec.ID < t.settle[j].spec.ID })
	t.refill = t.soonest()
	return t, nil
}

// derive rebuilds what is not stored of a node.
func (t *Tree) derive(n *node) {
	sort.Slice(n.kids, func(i, j int) bool { return n.kids[i].spec.Rank < n.kids[j].spec.Rank })
	for _, c := range n.kids {
		if c.st.Phase.coming() {
			n.coming++
		}
		if c.st.Phase == Stopping {
			n.stopping++
		}
		n.trims = n.trims || n.st.Supervisor != nil && c.st.Discarded()
		if c.st.Phase == Ended {
			n.queue = append(n.queue, queued{c, c.st.Ticket})
			t.seq = max(t.seq, c.st.Ticket)
		}
		if cmd := c.st.Command; cmd != nil && cmd.Queued > 0 {
			n.queue = append(n.queue, queued{c, cmd.Queued})
			t.seq = max(t.seq, cmd.Queued)
		}
	}
	sort.Slice(n.queue, func(i, j int) bool { return n.queue[i].seq < n.queue[j].seq })
	if len(n.queue) > 0 {
		t.settle = append(t.settle, n)
	}
	if n.st.Discarded() {
		t.leaving[n] = struct{}{}
	}
	t.hasModes = t.hasModes || n.rollout() != nil
	if n.occupies() {
		t.load[n.st.Runner]++
	}
	if n.spec.Agent != nil && n.st.Phase == Running {
		t.active++
	}
	if n.st.Phase == Unplaced {
		n.listed = true
		t.unplaced = append(t.unplaced, n)
		t.holds = t.holds || n.st.After > 0
	}
	if n.st.Phase == Throttled {
		t.throttled = append(t.throttled, waiter{n, n.st.Ticket})
		t.seq = max(t.seq, n.st.Ticket)
	}
	if due := n.due(); due > 0 {
		t.timers.Push(timer{due, n})
	}
}
