package correlation

import "math"

// whole is the part of a group's silent members that a narrower group must have
// to be the better explanation.
const whole = 0.9

// enough tells whether the silence of a group is one matter.
func (t *Tracker) enough(g Group) bool {
	n := t.crowds[g].n
	return n >= t.cfg.Minimum && float64(n) >= t.cfg.Share*float64(t.size(g))
}

// size is how many a group has or had when the silence began.
func (t *Tracker) size(g Group) int { return max(t.census(g), t.crowds[g].size, t.crowds[g].n) }

// crowded tells whether so many of a group that the member is in are silent
// that it may become one matter: then a verdict waits to see.
func (t *Tracker) crowded(m Member) bool {
	groups, n := m.groups()
	for _, g := range groups[:n] {
		least := max(t.cfg.Minimum, int(math.Ceil(t.cfg.Share*float64(t.size(g))/early)))
		if t.crowds[g].n >= least {
			return true
		}
	}
	return false
}

// covering is the open finding about the member, if any.
func (t *Tracker) covering(m Member) *Finding {
	for _, f := range t.open {
		if m.in(f.Group) {
			return f
		}
	}
	return nil
}

// best is the group that explains best why the member is silent: the narrowest
// that has nearly all who are silent in the broadest.
func (t *Tracker) best(m Member) (Group, bool) {
	groups, n := m.groups()
	broadest := -1
	for i, g := range groups[:n] {
		if t.enough(g) {
			broadest = i
		}
	}
	if broadest < 0 {
		return Group{}, false
	}
	all := float64(t.crowds[groups[broadest]].n)
	for _, g := range groups[:broadest] {
		if t.enough(g) && float64(t.crowds[g].n) >= whole*all {
			return g, true
		}
	}
	return groups[broadest], true
}

// recognise opens a finding at once where waiting could show nothing broader:
// when nearly the whole fleet is silent, in one group or in all.
func (t *Tracker) recognise(now Instant, m Member) {
	if t.held == 0 || t.covering(m) != nil {
		return
	}
	fleet := Group{Kind: Fleet}
	if t.enough(fleet) && float64(t.crowds[fleet].n) >= whole*float64(t.size(fleet)) {
		t.explain(now, m)
	}
}

// explain opens a finding about the member's silence, if that of others is
// enough for one, and puts the verdicts that it covers on its account.
func (t *Tracker) explain(now Instant, m Member) bool {
	g, found := t.best(m)
	if !found {
		return false
	}
	n := t.crowds[g].n
	f := &Finding{Group: g, Size: t.size(g), Silent: n, Since: now, Begun: now}
	t.out = append(t.out, Effect{What: Found, Finding: f})
	for _, old := range t.open {
		old.Merged = g.Kind == Fleet
	}
	for _, e := range t.members(g) {
		f.Since = min(f.Since, e.at)
		if len(f.Members) < MaxNamed {
			f.Members = append(f.Members, e.member.Agent)
		}
		if (e.stage == waiting || e.stage == proven) && (e.finding == nil || e.finding.Merged) {
			t.account(e, f)
		}
	}
	t.open = append(t.open, f)
	return true
}

// members are the silent ones of a group, in an order that depends on what
// happened alone.
func (t *Tracker) members(g Group) []*entry {
	var out []*entry
	for _, x := range t.due {
		if e := x.entry; e.serial == x.serial && e.counted && e.member.in(g) {
			out = append(out, e)
		}
	}
	return out
}
