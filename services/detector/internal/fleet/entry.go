package fleet

import (
	"strings"
	"time"
)

// state is what the detector does about an agent.
type state uint8

const (
	// awaited: started, its first heartbeat is due.
	awaited state = iota
	// watched: it beats, or should.
	watched
	// failed: taken for dead or hung.
	failed
	// leaving: it said that it stops, and its end is due.
	leaving
	// gone: it left or ended; nothing is expected of it.
	gone
	// ignored: an operator does not want it watched.
	ignored
)

// Status is what an agent says of itself.
type Status string

// The statuses that matter here.
const (
	Stuck    Status = "stuck"
	Stopping Status = "stopping"
	Stopped  Status = "stopped"
)

// leaves reports whether an agent that says so is about to end.
func (s Status) leaves() bool { return s == Stopping || s == Stopped }

// About is what an agent or its starter said of it.
type About struct {
	Type, Runner string
	Status       Status
	// Capabilities are names without commas.
	Capabilities []string
	InFlight     int
	Capacity     int
	Interval     time.Duration
}

// agent is one entry. There is one per agent, so it is kept small, and it holds
// no pointers, so that the garbage collector has nothing to look through. Its
// name is in the roster, its gaps are in the bank, its deadline is in the
// wheel, all under its number; words are numbers of the fleet's texts. It is
// what every heartbeat needs, in two cache lines; the rest is its past.
type agent struct {
	number uint32
	life   uint32 // how often the number was given before

	state     state
	band      Band
	cleared   uint8 // pings answered since the last beat
	announced bool  // a start event or an operator named it
	proving   bool  // not announced, and has hardly beaten yet
	beaten    bool  // it beat in this incarnation
	answers   bool  // it answered a ping once
	ended     bool  // gone, and proven so by an exit
	unclean   bool  // the next gap is not the agent's own doing: do not learn it
	burst     bool  // heartbeats that were held up may still follow at once
	untold    bool  // discovered, but not yet told so
	declares  bool  // the pace is its own word
	ruled     bool  // it has rules of its own
	busy      bool  // it said so in its last heartbeat
	spoken    bool  // its runner beats for it
	awaitedOf Since // what an agent that was not heard is awaited since

	incarnation uint64
	over        uint64 // the highest incarnation whose end is proven
	seq         uint64
	// last is the trusted instant of the last sign of life, or of the start;
	// heard the real one of the last heartbeat; lost the clock's loss then.
	last, heard Instant
	lost        time.Duration
	// pace is the interval the agent declares, or the one taken for it; 0 is
	// the default one.
	pace     time.Duration
	progress uint64

	inFlight, capacity                         int32
	kind, runner, status, capabilities, reason uint32 // texts; capabilities joined by commas
}

// past is the rest of an entry.
type past struct {
	met     Instant       // trusted instant from which its present life is known
	since   Instant       // real instant of failing or going
	start   time.Duration // how long the first heartbeat may take
	longest time.Duration // longest gap learned while it declared no interval
	// shutdown is how many milliseconds it may take to end; 0 is not known.
	shutdown uint32
}

// work is what an agent says of its own as long as it is busy.
type work struct {
	promise int64   // how long it may stand still, in the agent's word,
	until   Instant // and what that meant when it was first heard
	moved   Instant // when progress last changed
}

// past gives the rest of an entry.
func (f *Fleet) past(a *agent) *past { return f.pasts.At(a.number) }

// at gives the entry of a number that is in use.
func (f *Fleet) at(number uint32) *agent { return f.agents.At(number) }

// lookup gives the entry of an agent, nil when it is not known.
func (f *Fleet) lookup(name string) *agent {
	number, known := f.roster.Find(name)
	if !known {
		return nil
	}
	return f.at(number)
}

// about puts together what is known of an agent.
func (f *Fleet) about(a *agent) About {
	about := About{
		Type: f.texts.text(a.kind), Runner: f.texts.text(a.runner), Status: Status(f.texts.text(a.status)),
		InFlight: int(a.inFlight), Capacity: int(a.capacity),
	}
	if a.declares {
		about.Interval = a.pace
	}
	if all := f.texts.text(a.capabilities); all != "" {
		about.Capabilities = strings.Split(all, ",")
	}
	return about
}

// note takes over what the agent says of itself; what it leaves out stays.
func (f *Fleet) note(a *agent, from *About) {
	a.inFlight, a.capacity = int32(from.InFlight), int32(from.Capacity)
	f.says(a, from.Status)
	f.regroup(a, &a.kind, from.Type)
	if from.Capabilities != nil && !joins(f.texts.text(a.capabilities), from.Capabilities) {
		f.texts.set(&a.capabilities, strings.Join(from.Capabilities, ","))
	}
}

// says sets what the agent says of itself; empty is nothing.
func (f *Fleet) says(a *agent, status Status) {
	if f.texts.text(a.status) == string(status) {
		return
	}
	count(f.statuses, a.status, -1)
	f.texts.set(&a.status, string(status))
	count(f.statuses, a.status, 1)
}

// joins tells whether a text is a list joined by commas.
func joins(text string, list []string) bool {
	for i, s := range list {
		if i > 0 {
			if text == "" || text[0] != ',' {
				return false
			}
			text = text[1:]
		}
		if !strings.HasPrefix(text, s) {
			return false
		}
		text = text[len(s):]
	}
	return text == ""
}

// interval is the gap expected between two heartbeats.
func (f *Fleet) interval(a *agent) time.Duration {
	if a.pace > 0 {
		return a.pace
	}
	return f.cfg.Interval
}
