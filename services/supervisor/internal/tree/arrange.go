package tree

import (
	"math"
	"slices"
)

// arrange gives a supervisor's children an order; others follow them in the order they
// have. Ranks that fit already stay as they are. An operation goes from one child to
// the next, so in the middle of one the order is kept for when that is over.
func (t *Tree) arrange(p *node, first []*node) {
	leads := make(map[*node]bool, len(first))
	for _, n := range first {
		leads[n] = true
	}
	next := slices.Concat(first, slices.DeleteFunc(p.arranged(), func(n *node) bool { return leads[n] }))
	now := next
	if !p.op().arrangeable() {
		now = slices.Clone(p.kids)
	}
	t.setOrder(p, now)
	var later []string
	if !slices.Equal(now, next) {
		for _, n := range next {
			later = append(later, n.spec.ID)
		}
	}
	if s := p.st.Supervisor; !slices.Equal(s.Order, later) {
		s.Order = later
		t.touch(p)
	}
}

// arranged returns a supervisor's children in the order that they are to have.
func (p *node) arranged() []*node {
	if p.st.Supervisor == nil || len(p.st.Supervisor.Order) == 0 {
		return slices.Clone(p.kids)
	}
	place := make(map[string]int, len(p.st.Supervisor.Order))
	for i, id := range p.st.Supervisor.Order {
		place[id] = i + 1
	}
	kids := slices.Clone(p.kids)
	slices.SortStableFunc(kids, func(a, b *node) int {
		i, j := place[a.spec.ID], place[b.spec.ID]
		switch {
		case i == j: // both have come since
			return 0
		case i == 0:
			return 1
		case j == 0:
			return -1
		}
		return i - j
	})
	return kids
}

// arrangeable reports whether children may change places now: no operation is at one of
// them, or it comes back for those that it has missed.
func (op *Operation) arrangeable() bool {
	return op == nil || op.together() || op.Kind == OpFill || op.Stage == StageWait
}

// rearrange gives a supervisor's children the order that was kept for them.
func (t *Tree) rearrange(p *node) {
	if s := p.st.Supervisor; s != nil && len(s.Order) > 0 && s.Op.arrangeable() {
		t.arrange(p, nil)
	}
}

func (t *Tree) setOrder(p *node, next []*node) {
	t.rolls = nil // which are in start order
	old, op := slices.Clone(p.kids), p.op()
	ranks := assignRanks(next)
	was := make([]int64, len(old))
	for i, n := range old {
		was[i] = n.spec.Rank
	}
	for i, n := range next {
		if n.spec.Rank != ranks[i] {
			spec := *n.spec
			spec.Rank = ranks[i]
			n.spec = &spec
			t.mark(n, dirtyState|dirtySpec)
		}
	}
	p.kids = next
	switch {
	case op == nil:
		return
	case op.Stage == StageWait:
		op.From = firstOf(op.From, old, was)
	default:
		op.At, op.From = remapRank(op.At, old, was), remapRank(op.From, old, was)
	}
	t.touch(p)
}

// firstOf returns the least new rank of the children from a former rank on; that rank
// itself if there are none.
func firstOf(from int64, old []*node, was []int64) int64 {
	first := int64(math.MaxInt64)
	for i, n := range old {
		if was[i] >= from {
			first = min(first, n.spec.Rank)
		}
	}
	if first == math.MaxInt64 {
		return from
	}
	return first
}

// assignRanks returns ascending ranks, keeping those the nodes have where they ascend.
func assignRanks(nodes []*node) []int64 {
	ranks, upper := make([]int64, len(nodes)), make([]int64, len(nodes))
	for i, next := len(nodes)-1, int64(0); i >= 0; i-- {
		upper[i] = next
		if r := nodes[i].spec.Rank; r != math.MaxInt64 {
			next = r
		}
	}
	ascending, last := true, int64(0)
	for i, n := range nodes {
		ranks[i] = n.spec.Rank
		switch {
		case ranks[i] != math.MaxInt64:
		case upper[i] == 0:
			ranks[i] = last + rankGap
		default:
			ranks[i] = last + (upper[i]-last)/2
		}
		ascending = ascending && ranks[i] > last
		last = ranks[i]
	}
	if !ascending {
		for i := range ranks {
			ranks[i] = int64(i+1) * rankGap
		}
	}
	return ranks
}

// remapRank returns the new rank of the child that had a rank; 0 and the end
// stay what they are.
func remapRank(rank int64, old []*node, was []int64) int64 {
	if i := slices.Index(was, rank); i >= 0 {
		return old[i].spec.Rank
	}
	return rank
}
