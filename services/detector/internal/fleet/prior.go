package fleet

import (
	"math"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

// A new agent is not like all agents, but like others of its type when they
// were new. What those did in their first youth is learned as if it were one
// agent's, and speaks for a new one until it has a record of its own.
const (
	// youth is how many gaps of an agent teach, and how many of its own replace
	// what it was taught.
	youth = 300
	// A prior speaks once it rests on priorSamples gaps of priorAgents agents.
	priorSamples, priorAgents = 1000, 3
	// priorLeast is the least silence, in intervals, that it finds suspicious:
	// the agent is new, and may be another kind of agent all the same.
	priorLeast = 1.5
	maxPriors  = 1000
	// Once a prior rests on plenty gaps, only every fewer-th agent teaches.
	plenty, fewer = 20_000, 16
	// priorUnit is the interval to which gaps of all agents are scaled.
	priorUnit = time.Second
)

// prior is what agents of one type did when they were young.
type prior struct {
	kind   string
	est    suspicion.Estimator
	agents int
	// crossings are the last two that were asked for, for as long as the
	// evidence is about the same: each of many young agents asks anew.
	crossings [2]crossing
}

type crossing struct {
	level   float64
	samples int
	at      time.Duration
}

// crossing is the silence, at priorUnit, at which suspicion reaches a level, as
// of a few gaps ago.
func (p *prior) crossing(level float64) time.Duration {
	samples := p.est.Samples()
	for i := range p.crossings {
		if c := &p.crossings[i]; c.level == level && samples >= c.samples && samples <= c.samples+c.samples/64 {
			return c.at
		}
	}
	if p.crossings[0].level != level { // replace the one of this level, or the older
		p.crossings[1] = p.crossings[0]
	}
	p.crossings[0] = crossing{level, samples, p.est.Crossing(level)}
	return p.crossings[0].at
}

// prior gives what is known of an agent's type, nil when nothing is.
func (f *Fleet) prior(a *agent) *prior {
	kind := f.texts.text(a.kind)
	// The number of a word is used again for another when nobody uses it.
	if int(a.kind) < len(f.priorOf) && f.priorOf[a.kind] != nil && f.priorOf[a.kind].kind == kind {
		return f.priorOf[a.kind]
	}
	p := f.priors[kind]
	if p != nil {
		for int(a.kind) >= len(f.priorOf) {
			f.priorOf = append(f.priorOf, nil)
		}
		f.priorOf[a.kind] = p
	}
	return p
}

// teach adds a gap of a young agent, which it has just learned itself, to what
// is known of its type.
func (f *Fleet) teach(a *agent, gap time.Duration, beats int) {
	samples := f.bank.Samples(a.number)
	if a.kind == 0 || samples > youth {
		return
	}
	p := f.prior(a)
	if p == nil {
		if len(f.priors) >= maxPriors {
			return
		}
		kind := f.texts.text(a.kind)
		p = &prior{kind: kind, est: suspicion.New(f.cfg.Suspicion, priorUnit)}
		f.priors[kind] = p
	}
	if samples == 1 {
		p.agents++
	}
	if p.est.Samples() > plenty && a.number%fewer != 0 {
		return
	}
	p.est.Observe(scale(gap, f.interval(a), priorUnit), beats)
}

// taught is the silence at which, as young agents of the type go, suspicion of
// the agent reaches a level; missed is what the missed-beat rule says.
func (f *Fleet) taught(a *agent, level float64, missed time.Duration) (at time.Duration, known bool) {
	if a.kind == 0 {
		return 0, false
	}
	p := f.prior(a)
	if p == nil || p.agents < priorAgents || p.est.Samples() < priorSamples {
		return 0, false
	}
	interval := f.interval(a)
	at = scale(p.crossing(level), priorUnit, interval)
	return min(max(at, time.Duration(priorLeast*float64(interval))), youngLast*missed), true
}

// younger blends what an agent's few gaps say with what its type did: from all
// of the latter to all of the former.
func younger(own, taught time.Duration, samples int) time.Duration {
	w := float64(samples) / youth
	return time.Duration(math.Exp(w*math.Log(float64(max(own, 1))) + (1-w)*math.Log(float64(max(taught, 1)))))
}

// scale converts a time from multiples of one interval to those of another.
func scale(d, from, to time.Duration) time.Duration {
	return time.Duration(min(float64(d)/float64(from)*float64(to), float64(math.MaxInt64/4)))
}
