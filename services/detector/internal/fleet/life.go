package fleet

// life is the process that an agent lives in, for agents whose heartbeats name
// it: now, and before.
type life struct {
	now, before string
	told        bool // that both beat
}

// sameLife takes note of the process that a heartbeat comes from and tells
// whether the heartbeat counts. Another process is another life of the agent,
// and nothing that the former did or failed to do is held against it; one that
// was there before and beats beside its successor is a conflict.
func (f *Fleet) sameLife(a *agent, b *Beat, trusted Instant) bool {
	l := f.lives[a.number]
	switch {
	case b.Instance == l.now:
		return true
	case l.now == "":
		f.lives[a.number] = life{now: b.Instance}
		return true
	case b.Instance == l.before && a.state == watched:
		f.stats.Stale++
		if !l.told {
			l.told = true
			f.lives[a.number] = l
			f.find(a, Finding{Kind: Conflict, Instances: [2]string{l.now, l.before}})
		}
		return false
	}
	f.lives[a.number] = life{now: b.Instance, before: l.now}
	f.renew(a, a.incarnation, trusted)
	f.find(a, Finding{Kind: Created, Instances: [2]string{b.Instance, l.now}})
	a.untold = false
	return true
}
