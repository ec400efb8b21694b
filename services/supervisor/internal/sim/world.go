package sim

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Options say how to run a scenario. The zero value runs the product.
type Options struct {
	// Break builds the product wrong.
	Break Mutation
	// Only checks this invariant and no other.
	Only Invariant
	// Tell takes the story, line by line, where it is wanted.
	Tell func(line string)
}

// Result is what a run came to.
type Result struct {
	// Violation is the first broken invariant, nil when all held.
	Violation *Violation
	// Took is the virtual time from the end of the faults until all was well.
	Took time.Duration
	Stats
}

// Stats count what happened.
type Stats struct {
	Events, Decisions, Refused, Takeovers, Starts, Ends, Verdicts int
	// Moved, Scaled and Returned are what was decided of where agents are.
	Moved, Scaled, Returned int
	// Applied are configurations that came into force, Rolled and Stopped rolling
	// restarts that ended so, Forgotten messages that the log kept no longer.
	Applied, Rolled, Stopped, Forgotten int
}

// Add adds up the stats of runs.
func (s *Stats) Add(o Stats) {
	s.Events += o.Events
	s.Decisions += o.Decisions
	s.Refused += o.Refused
	s.Takeovers += o.Takeovers
	s.Starts += o.Starts
	s.Ends += o.Ends
	s.Verdicts += o.Verdicts
	s.Moved += o.Moved
	s.Scaled += o.Scaled
	s.Returned += o.Returned
	s.Applied += o.Applied
	s.Rolled += o.Rolled
	s.Stopped += o.Stopped
	s.Forgotten += o.Forgotten
}

// world is everything there is, and the truth about it.
type world struct {
	Scenario
	opt   Options
	now   tree.Instant
	queue queue
	seq   uint64
	stats Stats

	log         *log
	lease       lease
	supervisors []*supervisor
	runners     []*runner
	agents      map[string]*agent
	// names orders the agents.
	names []string
	applied
	// excused holds children that an operator started or stopped: a start by
	// order that fails is not repeated.
	excused map[string]bool
	check   checker
	// causes are what each cause concerned, and booted how far evidence was
	// consumed when a supervisor last started afresh.
	causes map[string]drawn
	booted map[string]uint64
	// rests says until when nodes rest that failed too often, see [Rests].
	rests map[string]tree.Instant
	// restarting are the groups that are being restarted, whatever rests there.
	restarting map[string]bool
	// rootGaveUp is set while the root is down because of its own failures.
	rootGaveUp bool
	// consumed is how far the last decision had consumed evidence.
	consumed uint64

	// calm is set once faults have ceased; cut, full and stormy while the log is cut
	// off, takes nothing more, or the network is bad.
	calm, cut, stormy, full bool
	// forgot is set once the log has lost what it acknowledged: starts that it no
	// longer knows of may be under way.
	forgot bool
	// losses counts how often it has.
	losses    int
	settledAt tree.Instant
	violation *Violation
}

// epoch is when every run begins.
const epoch = tree.Instant(1_700_000_000 * time.Second)

// Run runs a scenario to its end.
func Run(s Scenario, opt Options) Result {
	w := &world{Scenario: s, opt: opt, now: epoch, applied: newApplied(s.Specs), agents: map[string]*agent{}, excused: map[string]bool{}, causes: map[string]drawn{}, booted: map[string]uint64{}}
	w.log = newLog(w)
	w.check = newChecker()
	for _, spec := range s.Specs {
		if spec.Agent != nil {
			w.agent(spec.ID)
		}
	}
	for i := range s.Runners {
		w.runners = append(w.runners, newRunner(w, i))
	}
	for i := range s.Supervisors {
		sup := newSupervisor(w, i)
		w.supervisors = append(w.supervisors, sup)
		w.after(time.Duration(i)*time.Millisecond, sup.begin)
	}
	for _, f := range s.Faults {
		w.after(f.At, func() { w.strike(f) })
	}
	w.after(s.Calm, w.ceaseFaults)
	if s.Keeps != (retention{}) {
		w.othersWrite()
	}
	for len(w.queue) > 0 && w.violation == nil && w.settledAt == 0 {
		p := w.queue.Pop()
		w.now = p.at
		w.stats.Events++
		p.do()
	}
	w.told()
	r := Result{Violation: w.violation, Stats: w.stats}
	if w.settledAt > 0 {
		r.Took = time.Duration(w.settledAt-epoch) - s.Calm
	}
	return r
}

// after plans something.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	w.queue.Push(planned{w.now.Add(d), w.seq, do})
}

// telling tells whether anybody listens; look before formatting.
func (w *world) telling() bool { return w.opt.Tell != nil }

// say adds a line to the story.
func (w *world) say(who, format string, args ...any) {
	if w.opt.Tell != nil {
		w.opt.Tell(fmt.Sprintf("%9.3fs  %-13s %s", time.Duration(w.now-epoch).Seconds(), who, fmt.Sprintf(format, args...)))
	}
}

// send lets a message travel: it may be lost, late, overtaken, or come twice.
func (w *world) send(r *stream, do func()) {
	loss, twice, late, delay := w.Loss, w.Twice, w.Late, w.Delay
	switch {
	case w.calm:
		loss, twice, late = 0, 0, 0
	case w.stormy:
		loss, twice, late, delay = 40, 30, 50, 8*time.Second
	}
	travel := func() time.Duration {
		if late > 0 && r.chance(late) {
			return r.between(time.Millisecond, delay)
		}
		return r.between(100*time.Microsecond, 2*time.Millisecond)
	}
	if loss > 0 && r.chance(loss) {
		return
	}
	w.after(travel(), do)
	if twice > 0 && r.chance(twice) {
		w.after(travel(), do)
	}
}

// agent gives what there is to know of an agent, whether it is in the tree or not.
func (w *world) agent(name string) *agent {
	a := w.agents[name]
	if a == nil {
		a = newAgent(w, name)
		w.agents[name] = a
		w.names = append(w.names, name)
	}
	return a
}
