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
	// priorUnit is the interval to which gaps of all agents are scaled.
	priorUnit = time.Second
)

// prior is what agents of one type did when they were young.
type prior struct {
	est    suspicion.Estimator
	agents int
}

// teach adds a gap of a young agent, which it has just learned itself, to what
// is known of its type.
func (f *Fleet) teach(a *agent, gap time.Duration, beats int) {
	samples := f.bank.Samples(a.number)
	if a.kind == 0 || samples > youth {
		return
	}
	kind := f.texts.text(a.kind)
	p := f.priors[kind]
	if p == nil {
		if len(f.priors) >= maxPriors {
			return
		}
		p = &prior{est: suspicion.New(f.cfg.Suspicion, priorUnit)}
		f.priors[kind] = p
	}
	if samples == 1 {
		p.agents++
	}
	p.est.Observe(scale(gap, f.interval(a), priorUnit), beats)
}

// taught is the silence at which, as young agents of the type go, suspicion of
// the agent reaches a level; missed is what the missed-beat rule says.
func (f *Fleet) taught(a *agent, level float64, missed time.Duration) (at time.Duration, known bool) {
	if a.kind == 0 {
		return 0, false
	}
	p := f.priors[f.texts.text(a.kind)]
	if p == nil || p.agents < priorAgents || p.est.Samples() < priorSamples {
		return 0, false
	}
	interval := f.interval(a)
	at = scale(p.est.Crossing(level), priorUnit, interval)
	return min(max(at, time.Duration(priorLeast*float64(interval))), 2*missed), true
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
