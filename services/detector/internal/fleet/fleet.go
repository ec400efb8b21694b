// Package fleet is the detector's judgement: what is known of every agent, and
// what follows from it.
//
// It is pure. What happens in the world (a heartbeat, a start, an exit, an
// answer to a probe, time passing) is a method call with the instant at which
// it happened; what the detector concludes comes back as findings. There is no
// clock, no lock and no goroutine inside, so the same calls always give the
// same findings.
//
// Every agent is one entry: its suspicion estimator and one deadline in a
// timing wheel, the instant at which its silence crosses the next level. A
// heartbeat costs the same however many agents there are, and nothing ever
// looks through all of them. All that there is one of per agent is kept without
// pointers under the agent's number, so that the garbage collector does not
// look through it either, and is used again when the agent is forgotten.
//
// The detector doubts itself first. Time during which it did not run, was cut
// off, or may have lost heartbeats does not count as silence of anybody.
package fleet

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/roster"
	"github.com/mistersmith/mistersmith/services/detector/internal/slab"
	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
	"github.com/mistersmith/mistersmith/services/detector/internal/wheel"
)

// Instant is a point of the detector's monotonic time, since its own start.
type Instant = time.Duration

// Config sets the rules. The zero value means the defaults named here.
type Config struct {
	// Suspicion chooses the estimator.
	Suspicion suspicion.Settings
	// Threshold is the level of a verdict; 0 is the algorithm's own.
	Threshold float64
	// TargetMistakes, where not 0 and Threshold is, chooses the threshold by the
	// mistakes that one agent may cause per day.
	TargetMistakes float64
	// MinSamples (10) gaps must be known before the estimator speaks; until
	// then MissedBeats (3) missed beats are a failure.
	MinSamples, MissedBeats int
	// Interval (5s) is expected of agents that declare none.
	Interval time.Duration
	// StartDeadline (30s) is how long a first heartbeat may take.
	StartDeadline time.Duration
	// Tick (20ms) is how often Tick is called.
	Tick time.Duration
	// StallReport (1s) is the own stall that is worth a finding.
	StallReport time.Duration
	// ForgetAfter (1h) is how long agents that left or failed are remembered.
	ForgetAfter time.Duration
	// MaxAgents (100,000) bounds the agents that nobody announced.
	MaxAgents int
	// Overrides are rules for single agents.
	Overrides map[string]Override

	byDefault bool // the tail's threshold is not configured
}

// Override changes rules for one agent; zero fields change nothing.
type Override struct {
	Threshold   float64
	MissedBeats int
}

func (c Config) withDefaults() Config {
	c.MinSamples = or(c.MinSamples, 10)
	c.MissedBeats = or(c.MissedBeats, 3)
	c.Interval = or(c.Interval, 5*time.Second)
	c.StartDeadline = or(c.StartDeadline, 30*time.Second)
	c.Tick = or(c.Tick, 20*time.Millisecond)
	c.StallReport = or(c.StallReport, time.Second)
	c.ForgetAfter = or(c.ForgetAfter, time.Hour)
	c.MaxAgents = or(c.MaxAgents, 100_000)
	c.byDefault = c.Threshold == 0 && c.TargetMistakes == 0 && (c.Suspicion.Algorithm == "" || c.Suspicion.Algorithm == suspicion.Tail)
	if c.Threshold > 0 {
		c.TargetMistakes = 0
	}
	c.Threshold = or(c.Threshold, c.Suspicion.Algorithm.DefaultThreshold(c.MissedBeats))
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// MaxName is the longest name of an agent, in bytes.
const MaxName = roster.MaxName

// MaxThreshold is the highest level that makes sense to configure.
const MaxThreshold = 300

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, err := suspicion.ParseAlgorithm(string(c.Suspicion.Algorithm))
	check(err == nil, "algorithm: %v", err)
	check(c.Threshold >= 0 && c.Threshold <= MaxThreshold, "phi_threshold: %g is outside 0 to %d", c.Threshold, MaxThreshold)
	check(c.TargetMistakes >= 0 && !math.IsInf(c.TargetMistakes, 0), "target_mistakes_per_day: %g must not be negative", c.TargetMistakes)
	check(c.TargetMistakes == 0 || c.Suspicion.Algorithm != suspicion.Fixed, "target_mistakes_per_day: the fixed algorithm knows nothing of probabilities; set phi_threshold to the missed beats, or choose tail")
	check(c.MinSamples >= 0, "min_samples: %d is negative", c.MinSamples)
	check(c.MissedBeats >= 0, "failure_threshold: %d is negative", c.MissedBeats)
	check(c.MaxAgents >= 0, "max_agents: %d is negative", c.MaxAgents)
	for name, d := range map[string]time.Duration{
		"heartbeat_interval": c.Interval, "start_deadline": c.StartDeadline, "tick": c.Tick,
		"stall_report": c.StallReport, "forget_after": c.ForgetAfter,
	} {
		check(d >= 0, "%s: %s is negative", name, d)
	}
	for agent, o := range c.Overrides {
		check(o.Threshold >= 0 && o.Threshold <= MaxThreshold, "agent %s: phi_threshold: %g is outside 0 to %d", agent, o.Threshold, MaxThreshold)
		check(o.MissedBeats >= 0, "agent %s: failure_threshold: %d is negative", agent, o.MissedBeats)
	}
	return errors.Join(errs...)
}

// Fleet is all agents the detector knows. It is not safe for concurrent use.
// Findings returned by a method are valid until the next call.
type Fleet struct {
	cfg    Config
	clock  clock
	wheel  *wheel.Wheel
	bank   suspicion.Bank
	roster *roster.Roster
	agents slab.Array[agent]
	pasts  slab.Array[past]
	texts  *texts
	rules  map[uint32]Override
	priors map[string]*prior // by type
	// priorOf are some of them by the number of the type's word.
	priorOf []*prior
	// mistakes counts the verdicts taken back, of agents that had any.
	mistakes map[uint32]int
	lives    map[uint32]life // of agents whose heartbeats name their process
	works    map[uint32]work // of busy agents
	leaves   map[uint32]leave
	// voices are the runners that were heard, by name; waits are the agents
	// whose verdict waits for theirs.
	voices map[string]*voice
	waits  map[uint32]Instant
	// newcomers are unannounced agents with few beats, oldest first: the ones
	// to forget when too many unannounced ids appear. proving is how many of
	// them there are, for the list may hold others that were among them.
	newcomers            []newcomer
	unannounced, proving int
	// Silence of agents not heard since graceFrom counts from graceTo on.
	graceFrom, graceTo Instant
	counts             [bands]int
	statuses           map[uint32]int // how many agents say so, by the number of the text
	census             census
	orders             map[string]Order
	stats              Stats
	out                []Finding
	warmth             uint64 // keeps the compiler from leaving out warm
}

// Stats counts what leaves no finding.
type Stats struct {
	// Stale heartbeats named an incarnation that is over.
	Stale uint64
	// Refused heartbeats came from unannounced ids beyond the limit.
	Refused uint64
	// Evicted are unannounced agents forgotten for newer ones.
	Evicted uint64
	// Stalls and Stalled count and sum up the detector's own pauses.
	Stalls  uint64
	Stalled time.Duration
}

// New makes an empty fleet.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("detector rules: %w", err)
	}
	cfg = cfg.withDefaults()
	return &Fleet{
		cfg:      cfg,
		clock:    clock{tick: cfg.Tick},
		wheel:    wheel.New(min(cfg.Tick, time.Millisecond)),
		bank:     suspicion.NewBank(cfg.Suspicion),
		roster:   roster.New(),
		texts:    newTexts(),
		rules:    map[uint32]Override{},
		statuses: map[uint32]int{},
		census:   newCensus(),
		orders:   map[string]Order{},
		lives:    map[uint32]life{},
		works:    map[uint32]work{},
		leaves:   map[uint32]leave{},
		voices:   map[string]*voice{},
		waits:    map[uint32]Instant{},
		priors:   map[string]*prior{},
		mistakes: map[uint32]int{},
	}, nil
}

// Tick says that time has passed, and gives the findings that are due.
func (f *Fleet) Tick(now Instant) []Finding {
	trusted := f.begin(now, true)
	f.wheel.Advance(trusted, func(number uint32) { f.fire(now, trusted, f.at(number)) })
	return f.out
}

// begin starts a call: it takes the time and clears the findings.
func (f *Fleet) begin(now Instant, tick bool) (trusted Instant) {
	f.out = f.out[:0]
	if stall := f.clock.advance(now, tick); stall > 0 {
		f.stats.Stalls++
		f.stats.Stalled += stall
		if stall >= f.cfg.StallReport {
			f.out = append(f.out, Finding{Kind: Stalled, For: stall})
		}
	}
	return f.clock.trusted(now)
}

// Suspend stops the time that counts as silence, until Resume: the detector
// cannot hear anybody.
func (f *Fleet) Suspend(now Instant) []Finding {
	f.begin(now, true)
	f.clock.suspended = true
	return f.out
}

// Resume ends Suspend, or tells that heartbeats may have been lost. Whoever is
// not heard from now on is silent only from the end of the grace.
func (f *Fleet) Resume(now Instant, grace time.Duration) []Finding {
	f.graceFrom = f.begin(now, true)
	f.graceTo = max(f.graceTo, f.graceFrom+grace)
	f.clock.suspended = false
	return f.out
}

// Continue ends Suspend when nothing was lost: all that was sent before has
// been heard by now, so that silence goes on counting where it stood.
func (f *Fleet) Continue(now Instant) []Finding {
	f.begin(now, true)
	f.clock.suspended = false
	return f.out
}

// Trusted gives the time that counts as silence: it stands still while the
// detector could not hear.
func (f *Fleet) Trusted(now Instant) Instant { return f.clock.trusted(now) }

// GraceUntil is the trusted instant before which nobody is silent who has not
// been heard since Resume.
func (f *Fleet) GraceUntil() Instant { return f.graceTo }

// Suspended tells whether silence is counted at present.
func (f *Fleet) Suspended() bool { return f.clock.suspended }

// Stats are the counts so far.
func (f *Fleet) Stats() Stats { return f.stats }

// Len is the number of agents known.
func (f *Fleet) Len() int { return f.roster.Len() }

// Count is the number of agents in a health band.
func (f *Fleet) Count(b Band) int { return f.counts[b] }

// Reporting is how many agents said a status in their last heartbeat, but for those
// whose end is proven.
func (f *Fleet) Reporting(s Status) int { return f.statuses[f.texts.numbers[string(s)]] }

// longStall is the pause, in ticks, after which heartbeats may have queued up.
const longStall = 5

// clock tells the time that counts: the time during which the detector was
// able to hear. The rest is lost: an agent is not silent because nobody
// listened.
type clock struct {
	tick      time.Duration
	seen      Instant // the last instant known to be lived through
	running   bool
	suspended bool
	lost      time.Duration
}

func (c *clock) trusted(now Instant) Instant { return now - c.lost }

// advance takes note of an instant, and gives how long the detector must have
// stood still before it. Only ticks say that timers run; anything else only
// shows up a stall.
func (c *clock) advance(now Instant, tick bool) (stall time.Duration) {
	passed := now - c.seen
	switch {
	case !c.running: // until the first tick nothing is expected to run
		c.running, c.seen = tick, now
		return 0
	case passed <= 0:
		return 0
	case c.suspended:
		c.lost += passed
	case passed > c.tick+c.tick/2:
		stall = passed - c.tick
		if passed > longStall*c.tick {
			// What was sent meanwhile is still on its way to us, so not even
			// one tick of it counts.
			stall = passed
		}
		c.lost += stall
	case !tick:
		return 0
	}
	c.seen = now
	return stall
}
