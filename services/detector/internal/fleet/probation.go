package fleet

import "slices"

// newcomer is an unannounced agent with few heartbeats, as long as its number's
// life is the same.
type newcomer struct{ number, life uint32 }

// admit makes an entry.
func (f *Fleet) admit(name string, announced bool) *agent {
	number := f.roster.Add(name)
	f.agents.Grow(number)
	f.pasts.Grow(number)
	f.bank.Open(number, f.cfg.Interval)
	a := f.at(number)
	*a = agent{number: number, life: a.life, announced: announced}
	*f.past(a) = past{start: f.cfg.StartDeadline}
	if rule, own := f.cfg.Overrides[name]; own {
		f.setRule(a, rule)
	}
	f.counts[Unknown]++
	if !announced {
		f.unannounced++
		f.proving++
		a.proving = true
		f.newcomers = append(f.newcomers, newcomer{number, a.life})
	}
	f.obey(a)
	return a
}

// discover admits an agent that nobody announced.
func (f *Fleet) discover(b *Beat, trusted Instant) *agent {
	a := f.admit(b.Agent, false)
	f.renew(a, b.Incarnation, trusted)
	a.untold = true
	return a
}

// announce says that somebody vouches for an agent.
func (f *Fleet) announce(a *agent) {
	if !a.announced {
		a.announced = true
		f.unannounced--
		f.proved(a)
	}
}

// prove takes an agent off probation that beat often enough.
func (f *Fleet) prove(a *agent) {
	if a.proving && f.bank.Samples(a.number) >= f.cfg.MinSamples {
		f.proved(a)
	}
}

func (f *Fleet) proved(a *agent) {
	if a.proving {
		a.proving = false
		f.proving--
		f.tidy()
	}
}

// room makes room for one more unannounced agent, at the cost of the oldest of
// those that have hardly beaten. Agents that beat steadily are never given up
// for a newcomer.
func (f *Fleet) room() bool {
	if f.unannounced < f.cfg.MaxAgents {
		return true
	}
	for len(f.newcomers) > 0 {
		n := f.newcomers[0]
		f.newcomers = f.newcomers[1:]
		if a := f.at(n.number); a.proving && a.life == n.life {
			f.stats.Evicted++
			f.out = append(f.out, Finding{Kind: Full, Agent: f.roster.Name(n.number)})
			f.forget(a)
			return true
		}
	}
	return false
}

// forget removes an entry.
func (f *Fleet) forget(a *agent) {
	f.wheel.Clear(a.number)
	f.counts[a.band]--
	if a.band != Unknown {
		f.census.enrol(a, false)
	}
	if !a.announced {
		f.unannounced--
	}
	f.proved(a)
	f.setRule(a, Override{})
	delete(f.lives, a.number)
	delete(f.works, a.number)
	f.settle(a)
	if a.kind == f.texts.numbers[TypeRunner] {
		delete(f.voices, f.roster.Name(a.number))
	}
	delete(f.mistakes, a.number)
	f.says(a, "")
	for _, word := range []uint32{a.kind, a.runner, a.capabilities, a.reason} {
		f.texts.drop(word)
	}
	f.bank.Close(a.number)
	f.roster.Remove(a.number)
	*a = agent{life: a.life + 1}
}

// tidy keeps the list of newcomers from growing beyond those it is about.
func (f *Fleet) tidy() {
	if len(f.newcomers) < 64 || len(f.newcomers) < 2*f.proving {
		return
	}
	f.newcomers = slices.Clone(slices.DeleteFunc(f.newcomers, func(n newcomer) bool {
		a := f.at(n.number)
		return !a.proving || a.life != n.life
	}))
}
