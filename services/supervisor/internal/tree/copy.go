package tree

import "maps"

// Copy is a snapshot in the making. It is taken bit by bit, so that a large
// tree can go on meanwhile: its owner calls Take until all is copied, and Update
// after every step in between. What it holds is at any time what the tree is.
type Copy struct {
	tree  *Tree
	left  []*node
	nodes map[string]*Record
}

// Copy begins a copy. It is good until the tree is changed without Update.
func (t *Tree) Copy() *Copy {
	c := &Copy{tree: t, left: make([]*node, 0, len(t.nodes)), nodes: make(map[string]*Record, len(t.nodes))}
	if t.root != nil {
		c.add(t.root)
	}
	return c
}

func (c *Copy) add(n *node) {
	c.left = append(c.left, n)
	for _, kid := range n.kids {
		c.add(kid)
	}
}

// Take copies some more nodes, at most that many, and reports whether all are
// copied.
func (c *Copy) Take(most int) (done bool) {
	for ; most > 0 && len(c.left) > 0; most-- {
		last := len(c.left) - 1
		n := c.left[last]
		c.left = c.left[:last]
		if !n.removed && c.nodes[n.spec.ID] == nil {
			c.nodes[n.spec.ID] = n.record()
		}
	}
	return len(c.left) == 0
}

// Update takes over what Changes told since the copy was begun, or since the
// last Update.
func (c *Copy) Update(changes []Change) {
	for _, change := range changes {
		if n := c.tree.nodes[change.ID]; n != nil {
			c.nodes[change.ID] = n.record()
		} else {
			delete(c.nodes, change.ID)
		}
	}
}

// Snapshot returns the copy, once Take has told that it is done. It shares specs
// with the tree, which never change, and nothing else, and leaves the copy
// empty.
func (c *Copy) Snapshot() Snapshot {
	s := Snapshot{Nodes: c.nodes, Tombstones: maps.Clone(c.tree.tombs)}
	c.nodes, c.left = nil, nil
	return s
}

// record returns all that is stored of a node.
func (n *node) record() *Record {
	r := &Record{Spec: n.spec, State: n.st.clone()}
	r.Failures, r.Restarts = n.past.remembered()
	return r
}
