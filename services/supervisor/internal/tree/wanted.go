package tree

// Wanted reports whether an agent runs, or will without anybody's order. Where it is
// between two incarnations, or in the restart of its group or of a supervisor above it,
// makes no difference: an agent that keeps failing is wanted all the time. One that an
// operator has terminated is not, nor one that has finished, that somebody else starts,
// or whose supervisor has given up.
func (t *Tree) Wanted(id string) bool {
	n := t.nodes[id]
	if n == nil || n.spec.Agent == nil || t.unmanaged(n) || n.goes() {
		return false
	}
	if n.st.Phase == Stopping {
		switch n.st.Then {
		case ThenFail, ThenStartFailed, ThenRestart, ThenResume:
			return true
		}
		return t.comes(n)
	}
	return n.st.Phase.live() || t.comes(n)
}
