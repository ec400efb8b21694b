package tree

// whyDown says why a supervisor that is not up has no child started or stopped by
// order, and what an operator can do about it.
func (p *node) whyDown() string {
	top := p
	for top.parent != nil && !top.parent.up() {
		top = top.parent
	}
	name := "its supervisor " + p.spec.ID
	if top != p {
		name += " is down with " + top.spec.ID + ", which"
	}
	if top.st.Phase == Stopping {
		return name + " is stopping; try again when it is down or runs again"
	}
	return name + " " + top.st.howDown() + "; smith child restart " + top.spec.ID + " starts it"
}

// howDown says how a supervisor came to be down.
func (s *State) howDown() string {
	switch s.Phase {
	case Waiting:
		return "waits for its restart"
	case Isolated:
		return "is isolated"
	case Ended:
		return "has ended, which waits for its supervisor"
	}
	switch s.End {
	case EndTerminated:
		return "is terminated"
	case EndCompleted, EndFinished:
		return "has finished"
	case EndStartFailed:
		return "did not start"
	}
	if s.End.Failed() {
		return "has given up"
	}
	return "is stopped"
}
