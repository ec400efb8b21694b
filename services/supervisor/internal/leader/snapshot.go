package leader

import "github.com/mistersmith/mistersmith/services/supervisor/internal/tree"

// BeginSnapshot begins to copy the tree, which goes on meanwhile; it does nothing
// while a copy is being made.
func (l *Leader) BeginSnapshot() {
	if l.copy == nil {
		l.copy = l.tree.Copy()
	}
}

// Copying reports whether a copy is being made.
func (l *Leader) Copying() bool { return l.copy != nil }

// DropSnapshot gives up the copy that is being made.
func (l *Leader) DropSnapshot() { l.copy = nil }

// CopySome copies at most that many more nodes. When all are copied it returns
// the tree as it is after the last stored decision. It must not be called while
// a decision is being stored.
func (l *Leader) CopySome(nodes int) (tree.Snapshot, bool) {
	if l.copy == nil || !l.copy.Take(nodes) {
		return tree.Snapshot{}, false
	}
	s := l.copy.Snapshot()
	l.copy = nil
	return s, true
}
