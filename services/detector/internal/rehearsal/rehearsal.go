// Package rehearsal replays what the detector heard under settings of one's
// choice, and measures what verdicts would have come of it.
//
// The same core decides as in earnest; only probes are left out, for whom they
// would have asked when is not on the tape. It is pure: the same tape and
// settings always give the same report.
package rehearsal

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
	"github.com/mistersmith/mistersmith/services/detector/internal/tape"
)

// ErrOrder tells that a tape does not go forward in time.
var ErrOrder = errors.New("the entries are not in the order of time")

// Report is what came of a replay.
type Report struct {
	Agent
	Agents []Agent // by name
	// Length is how much time the tape covers.
	Length time.Duration
}

// Agent is the record of one agent, or of all together, with no name.
type Agent struct {
	Name  string
	Beats int
	// Verdicts are those from silence; Mistakes those taken back because the
	// same life beat again, after Mistaken altogether.
	Verdicts, Mistakes int
	Mistaken           time.Duration
	// Found are the silences after which the verdicts came that stood.
	Found []time.Duration
	// Alive is how long agents were watched.
	Alive time.Duration
	// Detection is, over all heartbeats, the time after which a death right
	// after one would have been found: the mean, the median and the 99th
	// percentile, in intervals; and in time the mean.
	Detection, Median, Worst float64
	DetectionTime            time.Duration

	delays      []float64
	times       time.Duration
	first, last time.Duration
	pending     time.Duration // silence of a verdict not yet taken back
}

// Run replays entries under the rules.
func Run(entries []tape.Entry, rules fleet.Config) (Report, error) {
	f, err := fleet.New(rules)
	if err != nil {
		return Report{}, err
	}
	if !slices.IsSortedFunc(entries, func(a, b tape.Entry) int { return cmp.Compare(a.At, b.At) }) {
		return Report{}, ErrOrder
	}
	if len(entries) == 0 {
		return Report{}, nil
	}
	r := replay{fleet: f, tick: rules.Tick, agents: map[string]*Agent{}, now: entries[0].At}
	if r.tick <= 0 {
		r.tick = DefaultTick
	}
	r.take(f.Tick(r.now))
	for i, e := range entries {
		r.pass(e.At, stallAhead(entries[i:]))
		r.step(e)
	}
	return r.report(entries[len(entries)-1].At - entries[0].At), nil
}

// DefaultTick is the detector's own.
const DefaultTick = 20 * time.Millisecond

// stallAhead gives from when to when the detector stands still next.
func stallAhead(entries []tape.Entry) (s stall) {
	for _, e := range entries {
		if e.Kind == tape.Stalled {
			return stall{e.At - e.For, e.At}
		}
		if e.At > entries[0].At {
			break // stalls are noticed by the first input after them
		}
	}
	return s
}

type stall struct{ from, to time.Duration }

func (s stall) over(at time.Duration) bool { return at > s.from && at < s.to }

type replay struct {
	fleet  *fleet.Fleet
	tick   time.Duration
	now    time.Duration
	agents map[string]*Agent
}

// pass lets time pass, tick by tick but for the detector's stall.
func (r *replay) pass(to time.Duration, s stall) {
	for r.now+r.tick < to {
		r.now += r.tick
		if !s.over(r.now) {
			r.take(r.fleet.Tick(r.now))
		}
	}
	r.now = to
	r.take(r.fleet.Tick(to))
}

// step is one input.
func (r *replay) step(e tape.Entry) {
	switch e.Kind {
	case tape.Beat:
		b := fleet.Beat{
			Agent: e.Agent, Incarnation: e.Incarnation, Seq: e.Seq, Instance: e.Instance,
			About: fleet.About{Type: e.Type, Interval: e.Interval},
		}
		if e.Leaving {
			b.About.Status = fleet.Stopped
		}
		r.take(r.fleet.Beat(e.At, b))
		r.measure(e)
	case tape.Started:
		r.take(r.fleet.Started(e.At, fleet.Start{
			Agent: e.Agent, Incarnation: e.Incarnation, Deadline: e.For, About: fleet.About{Type: e.Type, Interval: e.Interval},
		}))
	case tape.Ended:
		r.take(r.fleet.Ended(e.At, e.Agent, e.Incarnation))
	case tape.Suspended:
		r.take(r.fleet.Suspend(e.At))
	case tape.Continued:
		r.take(r.fleet.Continue(e.At))
	case tape.Resumed:
		r.take(r.fleet.Resume(e.At, e.For))
	}
}

// measure notes how long a death right after this heartbeat would have stayed
// unnoticed.
func (r *replay) measure(e tape.Entry) {
	a := r.of(e.Agent)
	if a.Beats == 0 {
		a.first = e.At
	}
	a.Beats++
	a.last = e.At
	v, known := r.fleet.Agent(e.At, e.Agent)
	if known && v.Watched && v.Evidence.Interval > 0 {
		a.delays = append(a.delays, float64(v.FailedAfter)/float64(v.Evidence.Interval))
		a.times += v.FailedAfter
	}
}

func (r *replay) of(name string) *Agent {
	a := r.agents[name]
	if a == nil {
		a = &Agent{Name: name}
		r.agents[name] = a
	}
	return a
}

func (r *replay) take(found []fleet.Finding) {
	for _, fd := range found {
		switch a := r.of; fd.Kind {
		case fleet.Failed:
			a(fd.Agent).settle()
			a(fd.Agent).Verdicts++
			a(fd.Agent).pending = fd.Evidence.Elapsed
		case fleet.Recovered:
			x := a(fd.Agent)
			x.Mistakes++
			x.Mistaken += fd.For
			x.pending = 0
		}
	}
}

// settle says that the last verdict stands.
func (a *Agent) settle() {
	if a.pending > 0 {
		a.Found = append(a.Found, a.pending)
		a.pending = 0
	}
}

func (r *replay) report(length time.Duration) Report {
	out := Report{Length: length}
	for _, name := range slices.Sorted(maps.Keys(r.agents)) {
		a := r.agents[name]
		a.settle()
		a.Alive = a.last - a.first
		out.add(*a)
		a.summarise()
		out.Agents = append(out.Agents, *a)
	}
	out.summarise()
	return out
}

// add sums up.
func (a *Agent) add(b Agent) {
	a.Beats += b.Beats
	a.Verdicts += b.Verdicts
	a.Mistakes += b.Mistakes
	a.Mistaken += b.Mistaken
	a.Alive += b.Alive
	a.Found = append(a.Found, b.Found...)
	a.delays = append(a.delays, b.delays...)
	a.times += b.times
}

// summarise works out what single heartbeats showed.
func (a *Agent) summarise() {
	n := len(a.delays)
	if n == 0 {
		return
	}
	slices.Sort(a.delays)
	sum := 0.0
	for _, d := range a.delays {
		sum += d
	}
	a.Detection, a.Median, a.Worst = sum/float64(n), a.delays[n/2], a.delays[(n*99)/100]
	a.DetectionTime = a.times / time.Duration(n)
	a.delays = nil
}

// PerDay is how many mistakes one agent causes per day.
func (a Agent) PerDay() float64 {
	if a.Alive <= 0 {
		return 0
	}
	return float64(a.Mistakes) / a.Alive.Hours() * 24
}
