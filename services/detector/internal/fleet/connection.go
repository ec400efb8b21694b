package fleet

// Disconnected says that the connection on which an agent beat was closed at
// the instant since, and that it has not come back in time. An agent that was
// heard after that instant lives on another one.
func (f *Fleet) Disconnected(now, since Instant, id string, incarnation uint64) []Finding {
	trusted := f.begin(now, false)
	a := f.lookup(id)
	if a == nil || f.clock.suspended || trusted < f.graceTo {
		return f.out
	}
	other := incarnation != 0 && incarnation != a.incarnation
	if other || a.state != watched || !a.beaten || a.heard > since {
		return f.out
	}
	f.fail(a, ConnectionLost, RuleConnection, now, trusted)
	return f.out
}
